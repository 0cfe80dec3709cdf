import t from 'tap';
import {
  G_STRANGERS_EVICTED,
  P_FDB_DYNAMIC,
  V_AGED,
  V_EVICTED,
  V_FDB_DYNAMIC,
  V_FDB_STATIC,
  V_LEARNED,
  V_MOVED,
} from '../../../src/exchange/counters.js';
import { macNumber, macParts } from '../../support/frames.js';
import { dropIndex, LEARNED_ROWS, MemoryPlane, random, sourceRow } from '../../support/memory-plane.js';

const ENTRY_EXISTS = dropIndex('entry_exists');
const A = macParts('02:00:00:00:00:0a');

function learn(
  plane: MemoryPlane,
  vniIdx: number,
  mac: { high: number; low: number },
  peerIdx: number,
): number {
  return plane.tables.fdb.learn(vniIdx, mac.high, mac.low, peerIdx, plane.tick);
}

function lookup(plane: MemoryPlane, vniIdx: number, mac: { high: number; low: number }): number {
  return plane.tables.fdb.lookup(vniIdx, mac.high, mac.low);
}

/** Compares the counters with the content of the table. */
function countsAreExact(plane: MemoryPlane): string {
  const { table, peers } = plane.tables.fdb;
  const expected = new Map<string, number>();
  const count = (key: string) => expected.set(key, (expected.get(key) ?? 0) + 1);
  table.moveSome(1 << 20);
  for (let position = 0; position < table.capacity; position++) {
    if (table.value(position) === 0) continue;
    const isStatic = plane.tables.fdb.isStatic(position);
    count(`vni ${table.tag(position)} ${isStatic ? 'static' : 'dynamic'}`);
    if (isStatic) continue;
    const peerIdx = plane.tables.fdb.peerAt(position);
    count(`peer ${peerIdx}`);
    if (peers.accountIdx(peerIdx) !== peerIdx) count(`peer ${peers.accountIdx(peerIdx)}`);
  }
  for (let vniIdx = 0; vniIdx < 2; vniIdx++) {
    for (const [kind, cell] of [
      ['static', V_FDB_STATIC],
      ['dynamic', V_FDB_DYNAMIC],
    ] as const) {
      const counted = plane.vniCell(vniIdx, cell);
      const held = expected.get(`vni ${vniIdx} ${kind}`) ?? 0;
      if (counted !== held) return `VNI row ${vniIdx}: ${counted} ${kind} counted, ${held} held`;
    }
    for (const peerIdx of plane.tables.members.rows(vniIdx)) {
      const counted = plane.peerCell(peerIdx, P_FDB_DYNAMIC);
      const held = expected.get(`peer ${peerIdx}`) ?? 0;
      if (counted !== held) return `peer ${peerIdx}: ${counted} counted, ${held} held`;
    }
  }
  return '';
}

t.test('a MAC of one VNI is unknown in another', async (t) => {
  const plane = new MemoryPlane();
  for (const vniIdx of [0, 1]) plane.addVni(vniIdx, 100 + vniIdx);
  const peer = plane.addPeer(0, '192.0.2.1');
  t.equal(lookup(plane, 0, A), -1);
  t.equal(learn(plane, 0, A, peer), 0);
  t.equal(lookup(plane, 0, A), peer);
  t.equal(lookup(plane, 1, A), -1, 'unknown in the other VNI');
  t.equal(plane.vniCell(0, V_LEARNED), 1);
  t.equal(plane.vniCell(1, V_LEARNED), 0);
});

t.test('a MAC received from another peer moves at once', async (t) => {
  const plane = new MemoryPlane();
  plane.addVni(0, 100);
  const [one, two] = ['192.0.2.1', '192.0.2.2'].map((address) => plane.addPeer(0, address));
  learn(plane, 0, A, one);
  t.equal(learn(plane, 0, A, two), 0);
  t.equal(lookup(plane, 0, A), two);
  t.equal(plane.vniCell(0, V_MOVED), 1);
  t.equal(plane.vniCell(0, V_LEARNED), 1, 'the MAC was learned once');
  t.equal(plane.peerCell(one, P_FDB_DYNAMIC), 0);
  t.equal(plane.peerCell(two, P_FDB_DYNAMIC), 1);
  learn(plane, 0, A, two);
  t.equal(plane.vniCell(0, V_MOVED), 1, 'a further frame of the same peer is no move');
});

