/** Access control: with and without a token, against web pages, and on the metrics listener. */
import { once } from 'node:events';
import { type AddressInfo, connect } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';
import t, { type Test } from 'tap';
import { buildMetricsServer } from '../../src/api/server.js';
import { controlOverPlainDataPlane } from '../support/control.js';

const TOKEN = '0123456789abcdef-._~+/==';

async function api(t: Test, token = '') {
  const made = await controlOverPlainDataPlane({ token, level: 'debug' });
  t.teardown(() => made.server.close());
  return made;
}

t.test('without the token only health and the description are accessible', async (t) => {
  const { server, lines } = await api(t, TOKEN);
  const get = (url: string, authorization?: string) =>
    server.inject({ url, headers: authorization === undefined ? {} : { authorization } });
  for (const url of [
    '/v1/status',
    '/v1/vnis',
    '/metrics',
    '/v1/events',
    '/v1/capture',
    '/nothing',
    '/v1//status',
  ]) {
    const answer = await get(url);
    t.match(answer.json(), { status: 401, code: 'unauthorized' }, url);
    t.equal(answer.headers['www-authenticate'], 'Bearer realm="vtepd"', url);
  }
  for (const wrong of [
    'Bearer',
    `Basic ${TOKEN}`,
    `Bearer ${TOKEN.slice(1)}`,
    `Bearer ${TOKEN} x`,
    `Bearer  `,
  ]) {
    t.equal((await get('/v1/status', wrong)).statusCode, 401, wrong);
  }
  const other = await get('/v1/status', 'Bearer other');
  t.equal(other.headers['www-authenticate'], 'Bearer realm="vtepd", error="invalid_token"');
  for (const right of [`Bearer ${TOKEN}`, `bearer ${TOKEN}`]) {
    t.equal((await get('/v1/status', right)).statusCode, 200, right);
  }
  for (const url of ['/healthz', '/readyz', '/openapi.json', '/docs', '/docs/static/swagger-ui.css']) {
    t.equal((await get(url)).statusCode, 200, url);
  }
  t.notMatch(lines.join(''), TOKEN, 'the token is in no log line');
});

t.test('with a token any Host is accepted', async (t) => {
  const { server } = await api(t, TOKEN);
  const headers = { host: 'vtep.example:8789', authorization: `Bearer ${TOKEN}` };
  t.equal((await server.inject({ url: '/v1/status', headers })).statusCode, 200);
});

t.test(
  'a request from a page of another origin is refused, a request from the API’s own page is accepted',
  async (t) => {
    const { server } = await api(t);
    const reload = (origin: string) =>
      server.inject({ method: 'POST', url: '/v1/reload', headers: { host: '127.0.0.1:8789', origin } });
    for (const origin of ['http://evil.example', 'null', 'http://127.0.0.1:80'])
      t.match((await reload(origin)).json(), { status: 403, code: 'forbidden_origin' }, origin);
    t.equal((await reload('http://127.0.0.1:8789')).statusCode, 200);
  },
);

t.test('a fetch by a page of another origin is refused unless the route needs no token', async (t) => {
  const { server } = await api(t);
  const get = (url: string, site: string) => server.inject({ url, headers: { 'sec-fetch-site': site } });
  for (const site of ['cross-site', 'same-site'])
    for (const url of ['/v1/doctor', '/v1/vnis', '/metrics'])
      t.match((await get(url, site)).json(), { status: 403, code: 'forbidden_origin' }, `${url} ${site}`);
  for (const site of ['none', 'same-origin']) t.equal((await get('/v1/vnis', site)).statusCode, 200, site);
  for (const url of ['/healthz', '/docs', '/openapi.json'])
    t.equal((await get(url, 'cross-site')).statusCode, 200, url);
});

t.test('a request with a foreign Host is refused even if its connection is already reset', async (t) => {
  const { server, lines } = await api(t);
  await server.listen({ host: '127.0.0.1', port: 0 });
  const { port } = server.server.address() as AddressInfo;
  const client = connect(port, '127.0.0.1').on('error', () => {});
  await once(client, 'connect');
  client.write('POST /v1/reload HTTP/1.1\r\nHost: evil.example\r\nContent-Length: 0\r\n\r\n');
  client.resetAndDestroy();
  await delay(200);
  t.notMatch(lines.join(''), /configuration reloaded/);
});

t.test('every request has an id, in the response and in the log', async (t) => {
  const { server, lines } = await api(t);
  const { headers } = await server.inject('/v1/nothing');
  const line = lines.map((text) => JSON.parse(text)).find(({ msg }) => msg === 'request');
  t.match(line, {
    level: 20,
    request: headers['x-request-id'],
    method: 'GET',
    url: '/v1/nothing',
    status: 404,
  });
  t.match(
    (await server.inject('/v1/%')).headers,
    { 'x-request-id': /^[0-9a-f-]{36}$/ },
    'a request with a malformed path has an id',
  );
  t.not((await server.inject('/healthz')).headers['x-request-id'], headers['x-request-id']);
});

t.test('the metrics listener serves only metrics and health', async (t) => {
  const { deps } = await api(t, TOKEN);
  const server = buildMetricsServer(deps);
  t.teardown(() => server.close());
  const get = (url: string) => server.inject({ url, headers: { host: 'vtep.example' } });
  t.match((await get('/metrics')).body, /^vtepd_build_info/m);
  t.equal((await get('/healthz')).statusCode, 200);
  t.equal((await get('/readyz')).statusCode, 200);
  for (const url of ['/v1/status', '/v1/vnis', '/docs', '/openapi.json'])
    t.match((await get(url)).json(), { status: 404, code: 'not_found' }, url);
  t.match((await server.inject({ method: 'POST', url: '/metrics' })).json(), { code: 'method_not_allowed' });
});
