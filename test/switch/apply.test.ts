import t from 'tap';
import {
  P_FDB_DYNAMIC,
  P_RX_FRAMES,
  P_TX_FRAMES,
  V_EVICTED,
  V_FDB_DYNAMIC,
  V_FDB_STATIC,
  V_TAP_RX_FRAMES,
} from '../../src/exchange/counters.js';
import { itemsOf } from '../../src/exchange/fdb-page.js';
import {
  type Answer,
  PATH_HELD,
  packPeers,
  type TunnelInit,
  type VniPolicy,
} from '../../src/exchange/protocol.js';
import { Applier } from '../../src/switch/apply.js';
import type { Filter } from '../../src/switch/jobs.js';
import { arpFrame, BROADCAST, macNumber, macParts } from '../support/frames.js';
import { LEARNED_ROWS, MemoryPlane, PendingUnderlay, POLICY } from '../support/memory-plane.js';

const ANY = { type: 'all', peers: undefined } as const;

function makePlane(entries: number): { plane: MemoryPlane; one: number; two: number } {
  const plane = new MemoryPlane();
  plane.addVni(0, 100, { fdbLimit: 1 << 20 });
  plane.addVni(1, 200);
  const one = plane.addPeer(0, '192.0.2.1');
  const two = plane.addPeer(0, '192.0.2.2');
  plane.addPeer(1, '192.0.2.1');
  for (let i = 0; i < entries; i++) {
    const { high, low } = macParts(macNumber(i));
    plane.tables.fdb.learn(0, high, low, i % 2 === 0 ? one : two, plane.tick);
  }
  return { plane, one, two };
}

function pageOf({ page, nextCursor }: Answer) {
  return { items: [...itemsOf(page!)], nextCursor };
}

t.test('deleting a missing entry is refused', async (t) => {
  const { plane } = makePlane(0);
  t.throws(() => plane.apply({ op: 'fdb.del', vniIdx: 0, mac: { high: 2, low: 1 } }), {
    code: 'fdb_entry_not_found',
  });
  t.equal(plane.applier.busy, false, 'a refusal starts no job');
});

t.test('a policy change sets the overlay MTU', async (t) => {
  const { plane } = makePlane(0);
  t.same(plane.apply({ op: 'vni.set', vniIdx: 1, policy: { ...POLICY, overlayMtu: 1350 } }), {});
  t.same([plane.tables.vnis.overlayMtu[0], plane.tables.vnis.overlayMtu[1]], [1450, 1350]);
});

t.test('a job that walks the FDB does one piece per round, and the applier is busy meanwhile', async (t) => {
  const { plane, one } = makePlane(50_000);
  let answer = plane.applier.apply(
    { op: 'fdb.flush', vniIdx: 0, type: 'dynamic', peers: new Set([one]) },
    plane.tick,
  );
  let rounds = 1;
  for (; !answer; rounds++) {
    t.equal(plane.applier.busy, true);
    answer = plane.applier.step(plane.tick);
  }
  t.ok(rounds >= 4, `${rounds} rounds for ${plane.tables.fdb.table.capacity} slots`);
  t.equal(plane.applier.busy, false);
  t.same(answer, { removed: 25_000 });
  t.equal(plane.vniCell(0, V_FDB_DYNAMIC), 25_000);
});

t.test('removing a peer removes all its entries, including those learned meanwhile', async (t) => {
  const { plane, one, two } = makePlane(50_000);
  plane.tables.fdb.putStatic(0, 0x0300, 1, one);
  let answer = plane.applier.apply({ op: 'peer.del', peerIdx: one }, plane.tick);
  let rounds = 0;
  for (; !answer; rounds++) {
    // Frames continue to arrive, from the other peer and from the peer that is being removed.
    plane.fromPeer('192.0.2.1', 100, arpFrame(BROADCAST, macNumber(90_000 + rounds)));
    plane.fromPeer('192.0.2.2', 100, arpFrame(BROADCAST, macNumber(100_000 + rounds)));
    plane.breathe();
    plane.checkIdentity(t, `round ${rounds}`);
    answer = plane.applier.step(plane.tick);
  }
  const { fdb } = plane.tables;
  fdb.table.moveSome(1 << 20);
  let left = 0;
  for (let position = 0; position < fdb.table.capacity; position++)
    if (fdb.table.value(position) !== 0 && fdb.peerAt(position) === one) left++;
  t.equal(left, 0);
  t.equal(plane.vniCell(0, V_FDB_STATIC), 0);
  t.same(plane.tables.members.rows(0), [plane.tables.vnis.otherIdx[0], two]);
  t.same(plane.tables.flood.rows(0), [two]);
  t.equal(plane.drops(0, 'decap').source_not_peer, rounds);
});

