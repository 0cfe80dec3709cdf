/** Property tests: the API answers any request with 2xx, or with a problem of status 4xx or 503. */
import assert from 'node:assert/strict';
import fc from 'fast-check';
import type { InjectOptions } from 'fastify';
import t from 'tap';
import { controlOverPlainDataPlane } from '../support/control.js';
import { holds, words } from '../support/properties.js';

const RUNS = 900;

const texts = words(
  ...[
    '100',
    '7',
    '16777215',
    '192.0.2.11',
    'far.example',
    'fe80::1%eth0',
    '02:00:00:00:00:aa',
    'auto',
    'on',
    '4789',
  ],
  ...['%2e%2e', '../status', '10.0.0.1/24', 'vtep7', 'static', '%00', '%c3%28', 'a'.repeat(300)],
);
const keys = fc.oneof(
  fc.constantFrom(
    'vni',
    'peers',
    'address',
    'port',
    'flood',
    'mac',
    'mtu',
    'tap',
    'bridge',
    'ageing',
    'fdbLimit',
    'vlan',
  ),
  fc.constantFrom(
    'peer',
    'type',
    'limit',
    'cursor',
    'dryRun',
    'learning',
    'accept',
    '__proto__',
    'constructor',
    'toString',
  ),
  fc.string({ maxLength: 5 }),
);
/** JSON as text, so that an object can have the key __proto__. */
const { value: json } = fc.letrec<{ value: string }>((tie) => ({
  value: fc.oneof(
    { maxDepth: 3 },
    fc
      .oneof(texts, fc.integer(), fc.double(), fc.boolean(), fc.constant(null))
      .map((value) => JSON.stringify(value)),
    fc.array(tie('value'), { maxLength: 3 }).map((items) => `[${items.join()}]`),
    fc
      .array(fc.tuple(keys, tie('value')), { maxLength: 5 })
      .map((of) => `{${of.map(([key, value]) => `${JSON.stringify(key)}:${value}`).join()}}`),
  ),
}));
const body = fc.oneof(
  {
    weight: 5,
    arbitrary: fc
      .array(fc.tuple(keys, json), { maxLength: 4 })
      .map((of) => `{${of.map(([key, value]) => `${JSON.stringify(key)}:${value}`).join()}}`),
  },
  { weight: 2, arbitrary: json },
  { weight: 1, arbitrary: fc.string() },
);

/** Captures and events are excluded: their streams do not end. */
const paths = fc
  .tuple(
    fc.constantFrom(
      ...[
        '/v1/vnis',
        '/v1/vnis/A',
        '/v1/vnis/100',
        '/v1/vnis/A/peers',
        '/v1/vnis/100/peers',
        '/v1/vnis/100/peers/A',
      ],
      ...[
        '/v1/vnis/100/peers/A/probe',
        '/v1/vnis/100/fdb',
        '/v1/vnis/100/fdb/A',
        '/v1/vnis/A/fdb/A',
        '/v1/status',
      ],
      ...[
        '/v1/counters',
        '/v1/doctor',
        '/v1/reload',
        '/healthz',
        '/readyz',
        '/metrics',
        '/openapi.json',
        '/A',
      ],
    ),
    texts,
    fc.boolean(),
  )
  .map(([path, text, escaped]) => path.replaceAll('A', () => (escaped ? encodeURIComponent(text) : text)));
const queries = fc
  .array(fc.tuple(keys, texts), { maxLength: 2 })
  .map((list) =>
    list.length === 0 ? '' : `?${list.map((pair) => pair.map(encodeURIComponent).join('=')).join('&')}`,
  );
const headers = fc.record(
  {
    'content-type': fc.constantFrom(
      'application/json',
      'application/json',
      'text/plain',
      'application/merge-patch+json',
      '',
    ),
    'if-match': fc.oneof(
      fc.constantFrom('*', '"a"', 'W/"a"'),
      fc.string({ unit: 'grapheme-ascii', maxLength: 8 }),
    ),
    accept: fc.constantFrom('*/*', 'application/json', 'text/event-stream', 'x'),
  },
  { requiredKeys: [] },
);
const methods = fc.constantFrom<NonNullable<InjectOptions['method']>[]>(
  'GET',
  'POST',
  'PUT',
  'PATCH',
  'DELETE',
  'HEAD',
);

/**
 * False for a text with a lone surrogate: encodeURIComponent throws, and no request can contain it.
 */
const sound = (text: string) => !/\p{Surrogate}/u.test(text);

t.test('any request is answered with 2xx, or with a problem of status 4xx or 503', async (t) => {
  const { server } = await controlOverPlainDataPlane({ level: 'fatal' });
  t.teardown(() => server.close());
  const seen = new Set<number>();
  await holds(
    RUNS,
    [methods, paths.filter(sound), queries, headers, body],
    async (method, path, query, head, payload) => {
      const withBody = method !== 'GET' && method !== 'HEAD';
      const url = (path + query).replaceAll(/[\s#]/g, '_');
      const answer = await server.inject({
        method,
        url: /^[/\\]{2}/.test(url) ? '/' : url,
        headers: head,
        ...(withBody ? { payload } : {}),
      });
      seen.add(answer.statusCode);
      const { statusCode, body: text } = answer;
      if (statusCode >= 500 && statusCode !== 503) throw new Error(`${statusCode} ${text}`);
      if (statusCode < 400 || method === 'HEAD') return;
      const problem = JSON.parse(text);
      if (
        problem.status !== statusCode ||
        typeof problem.code !== 'string' ||
        typeof problem.detail !== 'string'
      )
        throw new Error(`the body is not a problem: ${statusCode} ${text}`);
    },
  );
  for (const status of [200, 400, 404, 405])
    t.ok(seen.has(status), `some request is answered with ${status}`);
  t.equal(({} as { port?: unknown }).port, undefined, 'prototypes are unchanged');
});

t.test('a body with prototype keys is refused and changes nothing', async (t) => {
  const { server } = await controlOverPlainDataPlane({ level: 'fatal' });
  t.teardown(() => server.close());
  await holds(
    RUNS / 10,
    [fc.constantFrom('__proto__', 'constructor', 'prototype'), json],
    async (key, value) => {
      for (const payload of [
        `{"address":"192.0.2.99",${JSON.stringify(key)}:${value}}`,
        `{"vni":7,"peers":[{"${key}":${value}}]}`,
      ]) {
        const url = payload.startsWith('{"vni"') ? '/v1/vnis' : '/v1/vnis/100/peers';
        const { statusCode } = await server.inject({
          method: 'POST',
          url,
          payload,
          headers: { 'content-type': 'application/json' },
        });
        assert.equal(statusCode, 400);
      }
    },
  );
});
