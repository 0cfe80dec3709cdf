/**
 * Who logs, and who can bring it about: no line exists that a remote can trigger without bound. A file that begins to log
 * is to be judged and to get a row here. Level debug is not meant: nobody has it unless he asks for it.
 */
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';

const SRC = new URL('../src/', import.meta.url).pathname;

/** File → what brings its lines about. */
const MAY_LOG: Record<string, string> = {
  'capture/captures.ts': 'a call of the API: whoever may capture',
  'api/app.ts': 'a fault of vtepd itself, answered with 500',
  'api/routes/capture.ts': 'a fault of vtepd itself',
  'api/routes/fdb.ts': 'a change by the API',
  'api/routes/peers.ts': 'a change by the API',
  'api/routes/probe.ts': 'a fault of vtepd itself',
  'api/routes/reload.ts': 'a call of the API',
  'api/routes/vnis.ts': 'a change by the API',
  'daemon/daemon.ts': 'start; a listener that cannot be opened yet, until it is',
  'log/log-limit.ts': 'names, routes and paths: some at once, then one a minute for each that is configured',
  'paths/path-manager.ts': 'start; somebody on this machine took a TAP away: once per cause',
  'vtep/vtep.ts': 'start; the worker, below',
  'vtep/configuration.ts': 'a reload',
  'names/named-peers.ts': 'the data plane refuses while it is being restarted: once per cause',
  'vtep/overlay.ts': 'a VNI goes whose device somebody on this machine took away',
  'vtep/warnings.ts': 'what is configured, and this machine: each once for as long as its VNI is there',
  'vtepd.ts': 'start, stop, a fault',
  'controller/link.ts': 'a worker that dies, which is a fault, at most twice a second',
  'switch/thread.ts': 'an offload that the kernel refuses: once for each offload',
};

/** `log.warn(`, `#log[…](`, and what the workers' side calls `log('warn', …`. */
const CALLS = [
  /\b(?:this\.#)?log(?:\.(?:info|warn|error|fatal)|\[[^\]]+\])\(/,
  /\blog\(\s*'(?:info|warn|error)'/,
];

t.test('every file that logs has a reason', async (t) => {
  const files = readdirSync(SRC, { recursive: true, encoding: 'utf8' }).filter(
    (file) => file.endsWith('.ts') && !file.startsWith('cli/'),
  );
  const logging = files.filter((file) => {
    const text = readFileSync(join(SRC, file), 'utf8');
    return CALLS.some((call) => call.test(text));
  });
  t.same(logging.sort(), Object.keys(MAY_LOG).sort());
  t.notOk(
    logging.some((file) => /^(datapath|fdb|port|frame|wire|stats)\//.test(file)),
    'nothing that frames pass',
  );
});