t.test('learning does not change a static entry', async (t) => {
  const plane = new MemoryPlane();
  plane.addVni(0, 100, { ageingS: 1 });
  const [one, two] = ['192.0.2.1', '192.0.2.2'].map((address) => plane.addPeer(0, address));
  learn(plane, 0, A, two);
  plane.tables.fdb.putStatic(0, A.high, A.low, one);
  t.equal(lookup(plane, 0, A), one, 'a static entry replaces a dynamic one');
  t.equal(learn(plane, 0, A, two), ENTRY_EXISTS, 'a frame of another peer contradicts the static entry');
  t.equal(learn(plane, 0, A, one), 0, 'a frame of the same peer does not contradict the static entry');
  t.equal(lookup(plane, 0, A), one);
  plane.pass(5000);
  t.equal(lookup(plane, 0, A), one, 'a static entry does not age');
  plane.tables.fdb.putStatic(0, A.high, A.low, two);
  t.equal(lookup(plane, 0, A), two, 'another static entry replaces the first');
  t.equal(plane.vniCell(0, V_FDB_STATIC), 1);
  t.equal(plane.vniCell(0, V_FDB_DYNAMIC), 0);
  t.equal(plane.tables.fdb.delete(0, A.high, A.low), true);
  t.equal(plane.tables.fdb.delete(0, A.high, A.low), false, 'already deleted');
  t.equal(learn(plane, 0, A, two), 0, 'the MAC is learned again after the deletion');
  t.equal(countsAreExact(plane), '');
});

t.test('an entry ages out unless frames from its MAC are received; lookups do not refresh it', async (t) => {
  const plane = new MemoryPlane();
  plane.addVni(0, 100, { ageingS: 10 });
  plane.addVni(1, 200, { ageingS: 0 });
  const peer = plane.addPeer(0, '192.0.2.1');
  const never = plane.addPeer(1, '192.0.2.1');
  const B = macParts('02:00:00:00:00:0b');
  learn(plane, 0, A, peer);
  learn(plane, 0, B, peer);
  learn(plane, 1, A, never);
  for (let s = 0; s < 9; s++) {
    plane.pass(1000);
    learn(plane, 0, B, peer);
    t.equal(lookup(plane, 0, A), peer, `after ${s + 1} s`);
  }
  plane.pass(2200);
  t.equal(lookup(plane, 0, A), -1, 'the entry is removed one sweep after its ten seconds');
  t.equal(lookup(plane, 0, B), peer, 'the refreshed entry stays');
  t.equal(plane.vniCell(0, V_AGED), 1);
  plane.pass(100_000);
  t.equal(lookup(plane, 0, B), -1);
  t.equal(lookup(plane, 1, A), never, 'with ageing 0, the entry never ages out');
  t.equal(countsAreExact(plane), '');
});

t.test('ageing works where the 32-bit clock wraps', async (t) => {
  const WRAP_MS = 2 ** 31 * 100;
  const plane = new MemoryPlane();
  plane.nowMs = WRAP_MS - 500;
  plane.addVni(0, 100, { ageingS: 2 });
  const peer = plane.addPeer(0, '192.0.2.1');
  plane.breathe();
  plane.tables.fdb.learn(0, A.high, A.low, peer, (plane.nowMs / 100) | 0);
  plane.pass(1500);
  t.ok(plane.nowMs > WRAP_MS);
  t.equal(lookup(plane, 0, A), peer, 'the entry stays while it is younger than two seconds');
  plane.pass(2500);
  t.equal(lookup(plane, 0, A), -1);
});

t.test('a MAC flood from one peer does not evict the entries of another', async (t) => {
  const limit = 1000;
  const plane = new MemoryPlane();
  plane.addVni(0, 100, { fdbLimit: limit });
  plane.addVni(1, 200);
  const [quiet, flooder] = ['192.0.2.1', '192.0.2.2'].map((address) => plane.addPeer(0, address));
  const elsewhere = plane.addPeer(1, '192.0.2.2');
  for (let i = 0; i < 100; i++) learn(plane, 0, macParts(macNumber(i)), quiet);
  for (let i = 0; i < 500; i++) learn(plane, 1, macParts(macNumber(i)), elsewhere);
  for (let i = 0; i < 20_000; i++) learn(plane, 0, macParts(macNumber(100_000 + i)), flooder);
  for (let i = 0; i < 100; i++)
    if (lookup(plane, 0, macParts(macNumber(i))) !== quiet) t.fail(`MAC ${i} of the quiet peer was evicted`);
  t.ok(plane.vniCell(0, V_FDB_DYNAMIC) <= limit, 'the number of entries stays within the limit');
  t.equal(plane.vniCell(1, V_FDB_DYNAMIC), 500, 'the other VNI is not affected');
  t.ok(plane.vniCell(0, V_EVICTED) > 10_000);
  t.equal(
    plane.vniCell(0, V_LEARNED) - plane.vniCell(0, V_EVICTED),
    plane.vniCell(0, V_FDB_DYNAMIC),
    'learned − evicted = present',
  );
  t.equal(countsAreExact(plane), '');
  learn(plane, 0, macParts(macNumber(200)), quiet);
  t.equal(lookup(plane, 0, macParts(macNumber(200))), quiet, 'a new MAC of the quiet peer is learned');
});

