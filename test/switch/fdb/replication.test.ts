/**
 * Replicas of the FDB: several data planes in memory that exchange notes.
 */
import t from 'tap';
import { P_FDB_DYNAMIC, V_FDB_DYNAMIC, V_LEARNED, V_MOVED } from '../../../src/exchange/counters.js';
import type { VniPolicy } from '../../../src/exchange/protocol.js';
import { NOTE_WORDS } from '../../../src/switch/fdb/note-ring.js';
import { noteRingsOf } from '../../../src/switch/fdb/replication.js';
import { macNumber, macParts } from '../../support/frames.js';
import { MemoryPlane, random, sourceRow } from '../../support/memory-plane.js';

const ADDRESSES = ['192.0.2.1', '192.0.2.2', '2001:db8::3', '192.0.2.4'];
const A = macParts('02:00:00:00:00:0a');

/** Planes with the same VNI 100 and the same peers, as the main thread configures all workers. */
class Workers {
  readonly planes: MemoryPlane[];
  readonly peers: number[] = [];

  constructor(count: number, policy: Partial<VniPolicy> = {}, notesARing = 1024) {
    const buffer = new SharedArrayBuffer(count ** 2 * (128 + notesARing * NOTE_WORDS * 4));
    this.planes = Array.from(
      { length: count },
      (_, index) => new MemoryPlane({ notes: noteRingsOf(index, count, buffer, 0) }),
    );
    for (const plane of this.planes) {
      plane.addVni(0, 100, policy);
      ADDRESSES.forEach((address, i) => {
        this.peers[i] = plane.addPeer(0, address);
      });
    }
  }

  /** One worker receives a frame from that MAC. */
  learn(worker: number, mac: { high: number; low: number }, peer: number): void {
    const plane = this.planes[worker];
    plane.tables.fdb.learn(0, mac.high, mac.low, this.peers[peer], plane.tick);
  }

  learnFromStranger(worker: number, mac: { high: number; low: number }, address: string): void {
    const plane = this.planes[worker];
    const { fdb, peers } = plane.tables;
    const source = new Int32Array(sourceRow(address).buffer);
    const known = peers.findSource(0, source, 0);
    if (known >= 0) fdb.learn(0, mac.high, mac.low, known, plane.tick);
    else fdb.learnFromStranger(0, mac.high, mac.low, source, 0, 4789, plane.tick);
  }

  /** One worker applies a bounded number of waiting notes. */
  drain(worker: number): void {
    const { replication, fdb } = this.planes[worker].tables;
    replication!.drain(fdb);
  }

  /** Exchanges notes and answers to notes until no ring holds a note. */
  exchange(): void {
    for (let round = 0; round < 50; round++) for (const index of this.planes.keys()) this.drain(index);
  }

  /** Lets time pass for all workers, 0.1 s per round. */
  pass(ms: number): void {
    for (let passed = 0; passed < ms; passed += 100) for (const plane of this.planes) plane.pass(100);
  }

  /** Address that each replica sends to for that MAC; '' for none. */
  where(mac: { high: number; low: number }): string[] {
    return this.planes.map(({ tables: { fdb, peers } }) => {
      const peerIdx = fdb.lookup(0, mac.high, mac.low);
      return peerIdx < 0
        ? ''
        : `${peers.family(peerIdx)} ${Buffer.from(peers.address(peerIdx)).toString('hex')}`;
    });
  }

  /** Address that all replicas send to for that MAC; a text that begins "they differ" otherwise. */
  agreed(mac: { high: number; low: number }): string {
    const places = new Set(this.where(mac));
    return places.size === 1 ? [...places][0] : `they differ: ${[...places].join(', ')}`;
  }

  is(mac: { high: number; low: number }, peer: number): boolean[] {
    return this.planes.map(({ tables }) => tables.fdb.lookup(0, mac.high, mac.low) === this.peers[peer]);
  }
}

t.test('a MAC learned by one worker is known to all after their next round', async (t) => {
  const workers = new Workers(3);
  workers.learn(1, A, 2);
  t.same(workers.is(A, 2), [false, true, false]);
  for (const plane of workers.planes) plane.breathe();
  t.same(workers.is(A, 2), [true, true, true]);
  for (const plane of workers.planes) {
    t.equal(plane.vniCell(0, V_LEARNED), 1, 'each replica counts its own entries');
    t.equal(plane.vniCell(0, V_FDB_DYNAMIC), 1);
    t.equal(plane.peerCell(workers.peers[2], P_FDB_DYNAMIC), 1);
  }
});

