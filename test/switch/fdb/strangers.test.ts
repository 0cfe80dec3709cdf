/**
 * Allocation and eviction of rows for strangers (`--accept any`).
 */
import t from 'tap';
import { LEARNED_ROWS } from '../../../src/abi/limits.js';
import { G_STRANGERS_EVICTED, V_EVICTED, V_FDB_DYNAMIC } from '../../../src/exchange/counters.js';
import { NOTE_WORDS } from '../../../src/switch/fdb/note-ring.js';
import { noteRingsOf } from '../../../src/switch/fdb/replication.js';
import { Strangers } from '../../../src/switch/fdb/strangers.js';
import { macNumber, macParts } from '../../support/frames.js';
import { MemoryPlane, sourceRow } from '../../support/memory-plane.js';

const ANY = { accept: 'any' } as const;
/** Rows that a VNI gets when it is the only one. */
const MOST = LEARNED_ROWS - LEARNED_ROWS / 16;

function planeOf(options: ConstructorParameters<typeof MemoryPlane>[0] = {}): MemoryPlane {
  const plane = new MemoryPlane({ learnedRows: LEARNED_ROWS, ...options });
  plane.addVni(0, 100, ANY);
  plane.addVni(1, 200, ANY);
  return plane;
}

/** Receives a frame with the MAC of this number from the source of this number. */
function receive(plane: MemoryPlane, vniIdx: number, source: number, mac = source): void {
  const { fdb, peers } = plane.tables;
  const row = new Int32Array(sourceRow(`198.51.${source >> 8}.${source & 255}`).buffer);
  const { high, low } = macParts(macNumber(mac));
  const known = peers.findSource(vniIdx, row, 0);
  if (known >= 0) fdb.learn(vniIdx, high, low, known, plane.tick);
  else fdb.learnFromStranger(vniIdx, high, low, row, 0, 4789, plane.tick);
}

function knows(plane: MemoryPlane, vniIdx: number, mac: number): boolean {
  const { high, low } = macParts(macNumber(mac));
  return plane.tables.fdb.lookup(vniIdx, high, low) >= 0;
}

/** Lets time pass in steps of 0.1 s, each with many rounds, as under load. */
function passBusy(planes: readonly MemoryPlane[], ms: number): void {
  for (let passed = 0; passed < ms; passed += 100) {
    for (let round = 0; round < 40; round++) for (const plane of planes) plane.breathe();
    for (const plane of planes) plane.pass(100);
  }
}

const evictedOf = (plane: MemoryPlane) => plane.memory.counters.cells[G_STRANGERS_EVICTED];

t.test('4,200 forged sources in VNI 100: a stranger in VNI 200 is learned at once', async (t) => {
  const plane = planeOf();
  for (let source = 0; source < 4200; source++) receive(plane, 0, source);
  t.equal(plane.vniCell(0, V_FDB_DYNAMIC), MOST);
  receive(plane, 1, 1);
  t.ok(knows(plane, 1, 1));
  for (let source = 2; source <= 256; source++) receive(plane, 1, source);
  t.equal(plane.vniCell(1, V_FDB_DYNAMIC), 256, 'VNI 200 gets all rows of the reserve');
});

t.test('during a flood other VNIs continue to learn, and only the flood is evicted', async (t) => {
  const plane = planeOf();
  let forged = 0;
  for (; forged < 4200; forged++) receive(plane, 0, forged & 0xffff);
  for (let second = 0; second < 10; second++) {
    for (let n = 0; n < 30; n++) receive(plane, 1, second * 30 + n);
    for (let tick = 0; tick < 10; tick++) {
      for (let n = 0; n < 200; n++, forged++) receive(plane, 0, forged & 0xffff);
      passBusy([plane], 100);
    }
  }
  t.equal(plane.vniCell(1, V_FDB_DYNAMIC), 300, 'all strangers of VNI 200 are learned');
  t.ok(evictedOf(plane) >= 300, `${evictedOf(plane)} strangers were evicted`);
  t.equal(plane.vniCell(1, V_EVICTED), 0);
  t.ok(plane.vniCell(0, V_EVICTED) > 0);
});

