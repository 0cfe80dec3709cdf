/** VNIs added, changed and removed through the API: errors first. */
import type { InjectOptions } from 'fastify';
import t, { type Test } from 'tap';
import { controlOverPlainDataPlane } from '../support/control.js';

const VNIS = '/v1/vnis';

async function api(t: Test) {
  const made = await controlOverPlainDataPlane();
  t.teardown(() => made.server.close());
  return made;
}

t.test('invalid requests are refused', async (t) => {
  const { server } = await api(t);
  const post = (payload: object): InjectOptions => ({ method: 'POST', url: VNIS, payload });
  const patch = (payload: object, url = `${VNIS}/100`): InjectOptions => ({ method: 'PATCH', url, payload });
  const rows: [string, InjectOptions, number, string, RegExp][] = [
    ['no VNI', post({}), 400, 'bad_request', /^body: "vni" is required$/],
    ['a VNI beyond 24 bits', post({ vni: 16777216 }), 400, 'bad_request', /^vni 16777216: must be a whole/],
    ['a VNI configured already', post({ vni: 100 }), 409, 'vni_exists', /^VNI 100 is configured already$/],
    ['a misspelt field', post({ vni: 7, ageeing: 1 }), 400, 'bad_request', /^body: unknown field "ageeing"$/],
    [
      'an invalid value',
      post({ vni: 7, vlan: 'keep' }),
      400,
      'bad_request',
      /^vlan keep: must be "pass", "strip" or/,
    ],
    [
      'a boolean as a number',
      post({ vni: 7, flood: 1 }),
      400,
      'bad_request',
      /^body\.flood 1: must be boolean,string,null$/,
    ],
    ['a fraction', post({ vni: 7, ageing: 1.5 }), 400, 'bad_request', /^body\.ageing 1.5: must be integer/],
    [
      'an `mtu` below the IPv4 minimum',
      post({ vni: 7, mtu: 67 }),
      400,
      'bad_request',
      /^mtu 67: must be "auto" or/,
    ],
    [
      'a bridge with the name of the TAP',
      post({ vni: 7, bridge: 'vtep7' }),
      400,
      'bad_request',
      /is the TAP of VNI 7/,
    ],
    [
      'a peer listed twice',
      post({ vni: 7, peers: ['192.0.2.1', '192.0.2.1'] }),
      400,
      'bad_request',
      /peers\[1\].*already/,
    ],
    [
      'a peer of another VNI',
      post({ vni: 7, peers: ['192.0.2.1,vni=8'] }),
      400,
      'bad_request',
      /^peers\[0\] 192.0.2.1,vni=8: .*remove vni=$/,
    ],
    ['a peer without address', post({ vni: 7, peers: [{ port: 1 }] }), 400, 'bad_request', /^body\.peers/],
    [
      'an unresolvable peer name',
      post({ vni: 7, peers: ['nowhere.example'] }),
      400,
      'peer_unresolved',
      /name not known/,
    ],
    ['an empty change', patch({}), 400, 'bad_request', /must NOT have fewer than 1/],
    ['a change of the VNI', patch({ vni: 101 }), 400, 'bad_request', /unknown field "vni"/],
    ['a change of the peers', patch({ peers: [] }), 400, 'bad_request', /unknown field "peers"/],
    ['a change of the TAP', patch({ tap: 'other' }), 400, 'bad_request', /remove the VNI and add it again/],
    ['a change of an unknown VNI', patch({ ageing: 1 }, `${VNIS}/101`), 404, 'vni_not_found', /101/],
    ['a removal of an unknown VNI', { method: 'DELETE', url: `${VNIS}/101` }, 404, 'vni_not_found', /101/],
  ];
  for (const [name, request, status, code, detail] of rows) {
    const answer = await server.inject(request);
    t.match(answer.json(), { status, code, detail }, name);
    t.equal(answer.statusCode, status, `${name}: the status is ${status}`);
  }
});

