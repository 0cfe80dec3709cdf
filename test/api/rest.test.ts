/** REST under /v1: errors first, then the response and effect of each call. */
import type { InjectOptions } from 'fastify';
import t, { type Test } from 'tap';
import { StateError } from '../../src/config/state-file.js';
import { DataPlaneError } from '../../src/exchange/data-plane.js';
import { controlOverPlainDataPlane } from '../support/control.js';

type Api = Awaited<ReturnType<typeof controlOverPlainDataPlane>>;

async function api(t: Test): Promise<Api> {
  const made = await controlOverPlainDataPlane();
  t.teardown(() => made.server.close());
  return made;
}

const PEERS = '/v1/vnis/100/peers';
const FDB = '/v1/vnis/100/fdb';
const MAC = '02:00:00:00:00:aa';

t.test('every error is a problem with its code', async (t) => {
  const { server } = await api(t);
  const json = { 'content-type': 'application/json' };
  const rows: [string, InjectOptions, number, string, RegExp][] = [
    ['unknown path', { url: '/v1/nope' }, 404, 'not_found', /there is no \/v1\/nope$/],
    ['root', { url: '/' }, 404, 'not_found', /there is no \/$/],
    ['path that is not UTF-8', { url: '/v1/vnis/%c3' }, 400, 'bad_request', /not a valid url/],
    ['path segment too long', { url: `/v1/vnis/${'9'.repeat(600)}` }, 414, 'uri_too_long', /exceeds 512/],
    [
      'method not supported by a list',
      { method: 'PUT', url: '/v1/vnis' },
      405,
      'method_not_allowed',
      /supported: GET, HEAD, POST/,
    ],
    [
      'method not supported by a read-only path',
      { method: 'PUT', url: '/v1/status' },
      405,
      'method_not_allowed',
      /PUT/,
    ],
    ['browser preflight', { method: 'OPTIONS', url: PEERS }, 405, 'method_not_allowed', /OPTIONS/],
    [
      'VNI that is not a number',
      { url: '/v1/vnis/abc' },
      400,
      'bad_request',
      /^vni "abc": must be a whole number from 0 to/,
    ],
    ['VNI beyond 24 bits', { url: '/v1/vnis/16777216' }, 400, 'bad_request', /^vni "16777216": must be/],
    ['VNI in hexadecimal', { url: '/v1/vnis/0x64/peers' }, 400, 'bad_request', /^vni "0x64"/],
    ['unconfigured VNI', { url: '/v1/vnis/101' }, 404, 'vni_not_found', /^VNI 101 is not configured$/],
    ['peers of an unknown VNI', { url: '/v1/vnis/101/peers' }, 404, 'vni_not_found', /101/],
    [
      'unknown query parameter',
      { url: '/v1/vnis?vni=100' },
      400,
      'bad_request',
      /^query: unknown field "vni"$/,
    ],
    [
      'body that is not JSON',
      { method: 'POST', url: PEERS, headers: json, payload: '{' },
      400,
      'bad_request',
      /JSON/,
    ],
    ['empty body', { method: 'POST', url: PEERS, headers: json, payload: '' }, 400, 'bad_request', /empty/],
    ['no body', { method: 'POST', url: PEERS }, 400, 'bad_request', /body/],
    [
      'list as body',
      { method: 'POST', url: PEERS, payload: [] },
      400,
      'bad_request',
      /^body \[\]: must be object$/,
    ],
    [
      'body of another type',
      {
        method: 'POST',
        url: PEERS,
        headers: { 'content-type': 'text/plain' },
        payload: '{"address":"192.0.2.1"}',
      },
      415,
      'unsupported_media_type',
      /application\/json/,
    ],
    [
      'body too large',
      { method: 'POST', url: PEERS, payload: { address: 'a'.repeat(70_000) } },
      413,
      'payload_too_large',
      /65536/,
    ],
    [
      'peer without address',
      { method: 'POST', url: PEERS, payload: {} },
      400,
      'bad_request',
      /"address" is required/,
    ],
    [
      'misspelt field',
      { method: 'POST', url: PEERS, payload: { address: '192.0.2.1', prot: 1 } },
      400,
      'bad_request',
      /^body: unknown field "prot"$/,
    ],
    [
      'port that is not a number',
      { method: 'POST', url: PEERS, payload: { address: '192.0.2.1', port: 'vxlan' } },
      400,
      'bad_request',
      /^address 192.0.2.1: port=vxlan must be a whole number/,
    ],
    [
      'port 0',
      { method: 'POST', url: PEERS, payload: { address: '192.0.2.1', port: 0 } },
      400,
      'bad_request',
      /port=0 must be a whole number from 1 to 65535$/,
    ],
    [
      'flood as a number',
      { method: 'POST', url: PEERS, payload: { address: '192.0.2.1', flood: 0 } },
      400,
      'bad_request',
      /^body\.flood 0: must be boolean,string$/,
    ],
    [
      'multicast group as peer',
      { method: 'POST', url: PEERS, payload: { address: '239.1.1.1' } },
      400,
      'bad_request',
      /^address 239.1.1.1: must be a unicast address, not a multicast group$/,
    ],
    [
      'invalid peer address',
      { method: 'POST', url: PEERS, payload: { address: '192.0.2.300' } },
      400,
      'bad_request',
      /^address 192.0.2.300: must be an IPv4 address/,
    ],
    [
      'link-local peer without an interface',
      { method: 'POST', url: PEERS, payload: { address: 'fe80::1' } },
      400,
      'bad_request',
      /fe80::1%IF/,
    ],
    [
      'own address as peer',
      { method: 'POST', url: PEERS, payload: { address: '192.0.2.10' } },
      400,
      'bad_request',
      /^address 192.0.2.10: is this VTEP's own/,
    ],
    [
      'unresolvable peer name',
      { method: 'POST', url: PEERS, payload: { address: 'nowhere.example' } },
      400,
      'peer_unresolved',
      /^nowhere.example: name not known$/,
    ],
    [
      'peer configured already',
      { method: 'POST', url: PEERS, payload: { address: '::ffff:192.0.2.11' } },
      409,
      'peer_exists',
      /192.0.2.11 is a peer of VNI 100 already/,
    ],
    [
      'unconfigured peer',
      { url: `${PEERS}/192.0.2.99` },
      404,
      'peer_not_found',
      /^VNI 100 has no peer 192.0.2.99$/,
    ],
    [
      'removal of an unknown peer',
      { method: 'DELETE', url: `${PEERS}/192.0.2.99` },
      404,
      'peer_not_found',
      /192.0.2.99/,
    ],
    ['FDB type', { url: `${FDB}?type=learned` }, 400, 'bad_request', /"static", "dynamic" or "all"/],
    [
      'FDB limit',
      { url: `${FDB}?limit=1001` },
      400,
      'bad_request',
      /^limit "1001": must be a whole number from 1 to 1000/,
    ],
    ['FDB cursor', { url: `${FDB}?cursor=-1` }, 400, 'bad_request', /^cursor "-1"/],
    [
      'FDB type given twice',
      { url: `${FDB}?type=all&type=all` },
      400,
      'bad_request',
      /^query\.type .*must be string/,
    ],
    ['FDB of an unknown peer', { url: `${FDB}?peer=192.0.2.99` }, 404, 'peer_not_found', /192.0.2.99/],
    ['flush without a type', { method: 'DELETE', url: FDB }, 400, 'bad_request', /"type" is required/],
    [
      'flush with a misspelt parameter',
      { method: 'DELETE', url: `${FDB}?tpe=dynamic` },
      400,
      'bad_request',
      /unknown field "tpe"|"type" is/,
    ],
    [
      'invalid MAC',
      { method: 'DELETE', url: `${FDB}/02:00:00:00:00` },
      400,
      'bad_request',
      /^mac .*unicast MAC/,
    ],
    [
      'static entry for a multicast MAC',
      { method: 'PUT', url: `${FDB}/01:00:5e:00:00:01`, payload: { peer: '192.0.2.11' } },
      400,
      'bad_request',
      /multicast/,
    ],
    [
      'static entry of an unknown peer',
      { method: 'PUT', url: `${FDB}/${MAC}`, payload: { peer: '192.0.2.99' } },
      409,
      'peer_not_found',
      /^VNI 100 has no peer 192.0.2.99$/,
    ],
    [
      'unknown entry',
      { method: 'DELETE', url: `${FDB}/${MAC}` },
      404,
      'fdb_entry_not_found',
      /02:00:00:00:00:aa/,
    ],
  ];
  for (const [name, request, status, code, detail] of rows) {
    const answer = await server.inject(request);
    const problem = answer.json();
    t.equal(answer.statusCode, status, `${name}: the status is ${status}`);
    t.match(
      answer.headers['content-type'],
      /^application\/problem\+json/,
      `${name}: the content type is that of a problem`,
    );
    t.strictSame(
      Object.keys(problem),
      ['type', 'title', 'status', 'detail', 'code'],
      `${name}: the problem has all fields`,
    );
    t.equal(problem.code, code, `${name}: the code is ${code}`);
    t.equal(problem.type, `urn:vtepd:problem:${code}`, `${name}: the type contains the code`);
    t.equal(problem.status, status, `${name}: the body contains the status`);
    t.match(problem.detail, detail, `${name}: the detail explains the error`);
    t.notMatch(problem.detail, /\n/, `${name}: the detail is one line`);
  }
});