t.test('with a limit of 0 nothing is learned; static entries do not count', async (t) => {
  const plane = new MemoryPlane();
  plane.addVni(0, 100, { fdbLimit: 0 });
  plane.addVni(1, 200, { fdbLimit: 1 });
  const peer = plane.addPeer(0, '192.0.2.1');
  const other = plane.addPeer(1, '192.0.2.1');
  t.equal(learn(plane, 0, A, peer), 0, 'the frame passes');
  t.equal(lookup(plane, 0, A), -1);
  plane.tables.fdb.putStatic(0, A.high, A.low, peer);
  t.equal(lookup(plane, 0, A), peer);
  learn(plane, 1, A, other);
  learn(plane, 1, macParts(macNumber(9)), other);
  t.equal(plane.vniCell(1, V_FDB_DYNAMIC), 1);
  t.equal(countsAreExact(plane), '');
});

t.test('rows of strangers are bounded, and freed with their entries', async (t) => {
  const plane = new MemoryPlane();
  plane.addVni(0, 100, { accept: 'any', ageingS: 5 });
  const { fdb, peers } = plane.tables;
  const learnFrom = (n: number, mac: { high: number; low: number }) => {
    const sources = new Int32Array(sourceRow(`198.51.${n >> 8}.${n & 255}`).buffer);
    const known = peers.findSource(0, sources, 0);
    return known >= 0
      ? fdb.learn(0, mac.high, mac.low, known, plane.tick)
      : fdb.learnFromStranger(0, mac.high, mac.low, sources, 0, 4789, plane.tick);
  };
  for (let n = 0; n < 3 * LEARNED_ROWS; n++) t.equal(learnFrom(n, macParts(macNumber(n))), 0);
  const most = LEARNED_ROWS - LEARNED_ROWS / 16;
  t.equal(plane.vniCell(0, V_FDB_DYNAMIC), most, 'the VNI gets all rows except those of the reserve');
  const first = lookup(plane, 0, macParts(macNumber(0)));
  t.equal(peers.isLearned(first), true);
  t.equal(peers.port(first), 4789);
  t.equal(countsAreExact(plane), '');
  // All MACs move to one stranger, which frees the rows of the others.
  for (let n = 0; n < most; n++) learnFrom(0, macParts(macNumber(n)));
  t.equal(fdb.held(first), most);
  for (let n = 500; n < 500 + most - 1; n++) learnFrom(n, macParts(macNumber(n)));
  t.equal(plane.vniCell(0, V_FDB_DYNAMIC), 2 * most - 1);
  plane.pass(8000);
  t.equal(plane.vniCell(0, V_FDB_DYNAMIC), 0, 'all entries have aged out');
  t.equal(peers.isUsed(first), false, 'the rows of aged strangers are free');
  t.equal(countsAreExact(plane), '');
});

t.test('a stranger whose MAC is not learned keeps no row', async (t) => {
  const plane = new MemoryPlane();
  plane.addVni(0, 100, { accept: 'any', fdbLimit: 0 });
  const peer = plane.addPeer(0, '192.0.2.1');
  const { fdb } = plane.tables;
  fdb.putStatic(0, A.high, A.low, peer);
  for (let n = 0; n < 4 * LEARNED_ROWS; n++) {
    const sources = new Int32Array(sourceRow(`198.51.100.${n & 255}`).buffer);
    const verdict = fdb.learnFromStranger(0, A.high, A.low, sources, 0, 4789, plane.tick);
    if (verdict !== ENTRY_EXISTS) t.fail(`stranger ${n}: ${verdict}`);
    if (fdb.learnFromStranger(0, 0x0201, n, sources, 0, 4789, plane.tick) !== 0) t.fail(`stranger ${n}`);
  }
  t.equal(plane.vniCell(0, V_FDB_DYNAMIC), 0);
});

t.test('a stranger keeps its row when its only entry is evicted for its next MAC', async (t) => {
  const plane = new MemoryPlane();
  plane.addVni(0, 100, { accept: 'any', fdbLimit: 1 });
  const { fdb, peers } = plane.tables;
  const sources = new Int32Array(sourceRow('198.51.100.1').buffer);
  fdb.learnFromStranger(0, 0x0200, 1, sources, 0, 4789, plane.tick);
  const row = peers.findSource(0, sources, 0);
  fdb.learn(0, 0x0200, 2, row, plane.tick);
  t.equal(fdb.lookup(0, 0x0200, 1), -1, 'evicted');
  t.equal(fdb.lookup(0, 0x0200, 2), row);
  t.equal(peers.isUsed(row), true);
  const other = new Int32Array(sourceRow('198.51.100.2').buffer);
  t.not(
    peers.learnSource(0, other, 0, 4789, plane.tables.vnis.otherIdx[0]),
    row,
    'no other stranger gets the row',
  );
  t.equal(countsAreExact(plane), '');
});