t.test('removing a peer is idempotent', async (t) => {
  const { plane, one } = makePlane(10);
  plane.removePeer(one);
  plane.removePeer(one);
  t.equal(plane.vniCell(0, V_FDB_DYNAMIC), 5);
});

t.test('a listing filters by type and peer, and terminates for any cursor', async (t) => {
  const { plane, one } = makePlane(200);
  plane.tables.fdb.putStatic(0, 0x0300, 1, one);
  const list = (filter: Pick<Filter, 'type' | 'peers'>, cursor = 0, limit = 1000) =>
    pageOf(plane.apply({ op: 'fdb.list', vniIdx: 0, ...filter, limit, cursor }));
  t.equal(list(ANY).items.length, 201);
  t.equal(list({ type: 'static', peers: undefined }).items.length, 1);
  t.equal(list({ type: 'dynamic', peers: new Set([one]) }).items.length, 100);
  t.equal(pageOf(plane.apply({ op: 'fdb.list', vniIdx: 1, ...ANY, limit: 10, cursor: 0 })).items.length, 0);
  for (const cursor of [2 ** 32 - 1, 2 ** 32, 2 ** 40, Number.POSITIVE_INFINITY])
    t.equal(list(ANY, cursor).nextCursor, -1, `cursor ${cursor}`);
  for (const cursor of [-1, -(2 ** 40), 0.5, Number.NaN])
    t.ok(list(ANY, cursor).items.length <= 201, `cursor ${cursor}`);
});

t.test('ages are reported in milliseconds', async (t) => {
  const { plane } = makePlane(1);
  plane.pass(2500);
  const [item] = pageOf(plane.apply({ op: 'fdb.list', vniIdx: 0, ...ANY, limit: 10, cursor: 0 })).items;
  t.equal(item.ageMs, 2500);
  t.match(item.address, { family: 4, port: 4789 });
});

t.test('a counter row of a new generation starts at zero; the same generation continues', async (t) => {
  const { plane, one } = makePlane(0);
  plane.fromPeer('192.0.2.1', 100, arpFrame(BROADCAST, macNumber(1)));
  plane.breathe();
  const row = plane.memory.counters.peerBase(one);
  const generation = plane.memory.counters.cells[row];
  const again = { family: 4 as const, bytes: new Uint8Array(16).fill(1, 0, 4), port: 4789, scopeId: 0 };
  const add = (next: number) =>
    new MemoryPlane({ memory: plane.memory }).apply({
      op: 'peer.add',
      vniIdx: 0,
      peerIdx: one,
      peers: packPeers([{ address: again, flood: true, pathMtu: 1500 }]),
      from: 0,
      count: 1,
      generation: next,
    });
  add(generation);
  t.equal(plane.memory.counters.cells[row + 3], 1, 'the row of the same generation continues after a crash');
  add(generation + 1);
  t.equal(plane.memory.counters.cells[row + 3], 0, 'the row starts at zero for another peer');
});

t.test('a peer whose route leads into the overlay is held, and keeps its path MTU', async (t) => {
  const { plane, one } = makePlane(0);
  const flags = () => new Int32Array(plane.memory.peers)[one * 8 + 7] & 8;
  const address = { family: 4 as const, bytes: new Uint8Array(16).fill(1, 0, 4), port: 4789, scopeId: 0 };
  const set = (pathMtu: number) =>
    plane.apply({
      op: 'peer.paths',
      peers: packPeers([{ address, flood: true, pathMtu }]),
      from: 0,
      count: 1,
      peerIdx: one,
    });
  set(1400);
  const carried = plane.tables.paths.carries(one);
  t.equal(flags(), 0);
  set(PATH_HELD);
  t.equal(flags(), 8);
  t.equal(plane.tables.paths.carries(one), carried);
  set(1400);
  t.equal(flags(), 0);
});