t.test('405 lists the supported methods in Allow', async (t) => {
  const { server } = await api(t);
  const answer = await server.inject({ method: 'PATCH', url: `${PEERS}/192.0.2.11` });
  t.equal(answer.headers.allow, 'DELETE, GET, HEAD');
});

t.test('a failed data plane is answered with 503, and an unexpected error reveals no details', async (t) => {
  const { server, dataPlane, lines } = await api(t);
  const add = { method: 'POST', url: PEERS, payload: { address: '192.0.2.50' } } as const;

  dataPlane.failure = new DataPlaneError('dataplane_timeout', 'no answer within 2 s');
  t.match(await server.inject(add).then((answer) => answer.json()), {
    status: 503,
    code: 'dataplane_timeout',
  });

  dataPlane.failure = new DataPlaneError('dataplane_down', 'the worker is being restarted');
  t.match(await server.inject(add).then((answer) => answer.json()), { status: 503, code: 'dataplane_down' });

  dataPlane.failure = new StateError(
    '--state /s.json: cannot open or write the state file (ENOSPC)',
  ) as unknown as DataPlaneError;
  t.match(await server.inject(add).then((answer) => answer.json()), {
    code: 'host_refused',
    detail: /ENOSPC/,
  });

  dataPlane.failure = new TypeError('secret of the inside') as DataPlaneError;
  const answer = await server.inject(add);
  t.match(answer.json(), { status: 500, code: 'internal' });
  t.notMatch(answer.body, /secret|\bat\b.*:\d+/);
  t.match(lines.at(-1), /secret of the inside/, 'the details are in the log');
});