t.test('a VNI is added, read, changed and removed', async (t) => {
  const { server } = await api(t);
  const payload = {
    vni: 7,
    bridge: 'br0',
    address: ['10.0.0.1/24', '2001:db8::1/64'],
    mtu: 1400,
    learning: false,
    ageing: '60',
    flood: 'off',
    peers: ['192.0.2.21,flood=off', { address: 'far.example', port: 8472 }],
  };
  const made = await server.inject({ method: 'POST', url: VNIS, payload });
  t.equal(made.statusCode, 201);
  t.equal(made.headers.location, `${VNIS}/7`);
  t.match(made.json(), {
    vni: 7,
    tap: 'vtep7',
    bridge: 'br0',
    address: ['10.0.0.1/24', '2001:db8::1/64'],
    mtu: 1400,
    learning: false,
    ageing: 60,
    fdbLimit: 65536,
    flood: false,
    accept: 'peers',
    peers: 2,
  });
  t.strictSame((await server.inject(`${VNIS}/7`)).json(), made.json());
  t.match((await server.inject(`${VNIS}/7/peers`)).json().items, [
    { address: '192.0.2.21', flood: false, port: 4789 },
    { address: 'far.example', flood: true, port: 8472 },
  ]);

  const changed = await server.inject({
    method: 'PATCH',
    url: `${VNIS}/7`,
    payload: { ageing: 0, flood: 'on', bridge: null, address: '10.0.0.2/24', mtu: null },
  });
  t.strictSame(changed.json(), {
    ...made.json(),
    ageing: 0,
    flood: true,
    bridge: null,
    address: ['10.0.0.2/24'],
    mtu: 'auto',
  });

  t.equal((await server.inject({ method: 'DELETE', url: `${VNIS}/7` })).statusCode, 204);
  t.match((await server.inject(`${VNIS}/7`)).json(), { code: 'vni_not_found' });
});

t.test(
  'a settling VNI is listed with its state; while a VNI is being removed, other calls are refused',
  async (t) => {
    const { server, dataPlane } = await api(t);
    const [configured] = dataPlane.vnis();
    const states = async () => {
      const { items } = (await server.inject(VNIS)).json();
      return items.map(({ vni, state }: { vni: number; state: string }) => [vni, state]);
    };
    t.same(await states(), [[configured.vni, 'up']]);
    const leftover = {
      ...configured,
      vni: 7,
      tap: 'vtep7',
      policy: { ...configured.policy, packetMax: 1400 },
    };
    dataPlane.unsettled.set(7, leftover);
    dataPlane.unsettled.set(configured.vni, configured);
    t.same(await states(), [
      [7, 'settling'],
      [configured.vni, 'settling'],
    ]);
    const one = await server.inject(`${VNIS}/7`);
    t.equal(one.statusCode, 200);
    t.match(one.json(), { vni: 7, state: 'settling', tap: 'vtep7', mtu: 1400, address: [], peers: 0 });
    const { vnis } = (await server.inject('/v1/status')).json();
    t.same(
      vnis.map(({ vni }: { vni: number }) => vni),
      [configured.vni, 7],
    );
    for (const [method, path, payload] of [
      ['DELETE', '/7', undefined],
      ['PATCH', '/7', { ageing: 1 }],
      ['GET', '/7/peers', undefined],
      ['POST', '/7/peers', { address: '192.0.2.9' }],
      ['GET', '/7/fdb', undefined],
    ] as const) {
      const answer = await server.inject({ method, url: `${VNIS}${path}`, ...(payload && { payload }) });
      t.match(answer.json(), {
        status: 404,
        code: 'vni_not_found',
        detail: /which vtepd is removing \(state settling\)$/,
      });
    }
    dataPlane.unsettled.clear();
    t.same(await states(), [[configured.vni, 'up']]);
    t.equal((await server.inject(`${VNIS}/7`)).statusCode, 404);
  },
);

t.test('If-Match prevents lost updates', async (t) => {
  const { server, lines } = await api(t);
  const url = `${VNIS}/100`;
  const tag = async () => (await server.inject(url)).headers.etag as string;
  const patch = (payload: object, match: string) =>
    server.inject({ method: 'PATCH', url, payload, headers: { 'if-match': match } });
  const seen = await tag();
  t.match(seen, /^"[0-9a-f]{16}"$/);

  const first = await patch({ ageing: 60 }, seen);
  t.equal(first.statusCode, 200);
  t.equal(first.headers.etag, await tag(), 'the response has the new tag');
  t.not(first.headers.etag, seen);
  const second = await patch({ fdbLimit: 10 }, seen);
  t.match(second.json(), { status: 412, code: 'precondition_failed', detail: /^VNI 100 has changed/ });
  t.match((await server.inject(url)).json(), { ageing: 60, fdbLimit: 65536 });
  t.match((await server.inject({ method: 'DELETE', url, headers: { 'if-match': seen } })).json(), {
    code: 'precondition_failed',
  });
  t.equal(
    (await patch({ fdbLimit: 10 }, `"other", ${await tag()}`)).statusCode,
    200,
    'one matching tag of several is enough',
  );
  t.equal((await patch({ fdbLimit: 11 }, '*')).statusCode, 200, '`*` matches any tag');

  const now = await tag();
  const both = await Promise.all([patch({ ageing: 1 }, now), patch({ ageing: 2 }, now)]);
  t.same(
    both.map(({ statusCode }) => statusCode),
    [200, 412],
    'of two concurrent changes one succeeds',
  );
  await patch({ ageing: 60, fdbLimit: 65536 }, '*');
  t.equal(await tag(), first.headers.etag, 'equal settings have equal tags');

  await server.inject({ method: 'POST', url: `${url}/peers`, payload: { address: '192.0.2.50' } });
  t.equal(await tag(), first.headers.etag, 'an added peer does not change the tag of the VNI');
  const asked = await server.inject({ url, headers: { 'if-none-match': `W/${await tag()}` } });
  t.equal(asked.statusCode, 304);
  t.equal(asked.body, '');
  t.ok(lines.some((line) => /VNI changed by the API/.test(line) && /"request":"[0-9a-f-]{36}"/.test(line)));
});