t.test('a new outer TAP is passed to the ports, and the peers reached through it are flagged', async (t) => {
  const { plane, one, two } = makePlane(0);
  const tunnels: TunnelInit[] = [];
  const applier = new Applier(plane.tables, {
    lowerPath: () => {},
    hold: () => {},
    beginForwarding: () => {},
    attachTap: () => {},
    detachVni: () => {},
    setTunnel: (tunnel) => tunnels.push(tunnel),
    setFlows: () => {},
    setOverlayDevices: () => {},
    setEvents: () => {},
    setCapture: () => {},
  });
  const ports = [49_152];
  const tunnel = { fd: 7, local: new Uint8Array(4), mtu: 1500, ttl: 64, df: false, udpChecksum: true, ports };
  const flags = (peerIdx: number) => new Int32Array(plane.memory.peers)[peerIdx * 8 + 7];
  t.same(applier.apply({ op: 'tunnel', tunnel, peers: Int32Array.of(two) }, plane.tick), {});
  t.same(tunnels, [tunnel]);
  t.same([flags(one) & 4, flags(two) & 4], [0, 4]);
  plane.removePeer(two);
  t.same(applier.apply({ op: 'tunnel', tunnel, peers: Int32Array.of(one, two) }, plane.tick), {});
  t.same([flags(one) & 4, flags(two)], [4, 0], 'a peer that was removed meanwhile is not marked');
});

/** Entries of the FDB with this VNI row. */
function entriesOf(plane: MemoryPlane, vniIdx: number): number {
  const { table } = plane.tables.fdb;
  table.moveSome(1 << 20);
  let count = 0;
  for (let position = 0; position < table.capacity; position++)
    if (table.value(position) !== 0 && table.tag(position) === vniIdx) count++;
  return count;
}

t.test('removing a VNI drops its frames at once and does not affect other VNIs', async (t) => {
  const { plane } = makePlane(50_000);
  const [other] = plane.tables.members.rows(1).slice(1);
  plane.tables.fdb.putStatic(0, 0x0300, 1, plane.tables.members.rows(0)[1]);
  let answer = plane.applier.apply({ op: 'vni.del', vniIdx: 0 }, plane.tick);
  let rounds = 0;
  for (; !answer; rounds++) {
    t.equal(plane.applier.busy, true);
    plane.fromPeer('192.0.2.1', 100, arpFrame(BROADCAST, macNumber(90_000 + rounds)));
    plane.fromPeer('192.0.2.1', 200, arpFrame(BROADCAST, macNumber(rounds)));
    plane.fromTap(1, arpFrame(macNumber(rounds), macNumber(500)));
    plane.breathe();
    plane.checkIdentity(t, `round ${rounds}`);
    answer = plane.applier.step(plane.tick);
  }
  t.ok(rounds > 4, `${rounds} rounds`);
  t.equal(plane.drops(-1, 'decap').vni_not_found, rounds);
  t.equal(
    plane.underlay.sent.length,
    rounds,
    'each frame from the TAP went to the peer behind its destination MAC',
  );
  t.ok(plane.underlay.sent.every(({ peerIdx }) => peerIdx === other));
  t.equal(entriesOf(plane, 0), 0);
  t.equal(entriesOf(plane, 1), rounds);
  t.same([plane.vniCell(0, V_FDB_DYNAMIC), plane.vniCell(0, V_FDB_STATIC)], [0, 0]);
  t.same([plane.tables.members.rows(0), plane.tables.flood.rows(0)], [[], []]);
  t.same(plane.apply({ op: 'vni.del', vniIdx: 0 }), {}, 'removal is idempotent');
});

t.test('the row of a removed VNI is used again without its old state', async (t) => {
  const { plane } = makePlane(100);
  plane.fromPeer('198.51.100.1', 100, arpFrame(BROADCAST, macNumber(1)));
  plane.breathe();
  plane.apply({ op: 'vni.del', vniIdx: 0 });
  plane.addVni(0, 300);
  t.equal(plane.tables.vnis.find(100), -1);
  const peer = plane.addPeer(0, '192.0.2.9');
  plane.fromPeer('192.0.2.1', 300, arpFrame(BROADCAST, macNumber(1)));
  plane.fromPeer('192.0.2.9', 300, arpFrame(BROADCAST, macNumber(2)));
  plane.breathe();
  t.same(plane.drops(0, 'decap'), { source_not_peer: 1 });
  t.equal(plane.vniCell(0, V_FDB_DYNAMIC), 1);
  t.equal(plane.peerCell(peer, P_RX_FRAMES), 1);
  plane.checkIdentity(t, 'the new VNI');
});

t.test('learned sources are removed with their VNI', async (t) => {
  const ROWS = LEARNED_ROWS - LEARNED_ROWS / 16;
  const plane = new MemoryPlane();
  for (let round = 0; round < 4; round++) {
    plane.addVni(0, 100, { accept: 'any' });
    // One VNI gets only this number of rows, so no row may remain from the previous round.
    for (let i = 0; i < ROWS; i++) plane.fromPeer(`198.51.100.${i}`, 100, arpFrame(BROADCAST, macNumber(i)));
    plane.breathe();
    t.equal(plane.tables.peers.learnedOf(0).length, ROWS, `round ${round}`);
    plane.apply({ op: 'vni.del', vniIdx: 0 });
    t.equal(plane.tables.peers.learnedOf(0).length, 0);
  }
});

