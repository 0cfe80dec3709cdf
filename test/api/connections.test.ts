/** Limits of HTTP connections, over real connections with short times and small numbers. */
import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import t, { type Test } from 'tap';
import type { HttpLimits } from '../../src/api/app.js';
import { clientOf } from '../../src/api/connections.js';
import { buildMetricsServer, buildServer } from '../../src/api/server.js';
import { controlOverPlainDataPlane } from '../support/control.js';
import { ManyPeers, STATUS_OF_MANY } from '../support/many-peers.js';
import { socketPath } from '../support/socket-path.js';
import { eventually } from '../support/wait.js';

const LIMITS: HttpLimits = {
  connections: 6,
  perClient: 4,
  queued: 2,
  requestMs: 300,
  idleMs: 1500,
  checkMs: 20,
};
const LONG = { requestMs: 60_000, idleMs: 60_000 };
const GET = (path: string) => `GET ${path} HTTP/1.1\r\nHost: localhost\r\n\r\n`;

/** A client that reads all data and never closes its side. */
class Client {
  text = '';
  closed = false;
  readonly socket: Socket;

  constructor(socket: Socket) {
    this.socket = socket;
    socket.setEncoding('latin1');
    socket.on('data', (part: string) => (this.text += part)).on('error', () => {});
    for (const event of ['end', 'close']) socket.on(event, () => (this.closed = true));
  }

  async answer(path: string): Promise<string> {
    this.text = '';
    this.socket.write(GET(path));
    await eventually('the answer', () => this.text.includes('\r\n\r\n') || this.closed);
    return this.text;
  }
}

interface Made {
  readonly port: number;
  readonly open: () => Promise<number>;
  readonly client: (host?: string) => Promise<Client>;
}

async function serve(
  t: Test,
  limits: Partial<HttpLimits> = {},
  kind: 'api' | 'metrics' = 'metrics',
): Promise<Made> {
  const { deps } = await controlOverPlainDataPlane();
  const all = { ...LIMITS, ...limits };
  const server = kind === 'api' ? buildServer(deps, all) : buildMetricsServer(deps, all);
  await server.listen({ host: '::', port: 0 });
  const { port } = server.server.address() as { port: number };
  const clients: Client[] = [];
  t.teardown(async () => {
    for (const { socket } of clients) socket.destroy();
    await server.close();
  });
  return {
    port,
    open: () => new Promise((resolve) => server.server.getConnections((_error, count) => resolve(count))),
    client: async (host = '127.0.0.1') => {
      const socket = connect({ port, host, allowHalfOpen: true });
      const client = new Client(socket);
      clients.push(client);
      await once(socket, 'connect');
      return client;
    },
  };
}

t.test(
  'a request that does not arrive in time is answered with 408, and the connection is closed',
  async (t) => {
    const { client, open } = await serve(t, {}, 'api');
    const begun = performance.now();
    const body =
      'POST /v1/vnis HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 99\r\n\r\n{"vni":';
    for (const [name, sent] of [
      ['no byte', ''],
      ['half a header', 'GET /healthz HTTP/1.1\r\nHost: loc'],
      ['half a body', body],
    ] as const) {
      const half = await client();
      half.socket.write(sent);
      await eventually(`the connection with ${name} to be closed`, () => half.closed);
      t.match(half.text, /^HTTP\/1\.1 408 [\s\S]*"code":"request_timeout"/, `${name} is answered with 408`);
    }
    await eventually(
      'the server to close all connections, although the clients close none',
      async () => (await open()) === 0,
    );
    t.ok(performance.now() - begun >= 3 * LIMITS.requestMs, 'each request had its full time');
  },
);

t.test('a request that arrives byte by byte gets no extra time', async (t) => {
  const { client } = await serve(t);
  const slow = await client();
  const text = GET('/healthz').padEnd(4000, 'x');
  let sent = 0;
  const timer = setInterval(() => slow.socket.write(text[sent++]), 20);
  t.teardown(() => clearInterval(timer));
  await eventually('the connection to be closed', () => slow.closed);
  t.match(slow.text, /^HTTP\/1\.1 408 /);
});

t.test('an idle connection is closed', async (t) => {
  const { client, open } = await serve(t, { idleMs: 200 });
  const idle = await client();
  t.match(await idle.answer('/healthz'), /^HTTP\/1\.1 200 /);
  await eventually('the connection to be closed', () => idle.closed);
  await eventually('no connection to be left', async () => (await open()) === 0);
});

t.test('the time-out of an incomplete request writes nothing into the preceding response', async (t) => {
  const { client } = await serve(t, {}, 'api');
  const both = await client();
  both.socket.write(`${GET('/v1/events')}GET /half`);
  await eventually('the connection to be closed', () => both.closed);
  t.match(both.text, /^HTTP\/1\.1 200 [\s\S]*retry: 2000/);
  t.notMatch(both.text, / 408 /);
});

t.test('a client with a full share loses its oldest idle connection to a new one', async (t) => {
  const { client, open } = await serve(t, LONG);
  const silent: Client[] = [];
  for (let n = 0; n < 4; n++) silent.push(await client());
  t.match(
    await silent[0].answer('/healthz'),
    /^HTTP\/1\.1 200 /,
    'the connection that was used last counts as the newest',
  );
  for (let n = 0; n < 20; n++) silent.push(await client());
  t.match(await silent[23].answer('/healthz'), /^HTTP\/1\.1 200 /);
  t.equal(await open(), 4);
  const left = silent.filter(({ closed }) => !closed);
  t.same(left, silent.slice(20));
});