t.test('a page that rebinds its name to loopback is refused', async (t) => {
  const { server } = await api(t);
  const call = (host: string) => server.inject({ url: '/healthz', headers: { host } });
  t.match((await call('evil.example')).json(), { status: 403, code: 'forbidden_host' });
  for (const host of ['127.0.0.1:8789', '[::1]:8789', 'localhost:8789', 'localhost']) {
    t.equal((await call(host)).statusCode, 200, host);
  }
});

t.test('/v1/status shows version, underlay, VNIs, warnings and notices', async (t) => {
  const { server } = await api(t);
  const answer = await server.inject('/v1/status');
  t.equal(answer.statusCode, 200);
  t.equal(answer.headers['cache-control'], 'no-store');
  const { uptimeS, ...rest } = answer.json();
  t.type(uptimeS, 'number');
  t.strictSame(rest, {
    version: '0.1.0',
    startedAt: '2026-01-01T00:00:00.000Z',
    ready: true,
    underlay: { local: ['192.0.2.10'], device: null, port: 4789, io: 'batch', offloads: ['UDP_GRO'] },
    vnis: [vni100()],
    warnings: [
      {
        code: 'overlay_mtu_too_large',
        detail: '--mtu 9000 exceeds 1450',
        why: 'larger packets are lost',
        cure: 'use --mtu auto',
      },
    ],
    notices: [
      {
        code: 'queues_unsteered',
        detail: 'vtep100 has no program',
        why: 'frames may be reordered',
        cure: 'run with CAP_BPF',
      },
    ],
  });
});

t.test('VNIs are listed and read', async (t) => {
  const { server } = await api(t);
  t.strictSame((await server.inject('/v1/vnis')).json(), { items: [vni100()], nextCursor: null });
  t.strictSame((await server.inject('/v1/vnis/100')).json(), vni100());
});

