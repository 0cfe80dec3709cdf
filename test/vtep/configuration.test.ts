/**
 * Tests that changes are serialised and undone. A fake data plane records the calls that it gets.
 */
import t from 'tap';
import { parseConfig } from '../../src/config/file.js';
import { mergeSettings } from '../../src/config/merge.js';
import { NO_STATE, type State } from '../../src/config/state.js';
import type { Handle } from '../../src/controller/handle.js';
import { DataPlaneError, type DataPlaneErrorCode } from '../../src/exchange/data-plane.js';
import { Events } from '../../src/exchange/events.js';
import type { MacParts, VniPolicy } from '../../src/exchange/protocol.js';
import { silentLogger } from '../../src/log/log.js';
import { LiveConfiguration, type StateStore } from '../../src/vtep/configuration.js';
import type { Overlay } from '../../src/vtep/overlay.js';
import { formatMac } from '../../src/wire/mac.js';

const settings = (text: string) => mergeSettings([parseConfig(text, 'v.yaml')], false);
const MAC = { high: 0x0200, low: 1 };
/** Peers of every VNI: address and name. */
const PEERS = [
  ['192.0.2.1', 'far.example'],
  ['192.0.2.2', 'far.example'],
  ['192.0.2.3', ''],
];

/** @param given `reread`: content of the file that a reload reads; '' if there is no file */
function make(text: string, given: { reread?: string; store?: StateStore; makeMac?: () => string } = {}) {
  const done: string[] = [];
  let down = false;
  let dies = false;
  let failure: DataPlaneError | undefined;
  const work = async (what: string) => {
    const error = failure;
    failure = undefined;
    if (error) throw error;
    if (down) throw new DataPlaneError('dataplane_down', 'the data plane is being restarted');
    done.push(what);
  };
  const overlay = {
    setPolicy: (_vni: number, policy: Partial<VniPolicy>) => work(JSON.stringify(policy)),
    followed: async () => {},
    changeMtu: async ({ mtu }: { mtu: unknown }) => {
      down ||= dies;
      dies = false;
      await work(`mtu ${mtu}`);
    },
  };
  const handle = {
    peers: () => PEERS.map(([text, name]) => ({ address: { text }, name })),
    revived: async () => {
      down = false;
    },
    putFdb: (_vni: number, { low }: MacParts, peer: string) => work(`put ${low} ${peer}`),
    deleteFdb: (_vni: number, { low }: MacParts) => work(`delete ${low}`),
    flushFdb: () => work('flush').then(() => 1),
    reconcileFdb: async (vni: number, macs: readonly MacParts[]) => {
      for (const { high, low } of macs)
        done.push(`reconcile ${low} ${configuration.entries(vni).get(formatMac(high, low)) ?? 'none'}`);
    },
  };
  const { reread = text, store, makeMac } = given;
  const configuration = new LiveConfiguration({
    base: settings(text),
    state: NO_STATE,
    store,
    ...(makeMac && { makeMac }),
    reread: reread === '' ? undefined : () => settings(reread),
    events: new Events(),
    log: silentLogger(),
    changed: () => {},
  });
  configuration.attach(handle as unknown as Handle, overlay as unknown as Overlay);
  const die = () => {
    dies = true;
  };
  /** Sets the error of the next FDB change. */
  const fail = (code: DataPlaneErrorCode) => {
    failure = new DataPlaneError(code, 'error of the test');
  };
  return { configuration, done, die, fail };
}

t.test('if the port in the file changes, peers keep the old port until the next start', async (t) => {
  const vni = 'vnis: [{vni: 1, peers: [192.0.2.1, "192.0.2.2,port=8472"]}]';
  const { configuration, done } = make(vni, { reread: `port: 4790\n${vni}` });
  t.strictSame(await configuration.reload(), { changed: [], needsRestart: ['--port'], hasFile: true });
  t.same(
    configuration.vni(1).peers.map(({ port }) => port),
    [4789, 8472],
  );
  t.same(done, []);
});

t.test('a precondition is evaluated after an earlier reload', async (t) => {
  const { configuration } = make('vnis: [{vni: 1, ageing: 10}]', { reread: 'vnis: [{vni: 1, ageing: 20}]' });
  const before = configuration.changeVni(1, { flood: false });
  const reload = configuration.reload();
  const seen: number[] = [];
  const precondition = () => {
    seen.push(configuration.vni(1).ageingS);
    throw new Error('it has changed');
  };
  const calls = [
    configuration.changeVni(1, { fdbLimit: 5 }, precondition),
    configuration.removeVni(1, precondition),
    configuration.removePeer(1, '192.0.2.1', precondition),
  ];
  await Promise.all(calls.map((call) => t.rejects(call, { message: 'it has changed' })));
  await Promise.all([before, reload]);
  t.same(seen, [20, 20, 20]);
  t.match(configuration.vni(1), { ageingS: 20, fdbLimit: 65536, flood: false });
});

t.test('a change during which a worker dies is undone after the worker is replaced', async (t) => {
  const { configuration, done, die } = make('vnis: [{vni: 1, ageing: 10, mtu: 1400}]');
  die();
  await t.rejects(configuration.changeVni(1, { ageingS: 20, mtu: 1300 }), { code: 'dataplane_down' });
  t.same(done, ['{"ageingS":20}', 'mtu 1400', '{"ageingS":10}']);
  t.match(configuration.vni(1), { ageingS: 10, mtu: 1400 });
});

