import t from 'tap';
import { VNI_SHARE } from '../../../src/switch/forward/encap.js';
import { Turns } from '../../../src/switch/forward/turns.js';
import { arpFrame, BROADCAST, macNumber } from '../../support/frames.js';
import { MemoryPlane } from '../../support/memory-plane.js';

const VNIS = 16;

t.test('turns are first in, first out, and each VNI is queued once', async (t) => {
  const turns = new Turns(4);
  for (const vniIdx of [3, 1, 3, 0, 1]) turns.add(vniIdx);
  t.equal(turns.count, 3);
  t.same([turns.next(), turns.next()], [3, 1]);
  for (const vniIdx of [3, 2, 1, 0]) turns.add(vniIdx);
  t.equal(turns.count, 4, 'the queue can be full after its ring has wrapped');
  turns.remove(2);
  turns.remove(2);
  t.same([turns.next(), turns.next(), turns.next(), turns.count], [0, 3, 1, 0]);
  turns.add(2);
  t.equal(turns.next(), 2, 'a removed row can be queued again');
});

t.test('a round ends at its cost limit; the next round begins with the longest-waiting TAP', async (t) => {
  const plane = new MemoryPlane();
  for (let vniIdx = 0; vniIdx < VNIS; vniIdx++) {
    plane.addVni(vniIdx, 100 + vniIdx);
    for (let i = 0; i < 100; i++) plane.addPeer(vniIdx, `10.0.${vniIdx}.${i}`);
  }
  plane.underlay.keep = false;
  const { loop } = plane;
  const served: number[] = [];
  for (let round = 0; served.length < 5 * VNIS; round++) {
    if (round > 100) throw new Error('the TAPs did not get 5 turns each in 100 rounds');
    for (let vniIdx = 0; vniIdx < VNIS; vniIdx++) {
      plane.fromTap(vniIdx, arpFrame(BROADCAST, macNumber(1)));
      loop.ready(vniIdx);
    }
    for (let i = 0; i < 6 * VNIS; i++) plane.fromTap(i % VNIS, arpFrame(BROADCAST, macNumber(1)));
    loop.beginTurns();
    let turns = 0;
    for (let vniIdx = loop.nextTurn(); vniIdx >= 0; vniIdx = loop.nextTurn()) {
      served.push(vniIdx);
      turns++;
      loop.readOverlay(vniIdx);
    }
    t.ok(turns < VNIS, `a round ends before all VNIs have had a turn: ${turns} turns`);
    t.ok(loop.spent <= 2 * 2048 + VNI_SHARE, `the cost of a round is bounded: ${loop.spent} units`);
    t.ok(loop.isPending, 'the next round must not block');
    loop.forwardOverlay();
    plane.checkIdentity(t, `round ${round}`);
  }
  // The order of the VNIs may differ between rounds, so a VNI may wait for almost two turns of each
  // other VNI.
  for (let vniIdx = 0; vniIdx < VNIS; vniIdx++) {
    let last = -1;
    for (const [at, one] of served.entries()) {
      if (one !== vniIdx) continue;
      if (at - last >= 2 * VNIS) t.fail(`row ${vniIdx} waited for ${at - last} turns`);
      last = at;
    }
    t.ok(served.length - last < 2 * VNIS, `row ${vniIdx} got its last turn recently`);
  }
});