t.test('peers are listed, added, found by address and by name, and removed', async (t) => {
  const { server, dataPlane } = await api(t);
  const before = (await server.inject(PEERS)).json();
  t.strictSame(before.items, [
    peer('192.0.2.11', { pathMtu: 1500 }),
    peer('far.example', { resolved: '2001:db8::12', port: 8472, flood: false }),
  ]);

  const added = await server.inject({
    method: 'POST',
    url: PEERS,
    payload: { address: 'FE80::5%eth0', flood: false },
  });
  t.equal(added.statusCode, 201);
  t.equal(added.headers.location, `${PEERS}/fe80%3A%3A5%25eth0`);
  t.strictSame(
    added.json(),
    peer('fe80::5%eth0', { flood: false }),
    'the default port is that of the daemon',
  );
  t.strictSame(
    (await server.inject(added.headers.location as string)).json(),
    added.json(),
    'Location is the path of the peer',
  );

  const named = await server.inject({
    method: 'POST',
    url: PEERS,
    payload: { address: 'Near.example', port: 8472 },
  });
  t.equal(named.headers.location, `${PEERS}/near.example`);
  t.strictSame(named.json(), peer('near.example', { resolved: '192.0.2.77', port: 8472 }));
  t.strictSame((await server.inject(`${PEERS}/near.example`)).json(), named.json(), 'found by name');
  t.strictSame((await server.inject(`${PEERS}/192.0.2.77`)).json(), named.json(), 'found by address');

  const second = peer('near.example', { resolved: '192.0.2.78', port: 8472 });
  t.strictSame((await server.inject(`${PEERS}/192.0.2.78`)).json(), second, 'every address is a peer');
  t.match((await server.inject({ method: 'DELETE', url: `${PEERS}/192.0.2.78` })).json(), {
    status: 409,
    code: 'peer_of_name',
  });

  dataPlane.learn(100, MAC, '192.0.2.77');
  const removed = await server.inject({ method: 'DELETE', url: `${PEERS}/near.example` });
  t.equal(removed.statusCode, 204);
  t.equal(removed.body, '');
  t.strictSame((await server.inject(FDB)).json().items, [], 'its FDB entries are removed');
  t.equal((await server.inject(`${PEERS}/192.0.2.77`)).statusCode, 404);
});

t.test('a name without an address is listed with `resolved: null`', async (t) => {
  const { server } = await api(t);
  const added = await server.inject({ method: 'POST', url: PEERS, payload: { address: 'lost.example' } });
  t.equal(added.statusCode, 201);
  t.strictSame(added.json(), peer('lost.example', { resolved: null }));
  t.match((await server.inject(PEERS)).json().items.at(-1), { address: 'lost.example', resolved: null });
  t.equal((await server.inject({ method: 'DELETE', url: `${PEERS}/lost.example` })).statusCode, 204);
});

t.test(
  'an invalid probe is refused; a valid probe is answered with its result, alone or after lines',
  async (t) => {
    const { server } = await api(t);
    const probe = (address: string, headers = {}) =>
      server.inject({ method: 'POST', url: `${PEERS}/${address}/probe`, headers });
    t.match((await probe('192.0.2.99')).json(), { status: 404, code: 'peer_not_found' });
    t.match((await server.inject(`${PEERS}/192.0.2.11/probe`)).json(), { code: 'method_not_allowed' });

    const result = {
      peer: '192.0.2.11',
      good: false,
      summary: 'path carries 1400; overlay MTU 1350 fits; this VNI has 1450: 100 bytes too large',
      means: 'icmp',
      pathMtu: 1400,
      exact: true,
      routeMtu: 1500,
      fits: 1350,
      overlayMtu: 1450,
      tapMtu: 1450,
      probes: 9,
      failed: [],
    };
    t.strictSame((await probe('192.0.2.11')).json(), result);
    t.match((await probe('far.example')).json(), { means: null, pathMtu: null, fits: null });

    const lines = await probe('192.0.2.11', { accept: 'application/x-ndjson' });
    t.match(lines.headers, { 'content-type': 'application/x-ndjson' });
    const [step, last, ...rest] = lines.body.split('\n');
    t.strictSame(JSON.parse(step), { packetLen: 576, outcome: 'arrived' });
    t.match(JSON.parse(last), result);
    t.same(rest, ['']);
  },
);

t.test('/v1/doctor lists the findings', async (t) => {
  const { server, findings } = await api(t);
  t.strictSame((await server.inject('/v1/doctor')).json(), { items: [], nextCursor: null });
  findings.push({ code: 'firewall', what: 'it drops', why: 'nothing arrives', cure: 'nft insert rule' });
  t.strictSame((await server.inject('/v1/doctor')).json(), { items: findings, nextCursor: null });
});