t.test('after a crash, entries of known peers stay with exact counts; others are removed', async (t) => {
  const before = new MemoryPlane();
  before.addVni(0, 100, { accept: 'any' });
  const [kept, lost] = ['192.0.2.1', '192.0.2.2'].map((address) => before.addPeer(0, address));
  for (let i = 0; i < 800; i++) learn(before, 0, macParts(macNumber(i)), i % 3 === 0 ? lost : kept);
  before.tables.fdb.putStatic(0, 0x0300, 1, kept);
  before.tables.fdb.putStatic(0, 0x0300, 2, lost);
  const stranger = new Int32Array(sourceRow('198.51.100.1').buffer);
  before.tables.fdb.learnFromStranger(0, 0x0400, 1, stranger, 0, 4789, before.tick);
  t.equal(before.tables.fdb.table.draining, true, 'the worker dies while the table grows');

  // The successor gets the same rows, except the row of the peer that was being removed when its
  // predecessor died.
  const after = new MemoryPlane({ memory: before.memory });
  after.addVni(0, 100, { accept: 'any' });
  t.equal(after.addPeer(0, '192.0.2.1'), kept);
  after.apply({ op: 'fdb.adopt' });
  const wrong = Array.from({ length: 800 }, (_, i) => i).filter(
    (i) => lookup(after, 0, macParts(macNumber(i))) !== (i % 3 === 0 ? -1 : kept),
  );
  t.same(wrong, [], 'entries of the removed peer are removed, the others stay');
  t.equal(lookup(after, 0, { high: 0x0300, low: 1 }), kept);
  t.equal(lookup(after, 0, { high: 0x0300, low: 2 }), -1);
  t.equal(lookup(after, 0, { high: 0x0400, low: 1 }), -1, 'learned sources do not outlive the worker');
  t.equal(after.vniCell(0, V_FDB_DYNAMIC), 533);
  t.equal(after.vniCell(0, V_FDB_STATIC), 1);
  t.equal(after.vniCell(0, V_LEARNED), 801, 'counters continue');
  t.equal(countsAreExact(after), '');

  // The learned row that was in use is freed like any other.
  for (let n = 0; n < LEARNED_ROWS; n++) {
    const source = new Int32Array(sourceRow(`198.51.100.${n}`).buffer);
    after.tables.fdb.learnFromStranger(0, 0x0500, n, source, 0, 4789, after.tick);
  }
  after.apply({ op: 'fdb.flush', vniIdx: 0, type: 'dynamic', peers: undefined });
  for (let row = 0; row < LEARNED_ROWS; row++)
    t.equal(after.tables.peers.isUsed(2048 - LEARNED_ROWS + row), false, `row ${row}`);
});

t.test('counts stay exact under random changes', async (t) => {
  const next = random(2);
  const plane = new MemoryPlane();
  plane.addVni(0, 100, { fdbLimit: 150, ageingS: 3 });
  plane.addVni(1, 200, { fdbLimit: 400, ageingS: 30, accept: 'any' });
  const peers = [0, 1].map((vniIdx) => [1, 2, 3].map((n) => plane.addPeer(vniIdx, `192.0.2.${n}`)));
  const { fdb } = plane.tables;
  for (let step = 0; step < 30_000; step++) {
    const vniIdx = next(2);
    const mac = macParts(macNumber(next(600)));
    const peerIdx = peers[vniIdx][next(3)];
    const choice = next(100);
    if (choice < 70) fdb.learn(vniIdx, mac.high, mac.low, peerIdx, plane.tick);
    else if (choice < 75) fdb.putStatic(vniIdx, mac.high, mac.low, peerIdx);
    else if (choice < 85) fdb.delete(vniIdx, mac.high, mac.low);
    else if (choice < 95) {
      const source = new Int32Array(sourceRow(`198.51.100.${next(100)}`).buffer);
      if (plane.tables.peers.findSource(1, source, 0) < 0)
        fdb.learnFromStranger(1, mac.high, mac.low, source, 0, 4789, plane.tick);
    } else plane.pass(50);
    if (step % 1000 !== 0) continue;
    const wrong = countsAreExact(plane);
    if (wrong !== '') return void t.fail(`step ${step}: ${wrong}`);
  }
  t.equal(countsAreExact(plane), '');
  t.ok(plane.vniCell(0, V_EVICTED) > 0 && plane.vniCell(0, V_AGED) > 0, 'evictions and ageing occurred');
  t.ok(plane.memory.counters.cells[G_STRANGERS_EVICTED] > 0, 'strangers were evicted');
});