t.test('peers have entity tags', async (t) => {
  const { server } = await api(t);
  const url = `${VNIS}/100/peers/192.0.2.11`;
  const { etag } = (await server.inject(url)).headers;
  t.equal((await server.inject({ url, headers: { 'if-none-match': String(etag) } })).statusCode, 304);
  const remove = (match: string) => server.inject({ method: 'DELETE', url, headers: { 'if-match': match } });
  await server.inject({ method: 'DELETE', url });
  const payload = { address: '192.0.2.11', port: 8472 };
  const added = await server.inject({ method: 'POST', url: `${VNIS}/100/peers`, payload });
  t.match((await remove(String(etag))).json(), { code: 'precondition_failed' });
  t.equal((await remove(String(added.headers.etag))).statusCode, 204);
});

t.test('pages are consistent while the list changes', async (t) => {
  const { server, configuration } = await api(t);
  for (let last = 20; last < 30; last++)
    await configuration.addPeer(100, { host: `198.51.100.${last}`, port: 4789, flood: true });
  const page = async (path: string, cursor: string | null) =>
    (
      await server.inject(`${path}?limit=4${cursor === null ? '' : `&cursor=${encodeURIComponent(cursor)}`}`)
    ).json();
  const peers = `${VNIS}/100/peers`;
  const seen: string[] = [];
  let cursor: string | null = null;
  do {
    const { items, nextCursor } = await page(peers, cursor);
    for (const { resolved } of items) seen.push(resolved);
    cursor = nextCursor;
    if (cursor !== null) {
      await configuration.removePeer(100, seen.at(-1)!);
      await configuration.addPeer(100, { host: `10.0.0.${seen.length}`, port: 4789, flood: true });
    }
  } while (cursor !== null);
  const stayed = Array.from({ length: 10 }, (_, i) => `198.51.100.${20 + i}`);
  t.same(
    seen,
    ['192.0.2.11', ...stayed, '2001:db8::12'],
    'each peer that stays is listed once, although others are added and removed',
  );

  await server.inject({ method: 'POST', url: VNIS, payload: { vni: 7 } });
  const first = await page(VNIS, '7');
  t.match(first, { items: [{ vni: 100 }], nextCursor: null }, 'VNIs are sorted by number');
  t.match((await server.inject(`${VNIS}?limit=1`)).json(), { items: [{ vni: 7 }], nextCursor: '7' });
  t.match((await server.inject(`${VNIS}?limit=0`)).json(), { code: 'bad_request', detail: /^limit "0"/ });
  t.match((await server.inject(`${VNIS}?cursor=x`)).json(), { code: 'bad_request', detail: /^cursor "x"/ });
});

t.test('a VNI that is being removed is not listed', async (t) => {
  const { server, dataPlane } = await api(t);
  dataPlane.addVni(7);
  t.match((await server.inject(VNIS)).json(), { items: [{ vni: 100 }], nextCursor: null });
  t.match((await server.inject('/v1/status')).json().vnis, [{ vni: 100 }]);
  t.match((await server.inject(`${VNIS}/7`)).json(), { status: 404, code: 'vni_not_found' });
});

t.test('/v1/reload reports the changes, or the error of the file', async (t) => {
  const { server, configuration } = await api(t);
  const { ConfigError } = await import('../../src/config/config-error.js');
  const reload = async () => (await server.inject({ method: 'POST', url: '/v1/reload' })).json();
  t.strictSame(await reload(), { changed: ['VNI 100: ageing'], needsRestart: ['--port'], hasFile: true });
  configuration.reloadFailure = new ConfigError('vtepd.yaml:7: mtu 12: must be …');
  t.match(await reload(), { status: 409, code: 'config_invalid', detail: 'vtepd.yaml:7: mtu 12: must be …' });
});
