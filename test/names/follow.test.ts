/** NameFollower with a fake name server and a fake clock. */
import { setImmediate as turn } from 'node:timers/promises';
import t from 'tap';
import { CHECK_MS, NameFollower, type NameState } from '../../src/names/follow.js';
import type { NameSource } from '../../src/names/lookup.js';

const NAME = 'vtep.example';
const SECOND = 1000;
const MINUTE = 60 * SECOND;
const EPOCH_MS = Date.UTC(2026, 0, 1);

/** Addresses and their TTL (undefined: not from DNS), or the error code of a failing lookup. */
type Zone = Map<string, { addresses: string[]; ttl?: number; broken?: 4 | 6 } | string>;

function makeFollower({ random = 0 } = {}) {
  const zone: Zone = new Map();
  const queries: [string, number][] = [];
  const reported: NameState[] = [];
  let nowMs = 5_000_000;
  let held: Promise<void> | undefined;
  let underWay = 0;
  let most = 0;
  const failing = (code: string) => Promise.reject(Object.assign(new Error(code), { code }));
  const source: NameSource = {
    addresses: async (name) => {
      queries.push([name, nowMs - 5_000_000]);
      most = Math.max(most, ++underWay);
      await (held ?? turn());
      underWay--;
      const entry = zone.get(name) ?? 'ENOTFOUND';
      return typeof entry === 'string' ? failing(entry) : entry.addresses;
    },
    records: (name, family) => {
      const entry = zone.get(name);
      if (entry === undefined || typeof entry === 'string') return failing('ETIMEOUT');
      if (entry.broken === family) return failing('ESERVFAIL');
      const { addresses, ttl } = entry;
      const sameFamily = addresses.filter((text) => text.includes(':') === (family === 6));
      if (ttl === undefined || sameFamily.length === 0) return failing('ENODATA');
      return Promise.resolve(sameFamily.map((address) => ({ address, ttl })));
    },
  };
  const follower = new NameFollower({
    source,
    random: () => random,
    nowMs: () => nowMs,
    epochMs: () => EPOCH_MS + nowMs - 5_000_000,
    resolved: (state) => reported.push(state),
  });
  /** Advances the clock; lookups that start complete at once. */
  const pass = async (ms: number) => {
    for (const endMs = nowMs + ms; nowMs < endMs; ) {
      nowMs += CHECK_MS;
      follower.check();
      for (let i = 0; i < 6; i++) await turn();
    }
  };
  /**
   * Blocks lookups from now on.
   *
   * @returns function that unblocks the lookups
   */
  const hold = () => {
    let release = () => {};
    held = new Promise((resolve) => (release = resolve));
    return () => {
      held = undefined;
      release();
    };
  };
  const texts = (name = NAME) => follower.addresses(name).map(({ text }) => text);
  const times = () => queries.map(([, ms]) => ms / SECOND);
  return { follower, zone, queries, reported, pass, hold, texts, times, most: () => most };
}

t.test('retries a name that does not resolve, with exponential back-off', async (t) => {
  const { follower, zone, reported, pass, texts, times } = makeFollower();
  const state = await follower.follow(NAME);
  t.match(state, { addresses: [], failures: 1, lastSuccessMs: 0, error: /no such name/ });
  await pass(20 * MINUTE);
  t.same(times(), [0, 5, 15, 35, 75, 155, 315, 615, 915]);
  t.equal(reported.length, 9);
  zone.set(NAME, { addresses: ['192.0.2.1'], ttl: 300 });
  await pass(5 * MINUTE);
  t.same(texts(), ['192.0.2.1']);
  t.match(follower.states(), [
    { name: NAME, failures: 9, error: '', lastSuccessMs: EPOCH_MS + 1215 * SECOND },
  ]);
});

t.test('repeats a lookup after the TTL, within bounds', async (t) => {
  const rows: [number | undefined, number, number][] = [
    [30, 300, 30],
    [0, 60, 5],
    [604_800, 7205, 3600],
    [undefined, 300, 60],
  ];
  for (const [ttl, seconds, period] of rows) {
    const { follower, zone, pass, times } = makeFollower();
    zone.set(NAME, { addresses: ['192.0.2.1'], ...(ttl !== undefined && { ttl }) });
    await follower.follow(NAME);
    await pass(seconds * SECOND);
    const expected = Array.from({ length: Math.floor(seconds / period) + 1 }, (_, i) => i * period);
    t.same(times(), expected, `TTL ${ttl}`);
  }
});

