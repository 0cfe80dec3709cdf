/** Streams without an end, over real connections: events and captures. */
import { once } from 'node:events';
import { type AddressInfo, connect } from 'node:net';
import t, { type Test } from 'tap';
import { Agent, type Dispatcher, request } from 'undici';
import { createApp } from '../../src/api/app.js';
import { eventRoutes } from '../../src/api/routes/events.js';
import { controlOverPlainDataPlane, PCAP } from '../support/control.js';
import { eventually } from '../support/wait.js';

async function api(t: Test) {
  const made = await controlOverPlainDataPlane();
  const place = await made.server.listen({ host: '127.0.0.1', port: 0 });
  const dispatcher = new Agent();
  t.teardown(async () => {
    await dispatcher.destroy();
    await made.server.close();
  });
  const get = (path: string) => request(`${place}${path}`, { dispatcher });
  return { ...made, get };
}

/** Collects the data received so far. */
class Reader {
  text = '';
  readonly body: Dispatcher.ResponseData['body'];

  constructor({ body }: Dispatcher.ResponseData) {
    this.body = body;
    body.setEncoding('utf8').on('data', (part: string) => (this.text += part));
    body.on('error', () => {});
  }

  /** Waits for `text`, and returns and clears the data received until then. */
  async until(text: string): Promise<string> {
    await eventually(text, () => this.text.includes(text));
    const seen = this.text;
    this.text = '';
    return seen;
  }
}

/** Disconnects the client. undici reports the disconnection as an error, which is ignored. */
function leave({ body }: Dispatcher.ResponseData): void {
  body.on('error', () => {}).destroy();
}

t.test('invalid queries and HEAD requests for events are refused', async (t) => {
  const { get } = await api(t);
  for (const [query, detail] of [
    ['type=learnt', /^type "learnt": must be "learned", "moved"/],
    ['vni=x', /^vni "x"/],
    ['since=1', /unknown field "since"/],
  ] as const) {
    t.match(await (await get(`/v1/events?${query}`)).body.json(), { code: 'bad_request', detail }, query);
  }
  const { server } = await controlOverPlainDataPlane();
  t.teardown(() => server.close());
  const head = await server.inject({ method: 'HEAD', url: '/v1/events' });
  t.equal(head.statusCode, 405, 'HEAD does not subscribe');
});

t.test('a client gets the events that match its filter until it disconnects', async (t) => {
  const { get, events } = await api(t);
  const all = await get('/v1/events');
  t.equal(all.statusCode, 200);
  t.equal(all.headers['content-type'], 'text/event-stream');
  const [everything, some] = [new Reader(all), new Reader(await get('/v1/events?type=vni,peer&vni=7'))];
  await everything.until('retry: 2000\n\n');
  await some.until('retry: 2000\n\n');
  events.publish({ type: 'vni', vni: 100, action: 'added' });
  events.publish({ type: 'warning', code: 'reload_failed', detail: 'b\nc', why: 'w', cure: 'c' });
  events.publish({ type: 'vni', vni: 7, action: 'removed' });

  const text = await everything.until('removed');
  const [first, second, third] = text.split('\n\n');
  t.match(
    first,
    /^id: 1\nevent: vni\ndata: \{"at":"\d{4}-[^"]+Z","type":"vni","vni":100,"action":"added"\}$/,
  );
  t.match(
    second,
    /^id: 2\nevent: warning\ndata: .*"code":"reload_failed","detail":"b\\nc","why":"w","cure":"c"\}$/,
    'the data is one line even if a field contains a line break',
  );
  t.match(third, /^id: 3\n/);
  t.match(await some.until('removed'), /^id: 3\nevent: vni\n/, 'only the selected events are streamed');

  all.body.destroy();
  await eventually('one subscriber to be removed', () => events.subscribers === 1);
  some.body.destroy();
  await eventually('the other subscriber to be removed', () => events.subscribers === 0);
});