t.test('a single worker has no notes', async (t) => {
  t.equal(new MemoryPlane().tables.replication, undefined);
});

t.test('a move is known to all; an older note of the same MAC is ignored', async (t) => {
  const workers = new Workers(3);
  workers.learn(0, A, 0);
  workers.pass(100);
  // Worker 2 applies no notes while the MAC moves, so it receives the older note last.
  workers.learn(1, A, 1);
  workers.drain(2);
  workers.exchange();
  t.same(workers.is(A, 1), [true, true, true]);
  for (const plane of workers.planes) t.equal(plane.vniCell(0, V_MOVED), 1);
});

t.test('all replicas apply the last of several moves within one tick', async (t) => {
  const workers = new Workers(2);
  workers.learn(0, A, 0);
  workers.exchange();
  for (const [worker, peer] of [
    [0, 1],
    [1, 2],
    [0, 3],
    [0, 0],
    [1, 1],
  ]) {
    workers.learn(worker, A, peer);
    workers.exchange();
    t.same(workers.is(A, peer), [true, true], `moved to ${peer} by ${worker}`);
  }
});

t.test('a worker that sends an older note receives the newer entry', async (t) => {
  const workers = new Workers(2);
  workers.learn(0, A, 0);
  workers.exchange();
  workers.planes[0].nowMs += 300;
  workers.planes[1].nowMs += 200;
  // Worker 0 receives the MAC from the same peer again and makes no announcement. Worker 1, whose
  // clock lags, receives the MAC from another peer and announces a move.
  workers.learn(0, A, 0);
  workers.learn(1, A, 1);
  workers.exchange();
  t.same(workers.is(A, 0), [true, true]);
});

t.test('an entry that one worker keeps refreshing does not age out in the other workers', async (t) => {
  for (const ageingS of [1, 2, 300]) {
    const workers = new Workers(2, { ageingS });
    workers.learn(0, A, 0);
    const B = macParts(macNumber(7));
    workers.learn(0, B, 0);
    for (let s = 0; s < 2 * ageingS; s += 0.1) {
      workers.learn(0, A, 0);
      workers.pass(100);
      if (!t.same(workers.is(A, 0), [true, true], `ageing ${ageingS} s, after ${s.toFixed(1)} s`)) return;
    }
    t.same(workers.is(B, 0), [false, false], 'the silent MAC ages out');
  }
});

t.test('notes do not change static entries', async (t) => {
  const workers = new Workers(2);
  workers.planes[1].apply({ op: 'fdb.put', vniIdx: 0, mac: A, peerIdx: workers.peers[3] });
  workers.learn(0, A, 0);
  workers.exchange();
  t.same(workers.is(A, 3), [false, true]);
});

t.test('a note sent before a removal does not restore the entry', async (t) => {
  const flush = { op: 'fdb.flush', vniIdx: 0, type: 'dynamic', peers: undefined } as const;
  const workers = new Workers(2);
  workers.learn(0, A, 0);
  for (const plane of [...workers.planes].reverse()) plane.apply(flush);
  workers.exchange();
  t.equal(workers.agreed(A), '', 'the note does not restore a flushed entry');
  workers.learn(0, A, 0);
  workers.exchange();
  t.same(workers.is(A, 0), [true, true], 'an entry learned later is accepted');

  workers.pass(20_000);
  workers.learn(0, A, 0);
  for (const plane of [...workers.planes].reverse()) plane.apply({ op: 'fdb.del', vniIdx: 0, mac: A });
  workers.exchange();
  t.equal(workers.agreed(A), '', 'the note does not restore a deleted entry');

  workers.learn(0, A, 0);
  for (const plane of [...workers.planes].reverse()) plane.removePeer(workers.peers[0]);
  workers.exchange();
  t.equal(workers.agreed(A), '', 'the note does not restore an entry of a removed peer');
});