t.test('adds a random delay to a lookup', async (t) => {
  const { follower, zone, pass, times } = makeFollower({ random: 1 });
  zone.set(NAME, { addresses: ['192.0.2.1'], ttl: 100 });
  await follower.follow(NAME);
  await pass(221 * SECOND);
  t.same(times(), [0, 110, 220]);
});

t.test('reports added and removed addresses', async (t) => {
  const { follower, zone, reported, pass, texts } = makeFollower();
  zone.set(NAME, { addresses: ['192.0.2.1', '192.0.2.2'], ttl: 5 });
  t.match((await follower.follow(NAME)).addresses, [{ text: '192.0.2.1' }, { text: '192.0.2.2' }]);
  zone.set(NAME, { addresses: ['192.0.2.3', '192.0.2.2'], ttl: 5 });
  await pass(5 * SECOND);
  t.same(texts(), ['192.0.2.3', '192.0.2.2'], 'in the order of the resolver');
  t.equal(reported.length, 2);
});

t.test('a failed lookup keeps the last addresses and is retried with back-off', async (t) => {
  const { follower, zone, pass, texts, times } = makeFollower();
  zone.set(NAME, { addresses: ['192.0.2.1'], ttl: 60 });
  await follower.follow(NAME);
  for (const code of ['EAI_AGAIN', 'ENOTFOUND']) {
    zone.set(NAME, code);
    await pass(2 * MINUTE);
    t.same(texts(), ['192.0.2.1'], code);
    t.match(follower.states(), [{ error: /cannot resolve/, lastSuccessMs: EPOCH_MS }], code);
  }
  t.same(times(), [0, 60, 65, 75, 95, 135, 215]);
});

t.test('keeps the addresses of a family whose lookup failed', async (t) => {
  const { follower, zone, pass, texts } = makeFollower();
  zone.set(NAME, { addresses: ['192.0.2.1', '2001:db8::1'], ttl: 5 });
  await follower.follow(NAME);
  zone.set(NAME, { addresses: ['192.0.2.2'], ttl: 5, broken: 6 });
  await pass(6 * SECOND);
  t.same(texts(), ['192.0.2.2', '2001:db8::1']);
  zone.set(NAME, { addresses: ['192.0.2.2'], ttl: 5 });
  await pass(6 * SECOND);
  t.same(texts(), ['192.0.2.2'], 'addresses are removed when DNS answers that there are none');
});

t.test('silence causes an early lookup, at most every ten seconds', async (t) => {
  const { follower, zone, pass, times } = makeFollower();
  zone.set(NAME, { addresses: ['192.0.2.1'], ttl: 600 });
  await follower.follow(NAME);
  await pass(30 * SECOND);
  for (let i = 0; i < 20; i++) {
    follower.hasten(NAME);
    await pass(SECOND);
  }
  t.same(times(), [0, 31, 41]);
  follower.hasten('unknown.example');
});

t.test(
  'looks up a name once for concurrent requests, and does not repeat it for a forgotten name',
  async (t) => {
    const { follower, zone, queries, reported, pass, texts, hold } = makeFollower();
    zone.set(NAME, { addresses: ['192.0.2.1'], ttl: 5 });
    const release = hold();
    const both = Promise.all([
      follower.follow(NAME),
      follower.follow(NAME),
      follower.follow('forgotten.example'),
    ]);
    follower.retain(new Set([NAME]));
    release();
    t.match(
      await both,
      [{ failures: 0 }, { failures: 0 }, { addresses: [] }],
      'all waiting requests are answered',
    );
    t.same(texts(), ['192.0.2.1']);
    t.same(
      reported.map(({ name }) => name),
      [NAME],
    );
    follower.retain(new Set());
    await pass(MINUTE);
    t.equal(queries.length, 2);
    t.same(texts(), []);
  },
);

t.test('looks up at most two names at the same time, and each name in turn', async (t) => {
  const { follower, zone, queries, pass, most } = makeFollower();
  const names = Array.from({ length: 20 }, (_, i) => `vtep${i}.example`);
  for (const name of names.slice(10)) zone.set(name, { addresses: ['192.0.2.1'], ttl: 5 });
  const states = await Promise.all(names.map((name) => follower.follow(name)));
  t.same(
    states.map(({ addresses }) => addresses.length),
    names.map((_, i) => (i < 10 ? 0 : 1)),
  );
  t.equal(most(), 2);
  t.equal(queries.length, 20);
  await pass(30 * SECOND);
  t.equal(new Set(queries.slice(20).map(([name]) => name)).size, 20);
});