t.test('a send that completes after its VNI was removed is not counted', async (t) => {
  const underlay = new PendingUnderlay();
  const plane = new MemoryPlane({ underlay });
  plane.addVni(0, 100);
  plane.addPeer(0, '192.0.2.1');
  plane.fromTap(0, arpFrame(BROADCAST, macNumber(1)));
  plane.breathe();
  plane.apply({ op: 'vni.del', vniIdx: 0 });
  plane.addVni(0, 200);
  const peer = plane.addPeer(0, '192.0.2.1');
  plane.fromTap(0, arpFrame(BROADCAST, macNumber(1)));
  plane.breathe();
  underlay.answer(10);
  plane.breathe();
  t.equal(plane.vniCell(0, V_TAP_RX_FRAMES), 1, 'only the frame of the new VNI is counted');
  t.equal(plane.peerCell(peer, P_TX_FRAMES), 1);
  plane.checkIdentity(t, 'after the completions');
});

t.test('a policy change applies from the next frame on', async (t) => {
  const { plane, one } = makePlane(0);
  const set = (policy: Partial<VniPolicy>) =>
    plane.apply({ op: 'vni.set', vniIdx: 0, policy: { ...POLICY, ...policy } });
  const receive = (n: number) => {
    plane.fromPeer('192.0.2.1', 100, arpFrame(BROADCAST, macNumber(n)));
    plane.breathe();
    return plane.vniCell(0, V_FDB_DYNAMIC);
  };
  t.equal(receive(1), 1);
  set({ learning: false });
  t.equal(receive(2), 1, 'no further MAC is learned, and learned entries stay');
  set({ ageingS: 10 });
  plane.pass(12_000);
  t.equal(plane.vniCell(0, V_FDB_DYNAMIC), 0);
  set({ flood: false });
  plane.fromTap(0, arpFrame(macNumber(77), macNumber(5)));
  plane.breathe();
  t.same(plane.drops(0, 'encap'), { flood_off: 1 });
  t.equal(plane.tables.peers.frameLimit[one], 100_000 - 36);
  set({ packetMax: 1400 });
  t.equal(plane.tables.peers.frameLimit[one], 1414);
  set({});
  t.equal(plane.tables.peers.frameLimit[one], 100_000 - 36);
});

t.test('lowering the limit evicts step by step, first from the peer with most entries', async (t) => {
  const { plane, one, two } = makePlane(20_000);
  for (let i = 0; i < 100; i++) {
    const { high, low } = macParts(macNumber(30_000 + i));
    plane.tables.fdb.learn(0, high, low, two, plane.tick);
  }
  plane.tables.fdb.putStatic(0, 0x0300, 1, one);
  const policy = { ...POLICY, fdbLimit: 1000 };
  let answer = plane.applier.apply({ op: 'vni.set', vniIdx: 0, policy }, plane.tick);
  let rounds = 1;
  for (; !answer; rounds++) answer = plane.applier.step(plane.tick);
  t.ok(rounds > 10, `${rounds} rounds`);
  t.equal(plane.vniCell(0, V_FDB_DYNAMIC), 1000);
  t.equal(plane.vniCell(0, V_EVICTED), 19_100);
  t.equal(plane.vniCell(0, V_FDB_STATIC), 1);
  t.same([plane.peerCell(one, P_FDB_DYNAMIC), plane.peerCell(two, P_FDB_DYNAMIC)], [500, 500]);
  t.equal(plane.vniCell(1, V_EVICTED), 0);
});

t.test('no frame is sent to sources that are no longer accepted', async (t) => {
  const plane = new MemoryPlane();
  plane.addVni(0, 100, { accept: 'any' });
  plane.addPeer(0, '192.0.2.1');
  plane.fromPeer('198.51.100.1', 100, arpFrame(BROADCAST, macNumber(1)));
  plane.fromPeer('192.0.2.1', 100, arpFrame(BROADCAST, macNumber(2)));
  plane.breathe();
  plane.apply({ op: 'vni.set', vniIdx: 0, policy: { ...POLICY, accept: 'any' } });
  t.equal(plane.vniCell(0, V_FDB_DYNAMIC), 2);
  plane.apply({ op: 'vni.set', vniIdx: 0, policy: POLICY });
  t.equal(plane.vniCell(0, V_FDB_DYNAMIC), 1);
  t.same(plane.tables.peers.learnedOf(0), []);
});