t.test('a client that does not read loses the oldest events and gets `lost` events', async (t) => {
  const { get, events } = await api(t);
  const slow = new Reader(await get('/v1/events'));
  await slow.until('retry: 2000\n\n');
  slow.body.pause();
  const detail = 'x'.repeat(10_000);
  const many = 5000;
  for (let i = 0; i < many; i++) {
    events.publish({ type: 'resolve', name: String(i), addresses: [], error: detail });
    if (i % 100 === 0) await new Promise((resolve) => setImmediate(resolve));
  }
  slow.body.resume();
  const text = await slow.until(`"name":"${many - 1}"`);
  const ids = [...text.matchAll(/^id: (\d+)$/gm)].map(([, id]) => Number(id));
  t.same(
    ids,
    [...ids].sort((a, b) => a - b),
    'the events arrive in order',
  );
  const lost = [...text.matchAll(/^event: lost\ndata: .*"count":(\d+)\}$/gm)].map(([, count]) =>
    Number(count),
  );
  t.ok(lost.length >= 1, `\`lost\` events report the losses (${lost})`);
  const delivered = (text.match(/^event: resolve$/gm) ?? []).length;
  t.equal(
    delivered + lost.reduce((sum, count) => sum + count, 0),
    many,
    'delivered and lost events add up to all events',
  );
});

t.test('comments keep an event stream alive', async (t) => {
  const { deps } = await controlOverPlainDataPlane();
  const app = createApp(deps.log);
  eventRoutes(app, deps, 20);
  const place = await app.listen({ host: '127.0.0.1', port: 0 });
  const dispatcher = new Agent();
  t.teardown(async () => {
    await dispatcher.destroy();
    await app.close();
  });
  const quiet = new Reader(await request(`${place}/v1/events`, { dispatcher }));
  await quiet.until('\n\n: nothing new\n\n: nothing new\n\n');
});

t.test('at most 32 clients subscribe to events', async (t) => {
  const { get, events } = await api(t);
  const held = [];
  for (let i = 0; i < 32; i++) held.push(await get('/v1/events'));
  t.match(await (await get('/v1/events')).body.json(), { status: 503, code: 'too_many_streams' });
  leave(held[0]);
  await eventually('one subscriber to be removed', () => events.subscribers === 31);
  const next = await get('/v1/events');
  t.equal(next.statusCode, 200);
  for (const client of [next, ...held]) leave(client);
});

t.test('options of captures are validated, and a capture ends when its client disconnects', async (t) => {
  const { get, captures } = await api(t);
  for (const [query, code] of [
    ['vni=101', 'vni_not_found'],
    ['point=middle', 'bad_request'],
    ['snaplen=0', 'bad_request'],
    ['limit=none', 'bad_request'],
  ] as const) {
    t.match(await (await get(`/v1/capture?${query}`)).body.json(), { code }, query);
  }
  const running = await get('/v1/capture?vni=100&point=underlay&snaplen=128');
  t.equal(running.headers['content-type'], 'application/vnd.tcpdump.pcap');
  t.same(captures.asked, [{ vni: 100, point: 'underlay', snapLen: 128 }]);
  const [bytes] = await once(running.body, 'data');
  t.same(bytes, PCAP);
  t.match(await (await get('/v1/capture')).body.json(), { status: 409, code: 'capture_busy' });
  leave(running);
  await eventually('the capture to be closed', () => captures.running === 0);

  const limited = await get('/v1/capture?limit=3');
  t.same(Buffer.from(await limited.body.arrayBuffer()), PCAP, 'the capture ends at its limit');
  await eventually('the capture to be closed', () => captures.running === 0);
  t.same(captures.asked[1], { vni: undefined, point: 'overlay', snapLen: 262144, limit: 3 });
});

t.test('a stream queued behind another does not start, and the connection ends all streams', async (t) => {
  const { server, events, captures } = await api(t);
  const { port } = server.server.address() as AddressInfo;
  const client = connect(port, '127.0.0.1').on('error', () => {});
  const get = (path: string) => `GET ${path} HTTP/1.1\r\nHost: localhost\r\n\r\n`;
  client.write(['/v1/capture?limit=1', ...Array(5).fill('/v1/events'), '/v1/capture'].map(get).join(''));
  await eventually('the second stream to run', () => events.subscribers === 1);
  t.equal(captures.asked.length, 1, 'the last stream does not start');
  client.destroy();
  await eventually('all streams to end', () => events.subscribers === 0 && captures.running === 0);
  t.equal(captures.asked.length, 1);
});
