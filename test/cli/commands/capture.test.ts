/** vtepctl capture: unchanged bytes, complete packets only, and all reasons to end. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { fakeApi, refusal } from '../../support/fake-api.js';
import { runVtepctl } from '../../support/vtepctl.js';

const HEADER = Buffer.from('d4c3b2a1020004000000000000000000000004000100000000'.slice(0, 48), 'hex');

function packet(bytes: string): Buffer {
  const header = Buffer.alloc(16);
  header.writeUInt32LE(bytes.length, 8);
  header.writeUInt32LE(bytes.length, 12);
  return Buffer.concat([header, Buffer.from(bytes)]);
}

const WHOLE = Buffer.concat([HEADER, packet('first'), packet('second one')]);
const URL = 'GET /v1/capture?point=overlay&snaplen=262144';

t.test('a terminal as output is refused', async (t) => {
  t.strictSame(await runVtepctl('capture', { isTerminal: true }), {
    code: 2,
    stdout: '',
    stderr:
      'vtepctl: capture: stdout is a terminal, and pcap is a binary format; use -w FILE or "| tcpdump -r -"\n',
  });
});

t.test('Ctrl-C ends a capture to stdout after a complete packet', async (t) => {
  const interrupt = new AbortController();
  const { place } = await fakeApi(t, {
    [URL]: {
      stream: (response) => {
        response.write(WHOLE.subarray(0, 40));
        setTimeout(
          () => response.write(Buffer.concat([WHOLE.subarray(40), packet('cut').subarray(0, 18)])),
          20,
        );
      },
    },
  });
  const { code, stdout, stderr } = await runVtepctl('capture', {
    env: { VTEPCTL_API: place },
    interrupt: interrupt.signal,
    onStdout: (text) => text.length >= WHOLE.length && interrupt.abort(),
  });
  t.strictSame({ code, stderr }, { code: 0, stderr: '2 packets captured\n' });
  t.strictSame(Buffer.from(stdout, 'latin1'), WHOLE);
});

t.test('a capture to a file sends VNI, point, snapshot length and count to the API', async (t) => {
  const { place } = await fakeApi(t, {
    'GET /v1/capture?vni=100&point=underlay&snaplen=96&limit=2': {
      stream: (response) => response.end(WHOLE),
    },
  });
  const file = join(t.testdir(), 'out.pcap');
  const line = `capture --vni 100 --point underlay --snaplen 96 -c 2 -w ${file}`;
  const env = { VTEPCTL_API: place };
  t.strictSame(await runVtepctl(line, { env, isTerminal: true }), {
    code: 0,
    stdout: '',
    stderr: '2 packets captured\n',
  });
  t.strictSame(readFileSync(file), WHOLE);
  t.strictSame(JSON.parse((await runVtepctl(`${line} --json`, { env })).stdout), { file, packets: 2 });
});

t.test('a refused capture or an unwritable file gives exit status 1', async (t) => {
  const { place } = await fakeApi(t, {
    [URL]: { stream: (response) => response.end(WHOLE) },
    'GET /v1/capture?vni=7&point=overlay&snaplen=262144': refusal(409, 'capture_busy', 'one runs already'),
  });
  const env = { VTEPCTL_API: place };
  t.strictSame(await runVtepctl('capture --vni 7', { env }), {
    code: 1,
    stdout: '',
    stderr: 'vtepctl: one runs already\n',
  });
  t.match(await runVtepctl('capture -w /nowhere/x', { env }), {
    code: 1,
    stderr: 'vtepctl: -w /nowhere/x: cannot be written (ENOENT)\n',
  });
});
