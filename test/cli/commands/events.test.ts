/** vtepctl events: a fragmented event stream, filters and reasons to end. */
import type { ServerResponse } from 'node:http';
import t from 'tap';
import { fakeApi, refusal } from '../../support/fake-api.js';
import { runVtepctl } from '../../support/vtepctl.js';

const AT = '2026-01-01T12:00:00.250Z';
const LEARNED = { at: AT, type: 'learned', vni: 100, mac: '02:00:00:00:00:01', peer: '192.0.2.11' };
const RESOLVED = {
  at: AT,
  type: 'resolve',
  name: 'far.example',
  addresses: ['192.0.2.1', '192.0.2.2'],
  error: '',
};

const frame = (id: number, event: { type: string }) =>
  `id: ${id}\nevent: ${event.type}\ndata: ${JSON.stringify(event)}\n\n`;

/** Writes a retry field, a comment, and two events in two pieces. */
function twoEvents(response: ServerResponse): void {
  const text = `retry: 2000\n\n: nothing new\n\n${frame(1, LEARNED)}${frame(2, RESOLVED)}`;
  response.write(text.slice(0, 70));
  setTimeout(() => response.write(text.slice(70)), 20);
}

t.test('each event is printed as one line, until Ctrl-C', async (t) => {
  const { place } = await fakeApi(t, { 'GET /v1/events': { stream: twoEvents } });
  const interrupt = new AbortController();
  const { code, stdout, stderr } = await runVtepctl('events', {
    env: { VTEPCTL_API: place },
    interrupt: interrupt.signal,
    onStdout: (text) => text.split('\n').length > 2 && interrupt.abort(),
  });
  t.strictSame({ code, stderr }, { code: 0, stderr: '' });
  t.match(
    stdout,
    /^\d\d:\d\d:00\.250 learned vni 100 mac 02:00:00:00:00:01 peer 192\.0\.2\.11\n\d\d:\d\d:00\.250 resolve name far\.example addresses 192\.0\.2\.1,192\.0\.2\.2\n$/,
  );
});

t.test('filters go to the API; --json prints one line for each of --count events', async (t) => {
  const { place, calls } = await fakeApi(t, {
    'GET /v1/events?type=learned%2Cmoved&vni=100': { stream: twoEvents },
  });
  const result = await runVtepctl('events --type learned,moved --vni 100 --count 1 --json', {
    env: { VTEPCTL_API: place },
  });
  t.strictSame(result, { code: 0, stdout: `${JSON.stringify(LEARNED)}\n`, stderr: '' });
  t.equal(calls[0].headers.accept, 'text/event-stream');
});

t.test('a closed stream, a refusal and an unreachable daemon give exit status 1', async (t) => {
  const { place } = await fakeApi(t, {
    'GET /v1/events': { stream: (response) => response.end(frame(1, LEARNED)) },
    'GET /v1/events?vni=7': refusal(
      503,
      'too_many_streams',
      '32 clients are subscribed already; disconnect one of them',
    ),
  });
  const run = (line: string) => runVtepctl(line, { env: { VTEPCTL_API: place } });
  t.match(await run('events'), {
    code: 1,
    stdout: /learned/,
    stderr: 'vtepctl: vtepd closed the event stream\n',
  });
  t.match(await run('events --vni 7'), {
    code: 1,
    stderr: 'vtepctl: 32 clients are subscribed already; disconnect one of them\n',
  });
  t.match(await run('events --api unix:/nowhere'), { code: 1, stderr: /cannot reach vtepd/ });
});