t.test('static entries are restored when their removal cannot be stored', async (t) => {
  let refuse = false;
  const store: StateStore = {
    prepare: async () => ({
      commit: async () => {
        if (refuse) throw new Error('no room');
      },
      discard: async () => {},
    }),
  };
  const { configuration, done } = make('vnis: [{vni: 1}]', { store });
  await configuration.putFdb(1, MAC, '192.0.2.1');
  refuse = true;
  await t.rejects(configuration.deleteFdb(1, MAC), { message: 'no room' });
  await t.rejects(configuration.flushFdb(1, { type: 'all', peer: '' }), { message: 'no room' });
  t.same(done, ['put 1 192.0.2.1', 'delete 1', 'reconcile 1 192.0.2.1', 'flush', 'reconcile 1 192.0.2.1']);
  t.same([...configuration.entries(1)], [['02:00:00:00:00:01', '192.0.2.1']]);
});

t.test('static entries are reconciled after an unanswered change, not after a refused change', async (t) => {
  const { configuration, done, fail } = make('vnis: [{vni: 1}]');
  const other = { high: 0x0200, low: 2 };
  await configuration.putFdb(1, MAC, '192.0.2.1');
  done.length = 0;
  for (const code of ['dataplane_timeout', 'dataplane_down'] as const) {
    fail(code);
    await t.rejects(configuration.putFdb(1, other, '192.0.2.1'), { code });
    fail(code);
    await t.rejects(configuration.putFdb(1, MAC, '192.0.2.2'), { code });
    fail(code);
    await t.rejects(configuration.deleteFdb(1, MAC), { code });
    fail(code);
    await t.rejects(configuration.flushFdb(1, { type: 'all', peer: '' }), { code });
    const one = 'reconcile 1 192.0.2.1';
    t.same(done.splice(0), ['reconcile 2 none', one, one, one]);
  }
  for (const code of ['peer_not_found', 'fdb_entry_not_found'] as const) {
    fail(code);
    await t.rejects(configuration.putFdb(1, other, '192.0.2.9'), { code });
    fail(code);
    await t.rejects(configuration.deleteFdb(1, MAC), { code });
  }
  t.same(done, [], 'the entries are not reconciled after a refused change');
});

t.test('a flush of a name removes the static entries of all its addresses', async (t) => {
  const { configuration } = make('vnis: [{vni: 1}]');
  for (const [i, [text]] of PEERS.entries()) await configuration.putFdb(1, { high: 0x0200, low: i }, text);
  await configuration.flushFdb(1, { type: 'static', peer: 'far.example' });
  t.same([...configuration.entries(1).values()], ['192.0.2.3']);
});

t.test('fdbLimit limits the number of static entries', async (t) => {
  const { configuration, done } = make('vnis: [{vni: 1, fdbLimit: 2}, {vni: 2}]');
  const put = (low: number, vni = 1) => configuration.putFdb(vni, { high: 0x0200, low }, '192.0.2.1');
  await put(1);
  await put(2);
  await t.rejects(put(3), {
    code: 'fdb_full',
    message:
      '02:00:00:00:00:03: VNI 1 has 2 static entries and its fdbLimit is 2: raise fdbLimit or remove a static entry',
  });
  await put(2);
  await put(3, 2);
  t.same(done.splice(0), ['put 1 192.0.2.1', 'put 2 192.0.2.1', 'put 2 192.0.2.1', 'put 3 192.0.2.1']);
  await configuration.changeVni(1, { fdbLimit: 1 });
  t.equal(configuration.entries(1).size, 2, 'existing entries stay when the limit is lowered');
  await configuration.deleteFdb(1, { high: 0x0200, low: 1 });
  await t.rejects(put(3), { code: 'fdb_full' });
  await configuration.changeVni(1, { fdbLimit: 2 });
  await put(3);
});

t.test('a reload without a file reads nothing and reports that there is no file', async (t) => {
  const { configuration } = make('vnis: [{vni: 1}]', { reread: '' });
  t.strictSame(await configuration.reload(), { changed: [], needsRestart: [], hasFile: false });
});

t.test('MACs of TAPs are stored before they are used, and with a store only', async (t) => {
  const stored: State[] = [];
  const store: StateStore = {
    prepare: async (state) => ({ commit: async () => void stored.push(state), discard: async () => {} }),
  };
  const makeMac = () => 'fe:00:00:00:00:01';
  const kept = make('vnis: [{vni: 1}, {vni: 2, mac: "02:00:00:00:00:01"}]', { store, makeMac });
  await kept.configuration.keepMacs();
  t.equal(stored.length, 1);
  t.same([...stored[0].vnis.keys()], [1]);
  t.same(kept.configuration.keptMac(1), { high: 0xfe00, low: 1 });
  t.equal(kept.configuration.keptMac(2), undefined);
  await kept.configuration.keepMacs();
  t.equal(stored.length, 1, 'nothing to store');
  await kept.configuration.changeVni(1, { mtu: 1300 });
  t.match(stored.at(-1)?.vnis.get(1), { changed: { mtu: 1300 }, mac: 'fe:00:00:00:00:01' });

  const none = make('vnis: [{vni: 1}]', { makeMac });
  await none.configuration.keepMacs();
  t.equal(none.configuration.keptMac(1), undefined, 'without a state file, the MAC is derived');

  const full = make('vnis: [{vni: 1}]', {
    store: { prepare: async () => Promise.reject(new Error('full')) },
    makeMac,
  });
  await t.rejects(full.configuration.keepMacs(), { message: 'full' });
  t.same(full.configuration.keptMac(1), { high: 0xfe00, low: 1 }, 'used all the same');
});