t.test('FDB entries are listed in pages, filtered, set, removed and flushed', async (t) => {
  const { server, dataPlane } = await api(t);
  const put = (payload: object) => server.inject({ method: 'PUT', url: `${FDB}/${MAC}`, payload });
  dataPlane.learn(100, '02:00:00:00:00:01', '192.0.2.11', 1500);
  dataPlane.learn(100, '02:00:00:00:00:02', '2001:db8::12', 10);
  t.equal((await put({ peer: '192.0.2.11' })).statusCode, 204, 'the entry is new');
  t.equal((await put({ peer: 'far.example' })).statusCode, 204, 'the entry is replaced, by peer name');

  const first = (await server.inject(`${FDB}?limit=2`)).json();
  t.strictSame(first, {
    items: [
      { mac: '02:00:00:00:00:01', peer: '192.0.2.11', type: 'dynamic', ageMs: 1500 },
      { mac: '02:00:00:00:00:02', peer: '2001:db8::12', type: 'dynamic', ageMs: 10 },
    ],
    nextCursor: '2',
  });
  const second = (await server.inject(`${FDB}?limit=2&cursor=${first.nextCursor}`)).json();
  t.strictSame(second, {
    items: [{ mac: MAC, peer: '2001:db8::12', type: 'static', ageMs: 0 }],
    nextCursor: null,
  });

  const macs = async (query: string) =>
    (await server.inject(`${FDB}?${query}`)).json().items.map((entry: { mac: string }) => entry.mac);
  t.strictSame(await macs('type=static'), [MAC]);
  t.strictSame(await macs('peer=192.0.2.11'), ['02:00:00:00:00:01']);
  t.strictSame(await macs('peer=far.example&type=dynamic'), ['02:00:00:00:00:02']);

  const near = { method: 'POST', url: PEERS, payload: { address: 'near.example' } } as const;
  t.equal((await server.inject(near)).statusCode, 201);
  dataPlane.learn(100, '02:00:00:00:00:77', '192.0.2.77');
  dataPlane.learn(100, '02:00:00:00:00:78', '192.0.2.78');
  t.strictSame(
    await macs('peer=near.example'),
    ['02:00:00:00:00:77', '02:00:00:00:00:78'],
    'the name selects the entries of all its addresses',
  );
  t.strictSame(await macs('peer=192.0.2.78'), ['02:00:00:00:00:78'], 'an address selects its own entries');
  const flushedOfName = await server.inject({ method: 'DELETE', url: `${FDB}?type=all&peer=near.example` });
  t.strictSame(flushedOfName.json(), { removed: 2 });

  const flushed = await server.inject({ method: 'DELETE', url: `${FDB}?type=dynamic` });
  t.equal(flushed.statusCode, 200);
  t.strictSame(flushed.json(), { removed: 2 });
  t.strictSame(await macs(''), [MAC], 'the static entry stays');

  t.equal((await server.inject({ method: 'DELETE', url: `${FDB}/02-00-00-00-00-AA` })).statusCode, 204);
  t.strictSame(await macs(''), []);
});

t.test('/healthz depends on the process, /readyz on the reasons against readiness', async (t) => {
  const { server, reasons } = await api(t);
  t.strictSame((await server.inject('/readyz')).json(), { status: 'ready' });
  reasons.push(
    { code: 'device_missing', detail: 'vtep100 is down' },
    { code: 'local_address_missing', detail: '192.0.2.10 is on no device' },
  );
  t.strictSame((await server.inject('/healthz')).json(), { status: 'ok' });
  const refused = await server.inject('/readyz');
  t.equal(refused.statusCode, 503);
  t.match(refused.headers['content-type'], /^application\/problem\+json/);
  t.strictSame(refused.json(), {
    type: 'urn:vtepd:problem:not_ready',
    title: 'The VTEP is not ready',
    status: 503,
    detail: 'device_missing: vtep100 is down',
    code: 'not_ready',
    reasons,
  });
  t.match((await server.inject('/v1/status')).json(), { ready: false });
  reasons.length = 0;
  t.equal((await server.inject('/readyz')).statusCode, 200);
  t.match((await server.inject('/v1/status')).json(), { ready: true });
});

function vni100() {
  return {
    vni: 100,
    state: 'up',
    tap: 'vtep100',
    bridge: null,
    address: [],
    mac: '02:00:00:00:00:01',
    mtu: 'auto',
    overlayMtu: 1450,
    learning: true,
    ageing: 300,
    fdbLimit: 65536,
    flood: true,
    accept: 'peers',
    vlan: 'pass',
    peers: 2,
    fdb: { static: 0, dynamic: 0 },
  };
}

/** A peer without traffic. */
function peer(address: string, other: object) {
  const none = { frames: 0, bytes: 0 };
  const standard = {
    address,
    port: 4789,
    flood: true,
    all: false,
    resolved: address,
    lastSeen: null,
    pathMtu: null,
  };
  return { ...standard, tx: none, rx: none, ...other };
}