t.test('a note about an unconfigured VNI or peer is ignored', async (t) => {
  const workers = new Workers(2);
  workers.planes[0].addVni(1, 200);
  const elsewhere = workers.planes[0].addPeer(1, '192.0.2.1');
  const late = workers.planes[0].addPeer(0, '192.0.2.99');
  const { fdb } = workers.planes[0].tables;
  fdb.learn(1, A.high, A.low, elsewhere, workers.planes[0].tick);
  fdb.learn(0, A.high, A.low, late, workers.planes[0].tick);
  workers.exchange();
  t.equal(workers.planes[1].tables.fdb.table.size, 0);
});

t.test('each replica has its own rows for strangers', async (t) => {
  const workers = new Workers(3, { accept: 'any', ageingS: 5 });
  workers.learnFromStranger(0, macParts(macNumber(1)), '198.51.100.1');
  workers.learnFromStranger(1, macParts(macNumber(2)), '2001:db8::77');
  workers.learnFromStranger(1, macParts(macNumber(3)), '198.51.100.1');
  workers.exchange();
  for (const [n, place] of [
    [1, '2 c6336401'],
    [2, '10 20010db8'],
    [3, '2 c6336401'],
  ] as const)
    t.match(workers.agreed(macParts(macNumber(n))), place);
  workers.learnFromStranger(2, macParts(macNumber(1)), '192.0.2.2');
  workers.exchange();
  t.same(workers.is(macParts(macNumber(1)), 1), [true, true, true], 'the MAC of a stranger moves to a peer');
  workers.pass(8000);
  for (const plane of workers.planes) {
    t.equal(plane.vniCell(0, V_FDB_DYNAMIC), 0);
    t.notOk(
      plane.tables.peers.isUsed(2048 - 1) || plane.tables.peers.isUsed(2048 - 32),
      'the rows of strangers are free again',
    );
  }
});

t.test('MACs whose notes a full ring lost are announced again later', async (t) => {
  const workers = new Workers(2, { ageingS: 0 }, 4);
  const macs = Array.from({ length: 100 }, (_, n) => macParts(macNumber(n)));
  for (const mac of macs) workers.learn(0, mac, 1);
  workers.exchange();
  t.equal(workers.planes[1].vniCell(0, V_FDB_DYNAMIC), 4);
  for (let round = 0; round < 100; round++) {
    workers.learn(0, macs[round], 1);
    workers.pass(200);
  }
  t.ok(workers.planes[1].vniCell(0, V_FDB_DYNAMIC) > 50, 'MACs that are received again are announced again');
});

t.test('a MAC flood is applied in bounded pieces up to the limit of each replica', async (t) => {
  const workers = new Workers(2, { fdbLimit: 500 });
  for (let n = 0; n < 900; n++) workers.learn(0, macParts(macNumber(n)), n % 2);
  workers.drain(1);
  t.ok(workers.planes[1].tables.fdb.table.size <= 256, 'one round applies at most 256 notes');
  workers.exchange();
  for (const plane of workers.planes) t.equal(plane.vniCell(0, V_FDB_DYNAMIC), 500);
});

for (const seed of [1, 2, 3, 4, 5])
  t.test(`replicas agree once all notes are applied (seed ${seed})`, async (t) => {
    const next = random(seed);
    const workers = new Workers(3, { accept: 'any', ageingS: 1000 });
    const macs = Array.from({ length: 12 }, (_, n) => macParts(macNumber(n)));
    for (let step = 0; step < 6000; step++) {
      const choice = next(10);
      const mac = macs[next(macs.length)];
      if (choice < 5) workers.learn(next(3), mac, next(ADDRESSES.length));
      else if (choice < 6) workers.learnFromStranger(next(3), mac, `198.51.100.${next(3)}`);
      else if (choice < 9) workers.drain(next(3));
      // The clocks of the workers differ by up to a round.
      else workers.planes[next(3)].nowMs += 50;
      if (step % 300 !== 299) continue;
      const latest = Math.max(...workers.planes.map(({ nowMs }) => nowMs));
      for (const plane of workers.planes) plane.nowMs = latest;
      workers.exchange();
      for (const one of macs) {
        const place = workers.agreed(one);
        if (place.startsWith('they differ')) return void t.fail(`step ${step}: ${place}`);
      }
    }
    t.ok(workers.planes[0].vniCell(0, V_MOVED) > 500);
  });
