/**
 * Random states and texts: a written state is read back unchanged.
 *
 * Other text is refused with file and line, or is itself a valid state.
 */

import assert from 'node:assert/strict';
import { readFileSync, writeFileSync } from 'node:fs';
import fc from 'fast-check';
import t from 'tap';
import { ConfigError } from '../../src/config/config-error.js';
import type { State, VniDeviation } from '../../src/config/state.js';
import { load } from '../../src/config/state-file.js';
import { FORMAT, readState, writeState } from '../../src/config/text.js';
import { holds, words } from '../support/properties.js';

const RUNS = 200;

const hosts = fc.constantFrom('192.0.2.1', '2001:db8::1', 'far.example', 'fe80::1%eth0', 'constructor');
const addresses = fc.constantFrom('192.0.2.1', '2001:db8::1', 'fe80::1%eth0');
const macs = fc
  .nat(0xffff)
  .map(
    (n) => `02:00:00:00:${(n >> 8).toString(16).padStart(2, '0')}:${(n & 255).toString(16).padStart(2, '0')}`,
  );
const own = {
  tap: fc.constantFrom('vtep1', 'a', 'ü', '__proto__'),
  bridge: fc.constantFrom('', 'br0', 'constructor'),
  addresses: fc.uniqueArray(fc.constantFrom('10.0.0.1/24', '2001:db8::1/64'), { maxLength: 2 }),
  mac: fc.constantFrom('', '02:00:00:00:00:01'),
  mtu: fc.oneof(fc.constant<'auto'>('auto'), fc.integer({ min: 68, max: 65535 })),
  learning: fc.boolean(),
  ageingS: fc.nat(1_000_000),
  fdbLimit: fc.integer({ min: 1, max: 1 << 24 }),
  flood: fc.boolean(),
  accept: fc.constantFrom<('peers' | 'any')[]>('peers', 'any'),
  vlan: fc.constantFrom<('pass' | 'strip' | 'drop')[]>('pass', 'strip', 'drop'),
};
const madeMacs = fc.constantFrom('fe:00:00:00:00:01', 'fe:00:00:00:00:02');
const peers = fc
  .uniqueArray(
    fc.tuple(hosts, fc.option(fc.record({ port: fc.integer({ min: 1, max: 65535 }), flood: fc.boolean() }))),
    {
      selector: ([host]) => host,
    },
  )
  .map((list) => new Map(list.map(([host, peer]) => [host, peer && { host, ...peer }])));
/** The API changes no MAC. */
const { mac: _, ...changeable } = own;
const deviations = fc.record({
  created: fc.option(fc.record(own, { noNullPrototype: true }), { nil: undefined }),
  removed: fc.boolean(),
  changed: fc.record(changeable, { requiredKeys: [], noNullPrototype: true }),
  peers,
  fdb: fc.uniqueArray(fc.tuple(macs, addresses), { selector: ([mac]) => mac }).map((list) => new Map(list)),
  mac: fc.option(madeMacs, { nil: undefined }),
});
const states: fc.Arbitrary<State> = fc
  .uniqueArray(fc.tuple(fc.nat(0xffffff), deviations), { selector: ([vni]) => vni, maxLength: 4 })
  .map((list) => ({ vnis: new Map(list.map(([vni, deviation]) => [vni, withoutUndefined(deviation)])) }));

function withoutUndefined({
  mac,
  ...deviation
}: Omit<VniDeviation, 'mac'> & { mac: string | undefined }): VniDeviation {
  return mac === undefined ? deviation : { ...deviation, mac };
}

/** Returns the state, or undefined for a ConfigError that names file and line. */
function readOr(text: string): State | undefined {
  try {
    return readState(text, 'st.json');
  } catch (error) {
    if (error instanceof ConfigError && /^st\.json:\d+: ./.test(error.message)) return undefined;
    throw error;
  }
}

/** Returns deviations sorted by VNI, because JSON objects have integer keys in ascending order. */
const sorted = ({ vnis }: State) => [...vnis].sort(([a], [b]) => a - b).map(([vni, of]) => [vni, { ...of }]);

t.test('a written state is read back unchanged', async () => {
  await holds(RUNS, [states], (state) => {
    assert.deepEqual(sorted(readState(writeState(state), 'st.json')), sorted(state));
  });
});

t.test('truncated or altered text is refused or is a complete state', async () => {
  await holds(RUNS, [states, fc.nat(), fc.nat(), fc.string({ maxLength: 2 })], (state, at, cut, other) => {
    const text = writeState(state);
    readOr(text.slice(0, cut % text.length));
    const place = at % text.length;
    const read = readOr(text.slice(0, place) + other + text.slice(place + 1));
    if (read !== undefined) readState(writeState(read), 'st.json');
  });
});

t.test('text truncated before its last brace is refused', async () => {
  await holds(RUNS, [states, fc.nat()], (state, cut) => {
    const text = writeState(state).trimEnd();
    assert.equal(readOr(text.slice(0, cut % text.length)), undefined);
  });
});

t.test('random JSON values at any depth give a state or a ConfigError', async () => {
  const name = words(
    'created',
    'changed',
    'removed',
    'peers',
    'fdb',
    '100',
    '192.0.2.1',
    '02:00:00:00:00:01',
    'mtu',
    'port',
  );
  const values = fc.letrec<{ value: unknown }>((tie) => ({
    value: fc.oneof(
      { maxDepth: 5 },
      fc.constantFrom<unknown[]>(null, true, 'auto', 1400, '192.0.2.1', [], {}, 'x', -1),
      fc.array(tie('value'), { maxLength: 2 }),
      fc.array(fc.tuple(name, tie('value')), { maxLength: 3 }).map((list) => Object.fromEntries(list)),
    ),
  })).value;
  const files = fc.oneof(
    fc.json(),
    fc
      .record({ format: fc.oneof(fc.constant<unknown>(FORMAT), values), vnis: values }, { requiredKeys: [] })
      .map((v) => JSON.stringify(v)),
  );
  await holds(RUNS * 2, [files], (text) => {
    readOr(text);
  });
});

t.test('a refused file is not modified', async (t) => {
  const path = `${t.testdir()}/state.json`;
  await holds(RUNS / 10, [fc.oneof(fc.json(), fc.string())], async (text) => {
    writeFileSync(path, text);
    const error = await load(path).then(
      () => undefined,
      (error: unknown) => error,
    );
    if (error !== undefined)
      assert.match(
        (error as Error).message,
        /^--state .*repair the file or move it away; vtepd did not change it$/,
      );
    assert.equal(readFileSync(path, 'utf8'), Buffer.from(text).toString());
  });
});
