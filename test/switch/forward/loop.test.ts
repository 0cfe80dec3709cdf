import t from 'tap';
import { G_HEARTBEAT_MS, V_TAP_RX_FRAMES, V_TAP_TX_FRAMES } from '../../../src/exchange/counters.js';
import { ROUND_IN, ROUND_OTHER, ROUND_OUT } from '../../../src/switch/forward/loop.js';
import { arpFrame, BROADCAST, ipv4Frame } from '../../support/frames.js';
import { MemoryPlane } from '../../support/memory-plane.js';

const A = '02:00:00:00:00:0a';
const PEER = '192.0.2.1';

function makePlane(): MemoryPlane {
  const plane = new MemoryPlane();
  plane.addVni(0, 100);
  plane.addPeer(0, PEER);
  return plane;
}

t.test('a round receives at most two batches from the underlay', async (t) => {
  const plane = makePlane();
  for (let i = 0; i < 1000; i++) plane.fromPeer(PEER, 100, arpFrame(BROADCAST, A));
  plane.loop.readUnderlay(plane.clock);
  t.equal(plane.vniCell(0, V_TAP_TX_FRAMES), 256);
  t.equal(plane.underlay.waiting.length, 744);
});

t.test('a round reads at most one batch from a TAP, then the next TAP', async (t) => {
  const plane = makePlane();
  plane.addVni(1, 200);
  plane.addPeer(1, PEER);
  for (let i = 0; i < 1000; i++) plane.fromTap(0, arpFrame(BROADCAST, A));
  plane.fromTap(1, arpFrame(BROADCAST, A));
  t.equal(plane.loop.readOverlay(0), 128);
  t.equal(plane.vniCell(0, V_TAP_RX_FRAMES), 128, 'a full batch is forwarded at once');
  t.equal(plane.loop.readOverlay(1), 1);
  t.equal(plane.vniCell(1, V_TAP_RX_FRAMES), 0, 'a partial batch is forwarded after all TAPs have been read');
  plane.loop.forwardOverlay();
  t.equal(plane.vniCell(1, V_TAP_RX_FRAMES), 1);
});

t.test('the errno of a failed TAP is returned to the caller', async (t) => {
  const plane = makePlane();
  plane.overlay.read = () => -77;
  t.equal(plane.loop.readOverlay(0), -77);
  plane.loop.forwardOverlay();
  t.equal(plane.vniCell(0, V_TAP_RX_FRAMES), 0);
});

t.test('receive buffer drops are read ten times a second and counted once', async (t) => {
  const plane = makePlane();
  plane.breathe();
  plane.underlay.overflow = 5;
  plane.nowMs += 99;
  plane.breathe();
  t.same(plane.drops(-1, 'decap'), {}, 'the counts are not read before 100 ms');
  plane.nowMs += 1;
  plane.breathe();
  t.same(plane.drops(-1, 'decap'), { rx_overflow: 5 });
  plane.underlay.overflow = 7;
  plane.pass(1000);
  t.same(plane.drops(-1, 'decap'), { rx_overflow: 12 });
});

t.test('the heartbeat follows the clock', async (t) => {
  const plane = makePlane();
  plane.nowMs = 123_456.5;
  plane.loop.housekeeping(plane.clock);
  t.equal(plane.memory.counters.cells[G_HEARTBEAT_MS], 123_456.5);
});

t.test('one round forwards a frame in each direction', async (t) => {
  const plane = makePlane();
  plane.fromTap(0, ipv4Frame('02:00:00:00:00:0b', A));
  plane.fromPeer(PEER, 100, ipv4Frame(A, '02:00:00:00:00:0b'));
  plane.breathe();
  t.equal(plane.underlay.sent.length, 1);
  t.equal(plane.overlay.written.length, 1);
  plane.checkIdentity(t, 'one round');
});

t.test('a round with one small frame has a direction, whether the frame is flooded or not', async (t) => {
  const plane = makePlane();
  plane.addPeer(0, '192.0.2.2');
  const direction = (): number => {
    plane.breathe();
    return plane.loop.takeDirection();
  };
  plane.fromTap(0, arpFrame(BROADCAST, A));
  t.equal(direction(), ROUND_OUT, 'a frame that is flooded to two peers has a direction');
  plane.fromPeer(PEER, 100, ipv4Frame(A, '02:00:00:00:00:0b'));
  t.equal(direction(), ROUND_IN);
  t.equal(direction(), ROUND_OTHER, 'a round without a frame has no direction');
  plane.fromTap(0, arpFrame(BROADCAST, A));
  plane.fromPeer(PEER, 100, ipv4Frame(A, '02:00:00:00:00:0b'));
  t.equal(direction(), ROUND_OTHER, 'a round with frames in both directions has no direction');
  plane.fromTap(0, Buffer.concat([ipv4Frame('02:00:00:00:00:0b', A), Buffer.alloc(3000)]));
  t.equal(direction(), ROUND_OTHER, 'a superframe has no direction');
  plane.fromTap(0, arpFrame(BROADCAST, A));
  t.equal(direction(), ROUND_OUT, 'earlier rounds have no effect');
});
