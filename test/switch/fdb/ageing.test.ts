import t from 'tap';
import { V_AGED, V_FDB_DYNAMIC } from '../../../src/exchange/counters.js';
import { macNumber, macParts } from '../../support/frames.js';
import { MemoryPlane } from '../../support/memory-plane.js';

function fill(plane: MemoryPlane, entries: number, peerIdx: number): void {
  for (let i = 0; i < entries; i++) {
    const { high, low } = macParts(macNumber(i));
    plane.tables.fdb.learn(0, high, low, peerIdx, plane.tick);
  }
}

t.test('a sweep is bounded however much time has passed', async (t) => {
  const plane = new MemoryPlane();
  plane.addVni(0, 100, { ageingS: 1 });
  const peer = plane.addPeer(0, '192.0.2.1');
  fill(plane, 50_000, peer);
  plane.breathe();
  plane.nowMs += 3_600_000;
  plane.breathe();
  const aged = plane.vniCell(0, V_AGED);
  t.ok(aged > 0 && aged <= 16_384 + 100, `${aged} entries removed in one round`);
});

t.test('the whole table is swept within about a second at any rate of rounds', async (t) => {
  for (const stepMs of [0.05, 1, 10, 100]) {
    const plane = new MemoryPlane();
    plane.addVni(0, 100, { ageingS: 1 });
    const peer = plane.addPeer(0, '192.0.2.1');
    plane.breathe();
    fill(plane, 5000, peer);
    const endMs = plane.nowMs + 2300;
    for (; plane.nowMs < endMs; plane.nowMs += stepMs) plane.loop.housekeeping(plane.clock);
    t.equal(plane.vniCell(0, V_FDB_DYNAMIC), 0, `rounds of ${stepMs} ms`);
  }
});

t.test('rounds without elapsed time do not sweep', async (t) => {
  const plane = new MemoryPlane();
  plane.addVni(0, 100, { ageingS: 1 });
  fill(plane, 100, plane.addPeer(0, '192.0.2.1'));
  plane.breathe();
  plane.nowMs += 10_000;
  plane.breathe();
  const { table } = plane.tables.fdb;
  fill(plane, 100, 1);
  for (let i = 0; i < 1000; i++) plane.breathe();
  t.equal(table.size, 100);
});

t.test('the sweep drains the old table even if nothing is inserted', async (t) => {
  const plane = new MemoryPlane();
  plane.addVni(0, 100);
  fill(plane, 769, plane.addPeer(0, '192.0.2.1'));
  t.equal(plane.tables.fdb.table.draining, true);
  plane.pass(1500);
  t.equal(plane.tables.fdb.table.draining, false);
  t.equal(plane.vniCell(0, V_FDB_DYNAMIC), 769);
});
