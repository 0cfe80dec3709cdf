/** Listeners: TCP and unix sockets, stale sockets, addresses in use, and input that is not HTTP. */

import { spawnSync } from 'node:child_process';
import { statSync, writeFileSync } from 'node:fs';
import { type AddressInfo, connect, createServer } from 'node:net';
import { dirname, join } from 'node:path';
import t, { type Test } from 'tap';
import { ListenError, listen } from '../../src/api/listen.js';
import { controlOverPlainDataPlane } from '../support/control.js';
import { socketPath } from '../support/socket-path.js';

async function server(t: Test) {
  const made = await controlOverPlainDataPlane();
  t.teardown(() => made.server.close());
  return made.server;
}

t.test('a TCP port in use is refused with cause and remedy', async (t) => {
  const first = await server(t);
  const place = await listen(first, { kind: 'tcp', host: '127.0.0.1', port: 0 });
  t.match(place, /^http:\/\/127\.0\.0\.1:\d+$/);
  const port = Number(new URL(place).port);
  const refused = listen(await server(t), { kind: 'tcp', host: '127.0.0.1', port });
  await t.rejects(
    refused,
    new ListenError(
      `--api 127.0.0.1:${port}: another process listens there; stop it, or choose another address with --api, or --api off`,
    ),
  );
});

t.test('a server that failed to listen can listen later', async (t) => {
  const holder = createServer();
  await new Promise<void>((resolve) => holder.listen(0, '127.0.0.1', resolve));
  const { port } = holder.address() as AddressInfo;
  const api = await server(t);
  await t.rejects(listen(api, { kind: 'tcp', host: '127.0.0.1', port }), {
    message: /another process listens there/,
  });
  await new Promise((resolve) => holder.close(resolve));
  t.equal(await listen(api, { kind: 'tcp', host: '127.0.0.1', port }), `http://127.0.0.1:${port}`);
});

t.test('a unix socket is accessible to root and its group, and removed at close', async (t) => {
  const path = socketPath(t);
  const api = await server(t);
  t.equal(await listen(api, { kind: 'unix', path }), `unix:${path}`);
  t.ok(statSync(path).isSocket());
  t.equal(statSync(path).mode & 0o777, 0o660);
  await api.close();
  t.throws(() => statSync(path), { code: 'ENOENT' });
});

t.test('a stale socket of a killed process is replaced', async (t) => {
  const path = socketPath(t);
  const script = `require('net').createServer().listen(${JSON.stringify(path)}, () => process.kill(process.pid, 'SIGKILL'))`;
  t.equal(spawnSync(process.execPath, ['-e', script]).signal, 'SIGKILL');
  t.ok(statSync(path).isSocket(), 'the stale socket exists');
  await listen(await server(t), { kind: 'unix', path });
  t.equal(
    await statusLine(path, 'GET /healthz HTTP/1.1\r\nHost: any.name\r\nConnection: close\r\n\r\n'),
    'HTTP/1.1 200 OK',
  );
});

t.test('a socket in use is not removed', async (t) => {
  const path = socketPath(t);
  const other = createServer().listen(path);
  t.teardown(() => other.close());
  const refused = listen(await server(t), { kind: 'unix', path });
  await t.rejects(refused, {
    message: `--api unix:${path}: another process listens there; stop it or choose another path`,
  });
  t.ok(statSync(path).isSocket());
});

t.test('a path that is not a socket or has no directory is refused', async (t) => {
  const dir = dirname(socketPath(t));
  const file = join(dir, 'notes');
  writeFileSync(file, 'keep me');
  await t.rejects(listen(await server(t), { kind: 'unix', path: file }), {
    message: `--api unix:${file}: the path exists and is not a socket; choose another path`,
  });
  t.equal(statSync(file).size, 7, 'the file is unchanged');

  const lost = join(dir, 'none', 'api.sock');
  await t.rejects(listen(await server(t), { kind: 'unix', path: lost }), {
    message: `--api unix:${lost}: permission denied, or no such directory; create the directory or choose another address with --api`,
  });
});

t.test('--api off opens no listener', async (t) => {
  const api = await server(t);
  t.equal(await listen(api, { kind: 'off' }), '');
  t.equal(api.server.listening, false);
});

t.test('input that is not HTTP is answered with a problem, and the next client is served', async (t) => {
  const path = socketPath(t);
  await listen(await server(t), { kind: 'unix', path });
  const garbage = await exchange(path, '\x08\x00\x00\x00\x00\x00\x64\x00\r\n\r\n');
  t.match(garbage, /^HTTP\/1\.1 400 /);
  t.match(garbage, /\r\nContent-Type: application\/problem\+json\r\n/);
  t.match(JSON.parse(garbage.split('\r\n\r\n')[1]), { status: 400, code: 'bad_request' });

  const flood = await exchange(path, `GET / HTTP/1.1\r\nHost: a\r\nX: ${'x'.repeat(40_000)}\r\n\r\n`);
  t.match(JSON.parse(flood.split('\r\n\r\n')[1]), { status: 431, code: 'headers_too_large' });

  t.equal(
    await statusLine(path, 'GET /healthz HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n'),
    'HTTP/1.1 200 OK',
  );
});

t.test('every response has an id that the log contains, for valid and invalid requests', async (t) => {
  const path = socketPath(t);
  const { server: api, lines } = await controlOverPlainDataPlane({ level: 'debug' });
  t.teardown(() => api.close());
  await listen(api, { kind: 'unix', path });
  const close = 'Connection: close\r\n\r\n';
  for (const [what, request, status] of [
    ['not HTTP', '\x08\x00\r\n\r\n', 400],
    ['headers too large', `GET / HTTP/1.1\r\nHost: a\r\nX: ${'x'.repeat(40_000)}\r\n\r\n`, 431],
    ['no Host', `GET /healthz HTTP/1.1\r\n${close}`, 400],
    ['no Host in HTTP/1.0', `GET /healthz HTTP/1.0\r\n${close}`, 200],
    ['an expectation', `GET /healthz HTTP/1.1\r\nHost: a\r\nExpect: nothing\r\n${close}`, 200],
    ['a malformed path', `GET /%zz HTTP/1.1\r\nHost: a\r\n${close}`, 400],
    ['an unknown method', `BREW / HTTP/1.1\r\nHost: a\r\n${close}`, 400],
  ] as const) {
    const answer = await exchange(path, request);
    t.match(answer, new RegExp(`^HTTP/1\\.1 ${status} `), what);
    const id = /\r\nx-request-id: (\S+)\r\n/i.exec(answer)?.[1];
    t.ok(id, `${what}: the response has an id`);
    if (status !== 200) t.match(answer, /\r\ncontent-type: application\/problem\+json(;.*)?\r\n/i, what);
    t.ok(
      lines.some((line) => JSON.parse(line).request === id),
      `${what}: the log contains the id`,
    );
  }
});

async function statusLine(path: string, request: string): Promise<string> {
  return (await exchange(path, request)).split('\r\n', 1)[0];
}

/** Sends the request and reads until the server closes the connection. */
function exchange(path: string, request: string): Promise<string> {
  return new Promise((resolve, reject) => {
    let text = '';
    const socket = connect(path, () => socket.write(request, 'latin1'));
    socket.setEncoding('utf8').on('data', (part) => (text += part));
    socket.on('close', () => resolve(text));
    socket.on('error', (error: NodeJS.ErrnoException) => {
      // The server may close while the remainder of a refused request is still in flight; the
      // response has arrived by then.
      if (text === '') reject(error);
    });
  });
}