t.test('the stranger that was silent for longest is evicted with all its entries', async (t) => {
  const plane = planeOf();
  for (let source = 0; source < MOST; source++) receive(plane, 0, source);
  for (let mac = 10_000; mac < 10_100; mac++) receive(plane, 0, 7, mac);
  plane.pass(1000);
  for (let source = 0; source < MOST; source++) if (source !== 7) receive(plane, 0, source);
  receive(plane, 0, 5000);
  t.notOk(knows(plane, 0, 5000), 'the new stranger gets no row yet');
  plane.breathe();
  t.equal(evictedOf(plane), 1);
  const row = new Int32Array(sourceRow('198.51.0.7').buffer);
  t.equal(plane.tables.peers.findSource(0, row, 0), -1, 'the evicted stranger is unknown at once');
  plane.pass(2000);
  const left = Array.from({ length: 100 }, (_, i) => 10_000 + i).filter((mac) => knows(plane, 0, mac));
  t.same(left, [], 'the entries of the evicted stranger are removed');
  t.notOk(knows(plane, 0, 7));
  t.equal(plane.vniCell(0, V_EVICTED), 101);
  t.equal(plane.vniCell(0, V_FDB_DYNAMIC), MOST - 1);
  receive(plane, 0, 5000);
  t.ok(knows(plane, 0, 5000), 'the new stranger gets the free row');
  plane.pass(5000);
  t.equal(evictedOf(plane), 1, 'no further stranger is evicted without demand');
});

t.test('with several workers, replicas learn strangers although their rows are full', async (t) => {
  const buffer = new SharedArrayBuffer(4 * (128 + 8192 * NOTE_WORDS * 4));
  const planes = [0, 1].map((index) => planeOf({ notes: noteRingsOf(index, 2, buffer, 0) }));
  const [first, second] = planes;
  const exchange = () => {
    for (let round = 0; round < 40; round++) for (const plane of planes) plane.breathe();
  };
  for (let source = 0; source < 4200; source++) receive(first, 0, source);
  exchange();
  t.equal(second.vniCell(0, V_FDB_DYNAMIC), MOST);
  receive(first, 1, 1);
  exchange();
  t.ok(knows(second, 1, 1), 'the second replica uses its reserve as well');
  // A note of a stranger is lost if the receiving worker has no free row. A continuously active
  // source is announced every 10 s.
  for (let second = 0; second < 14; second++) {
    for (let source = 5000; source < 5100; source++) receive(first, 0, source);
    passBusy(planes, 1000);
  }
  exchange();
  t.ok(evictedOf(first) > 0 && evictedOf(second) > 0);
  const wrong = [];
  for (let source = 5000; source < 5100; source++)
    for (const [index, plane] of planes.entries()) if (!knows(plane, 0, source)) wrong.push([index, source]);
  t.same(wrong, [], 'both replicas know the latest strangers');
});

t.test('the successor of a worker that dies while evicting starts without strangers', async (t) => {
  const before = planeOf();
  for (let source = 0; source < 4200; source++) receive(before, 0, source);
  before.breathe();
  const evicted = evictedOf(before);
  t.ok(evicted > 0);
  const after = planeOf({ memory: before.memory });
  after.apply({ op: 'fdb.adopt' });
  t.equal(after.vniCell(0, V_FDB_DYNAMIC), 0);
  t.equal(evictedOf(after), evicted, 'the counter continues');
  for (let source = 0; source < MOST; source++) receive(after, 0, source);
  receive(after, 1, 1);
  t.equal(after.vniCell(0, V_FDB_DYNAMIC), MOST);
  t.ok(knows(after, 1, 1));
});

t.test('among many VNIs with one stranger each, a new VNI gets a row within some ticks', async (t) => {
  const strangers = new Strangers(100, 64, 128);
  const rows = Array.from({ length: 61 }, (_, vniIdx) => strangers.admit(vniIdx));
  t.same(
    rows.slice(0, 60).sort((a, b) => a - b),
    Array.from({ length: 60 }, (_, i) => 104 + i),
  );
  t.ok(rows[60] >= 100, 'the new VNI gets rows of the reserve');
  for (let vniIdx = 61; vniIdx < 64; vniIdx++) t.ok(strangers.admit(vniIdx) >= 100);
  t.equal(strangers.admit(64), -1);
  const evicted = strangers.evictOne(1);
  t.ok(strangers.isEvicted(evicted));
  t.ok(strangers.isEvicting);
  strangers.release(evicted);
  t.notOk(strangers.isEvicting);
  t.equal(strangers.admit(64), evicted);
});

t.test('evictions per tick are bounded; they stop at twice the reserve', async (t) => {
  const strangers = new Strangers(0, 1024, 4);
  for (let n = 0; n < 1024; n++) strangers.admit(0);
  const evictedIn = (tick: number) => {
    let evicted = 0;
    while (strangers.evictOne(tick) >= 0) evicted++;
    return evicted;
  };
  t.equal(evictedIn(1), 32);
  t.equal(evictedIn(1), 0);
  t.equal(evictedIn(2), 32);
  for (let n = 0; n < 1000; n++) strangers.admit(0);
  t.equal(evictedIn(3), 0, 'free and evicted rows together are twice the reserve');
});