t.test('silent connections of one client do not block other clients', async (t) => {
  const { client } = await serve(t, LONG);
  const silent: Client[] = [];
  for (let n = 0; n < 6; n++) silent.push(await client());
  const others = [await client('::1'), await client('::1')];
  for (const other of others) t.match(await other.answer('/healthz'), /^HTTP\/1\.1 200 /);
  const third = await client('::1');
  t.match(
    await third.answer('/healthz'),
    /^HTTP\/1\.1 200 /,
    'a full server closes a connection of the client with most connections',
  );
  for (const other of others) t.notOk(other.closed);
});

t.test('a connection with an incomplete body is replaced like an idle connection', async (t) => {
  const { client } = await serve(t, LONG, 'api');
  for (let n = 0; n < 4; n++) {
    const half = await client();
    half.socket.write(
      'POST /v1/vnis HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 9\r\n\r\n{',
    );
  }
  const next = await client();
  t.match(await next.answer('/healthz'), /^HTTP\/1\.1 200 /);
});

t.test('connections that wait for vtepd are kept, and a new connection is closed', async (t) => {
  const { client } = await serve(t, LONG, 'api');
  const streams: Client[] = [];
  for (let n = 0; n < 4; n++) {
    const stream = await client();
    streams.push(stream);
    t.match(await stream.answer('/v1/events'), /^HTTP\/1\.1 200 /);
  }
  const next = await client();
  await eventually('the fifth connection to be closed', () => next.closed);
  t.notOk(streams.some(({ closed }) => closed));
});

t.test('a response that its client does not read is ended for a new connection', async (t) => {
  const { deps } = await controlOverPlainDataPlane();
  const many = { ...deps, dataPlane: new ManyPeers({ vnis: 64, peers: 1000 }), status: () => STATUS_OF_MANY };
  const server = buildMetricsServer(many, { ...LIMITS, ...LONG, perClient: 1 });
  await server.listen({ host: '127.0.0.1', port: 0 });
  const { port } = server.server.address() as { port: number };
  const stalled = connect(port, '127.0.0.1').on('error', () => {});
  t.teardown(async () => {
    stalled.destroy();
    await server.close();
  });
  stalled.write(GET('/metrics'));
  await once(stalled, 'readable');
  await eventually('the response to stall', async () => {
    const next = new Client(connect(port, '127.0.0.1'));
    const text = await next.answer('/healthz');
    next.socket.destroy();
    return text.startsWith('HTTP/1.1 200 ');
  });
});

t.test(
  'requests of one connection are handled one by one, and too many requests close the connection',
  async (t) => {
    const { client } = await serve(t, LONG);
    const some = await client();
    some.socket.write(GET('/healthz') + GET('/metrics') + GET('/nothing'));
    await eventually('three answers', () => some.text.match(/HTTP\/1\.1 \d+/g)?.length === 3);
    t.same(some.text.match(/HTTP\/1\.1 \d+/g), ['HTTP/1.1 200', 'HTTP/1.1 200', 'HTTP/1.1 404']);
    t.match(await some.answer('/healthz'), /^HTTP\/1\.1 200 /, 'the connection stays usable');

    const many = await client();
    many.socket.write(GET('/metrics').repeat(50_000));
    await eventually('the connection to be closed', () => many.closed);
    t.equal(many.text, '');
  },
);

t.test('pipelined scrapes do not accumulate memory', async (t) => {
  const { client } = await serve(t, LONG);
  const before = process.memoryUsage().rss;
  for (let round = 0; round < 20; round++) {
    const many = await client();
    many.socket.write(GET('/metrics').repeat(20_000));
    await eventually('the connection to be closed', () => many.closed);
  }
  const grownMb = (process.memoryUsage().rss - before) / 1e6;
  t.ok(grownMb < 64, `400,000 requests take less than 64 MB of memory (${grownMb.toFixed(0)} MB)`);
});

t.test('on a unix socket the oldest idle connection is replaced', async (t) => {
  const { deps } = await controlOverPlainDataPlane();
  const server = buildServer(deps, { ...LIMITS, ...LONG });
  const path = socketPath(t);
  await server.listen({ path });
  t.teardown(() => server.close());
  const clients: Client[] = [];
  for (let n = 0; n < 9; n++) {
    clients.push(new Client(connect(path)));
    await once(clients[n].socket, 'connect');
  }
  t.match(await clients[8].answer('/healthz'), /^HTTP\/1\.1 200 /);
  await eventually(
    'three connections to be closed',
    () => clients.filter(({ closed }) => closed).length === 3,
  );
  for (const { socket } of clients) socket.destroy();
});

t.test('a client is an IPv4 address, an IPv6 /64, loopback, or the unix socket', async (t) => {
  for (const [address, client] of [
    [undefined, 'local'],
    ['127.0.0.1', '127.0.0.0/8'],
    ['127.9.9.9', '127.0.0.0/8'],
    ['192.0.2.1', '192.0.2.1'],
    ['::ffff:192.0.2.1', '192.0.2.1'],
    ['2001:db8:1:2:3:4:5:6', '20010db800010002'],
    ['2001:db8:1:2::', '20010db800010002'],
    ['2001:db8:1:3::', '20010db800010003'],
    ['fe80::1%eth0', 'fe80::1%eth0'],
  ] as const) {
    t.equal(clientOf(address), client, String(address));
  }
});
