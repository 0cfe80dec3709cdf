/**
 * List of the files that log, each with the cause of its lines.
 *
 * No remote host may trigger an unlimited number of lines. A file that starts to log needs a row
 * here. Level debug is exempt, because it is off by default.
 */
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';

const SRC = new URL('../src/', import.meta.url).pathname;

/** File → cause of its lines. */
const MAY_LOG: Record<string, string> = {
  'capture/captures.ts': 'API call of an authorised client',
  'api/app.ts': 'internal error of vtepd, with a response of status 500',
  'api/routes/capture.ts': 'internal error of vtepd',
  'api/routes/fdb.ts': 'change through the API',
  'api/routes/peers.ts': 'change through the API',
  'api/routes/probe.ts': 'internal error of vtepd',
  'api/routes/reload.ts': 'API call',
  'api/routes/vnis.ts': 'change through the API',
  'daemon/daemon.ts': 'start; a listener that cannot be opened yet',
  'log/log-limit.ts':
    'names, routes, paths and links: a burst, then one line per minute for each configured name, VNI or device',
  'paths/path-manager.ts': 'start; removal of a TAP on this machine, once per cause',
  'vtep/composition.ts':
    'start; messages of the workers (switch/thread.ts); devices that the kernel does not list, every 5 s',
  'vtep/configuration.ts': 'reload',
  'names/named-peers.ts': 'refusal by the data plane during its restart, once per cause',
  'vtep/overlay.ts': 'removal of a VNI whose device was removed on this machine',
  'vtep/reports.ts': 'configuration and state of this machine: each warning or notice once while it holds',
  'vtep/device-watch.ts': 'repair of a TAP or bridge that was changed on this machine',
  'vtep/obedience-watch.ts': 'settings of a TAP or bridge that cannot be written, on this machine',
  'vtep/peer-scopes.ts': 'device of a link-local peer made again on this machine',
  'vtep/underlay-watch.ts': 'device of the underlay made again on this machine',
  'vtepd.ts': 'start, stop, internal error',
  'controller/link.ts': 'crash of a worker, at most twice per second',
  'switch/thread.ts': 'offload refused by the kernel, once per offload',
};

/** Log calls: `log.warn(`, `#log[…](`, and `log('warn', …` in the workers. */
const CALLS = [
  /\b(?:this\.#)?log(?:\.(?:info|warn|error|fatal)|\[[^\]]+\])\(/,
  /\blog\(\s*'(?:info|warn|error)'/,
];

t.test('every file that logs is listed with the cause', async (t) => {
  const files = readdirSync(SRC, { recursive: true, encoding: 'utf8' }).filter(
    (file) => file.endsWith('.ts') && !file.startsWith('cli/'),
  );
  const logging = files.filter((file) => {
    const text = readFileSync(join(SRC, file), 'utf8');
    return CALLS.some((call) => call.test(text));
  });
  t.same(logging.sort(), Object.keys(MAY_LOG).sort());
  t.notOk(
    logging.some((file) => /^(wire|abi|exchange|switch\/\w+)\//.test(file)),
    'the forwarding folders do not log',
  );
});
