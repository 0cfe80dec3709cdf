/**
 * Backlogs: order, fairness between VNIs, and changes while frames wait.
 *
 * Copies wait in order while other VNIs are served. If peers or VNIs change while copies wait, no
 * copy is sent to a peer row of another VNI.
 */
import t, { type Test } from 'tap';
import { Batch, FRAME_NEEDS_CSUM, GSO_TCPV4, GSO_UDP_L4 } from '../../../src/abi/batch.js';
import {
  BACKLOG_LARGE_LEN,
  BACKLOG_LARGE_SLOTS,
  BACKLOG_LEN,
  BACKLOG_SMALL_LEN,
  BACKLOG_SMALL_SLOTS,
} from '../../../src/abi/limits.js';
import {
  V_FLOODED_BROADCAST,
  V_REPLICATED,
  V_TAP_RX_FRAMES,
  V_TOO_BIG_ICMP,
} from '../../../src/exchange/counters.js';
import { packPeers } from '../../../src/exchange/protocol.js';
import { Backlog } from '../../../src/switch/forward/backlog.js';
import { MESSAGE_COST, VNI_SHARE } from '../../../src/switch/forward/encap.js';
import { arpFrame, BROADCAST, ipv4Frame, macNumber, macParts, TCP, UDP } from '../../support/frames.js';
import { MemoryPlane, packAddress, random } from '../../support/memory-plane.js';
import { MemoryOverlay } from '../../support/memory-ports.js';

const A = '02:00:00:00:00:0a';
const B = '02:00:00:00:00:0b';
const PEERS = 60;
/** Copies of a flood in one turn. */
const COPIES = VNI_SHARE / MESSAGE_COST;
/** Peers that receive the copies of one frame in two turns. */
const MANY = COPIES + 88;

/** Adds a VNI with many peers in adjacent rows. @returns row of its first peer */
function addMany(plane: MemoryPlane, vniIdx: number, count: number, pathMtu?: number): number {
  plane.addVni(vniIdx, 100 + vniIdx);
  let first = -1;
  for (let i = 0; i < count; i++) {
    const row = plane.addPeer(vniIdx, `10.${vniIdx}.${i >> 8}.${i & 255}`, pathMtu ? { pathMtu } : {});
    if (first < 0) first = row;
  }
  return first;
}

/** Runs one turn of a VNI. */
function turn(plane: MemoryPlane, vniIdx = 0): void {
  plane.loop.readOverlay(vniIdx);
  plane.loop.forwardOverlay();
}

const sentTo = (plane: MemoryPlane) => plane.underlay.sent.map(({ peerIdx }) => peerIdx);
const sourceMac = (bytes: Uint8Array) => Buffer.from(bytes.subarray(14, 20)).toString('hex');

t.test('each turn sends one share of the copies in order; each is unchanged and counted', async (t) => {
  const plane = new MemoryPlane();
  const first = addMany(plane, 0, PEERS);
  const frames = Array.from({ length: 100 }, (_, i) => arpFrame(BROADCAST, macNumber(i)));
  for (const frame of frames) plane.fromTap(0, frame);
  plane.fromTap(0, arpFrame(BROADCAST, macNumber(1000)));
  let turns = 0;
  do {
    const before = plane.underlay.sent.length;
    turn(plane);
    turns++;
    t.ok(plane.underlay.sent.length - before <= COPIES, `turn ${turns}`);
    plane.checkIdentity(t, `turn ${turns}`);
  } while (plane.loop.isPending && turns < 100);
  t.equal(turns, Math.ceil((101 * PEERS) / COPIES));
  const expected = [...frames, arpFrame(BROADCAST, macNumber(1000))];
  t.equal(plane.underlay.sent.length, expected.length * PEERS);
  for (const [k, { peerIdx, bytes }] of plane.underlay.sent.entries()) {
    if (peerIdx !== first + (k % PEERS)) t.fail(`copy ${k} went to ${peerIdx}`);
    if (Buffer.compare(bytes.subarray(8), expected[Math.floor(k / PEERS)]) !== 0) t.fail(`copy ${k} differs`);
    if (bytes[6] !== 100) t.fail(`copy ${k} has another VNI`);
  }
  t.equal(plane.vniCell(0, V_TAP_RX_FRAMES), 101);
  t.equal(plane.vniCell(0, V_FLOODED_BROADCAST), 101);
  t.equal(plane.vniCell(0, V_REPLICATED), 101 * (PEERS - 1));
  t.same(plane.drops(0, 'encap'), {});
});

t.test('the TAP of a VNI with a backlog is not read; another VNI is served between its turns', async (t) => {
  const plane = new MemoryPlane();
  addMany(plane, 0, PEERS);
  const other = addMany(plane, 1, 1);
  for (let i = 0; i < 128; i++) plane.fromTap(0, arpFrame(BROADCAST, macNumber(i)));
  turn(plane);
  plane.fromTap(0, arpFrame(BROADCAST, A));
  for (let slice = 0; slice < 5; slice++) {
    plane.fromTap(1, arpFrame(BROADCAST, macNumber(slice)));
    turn(plane, 0);
    plane.clear();
    turn(plane, 1);
    t.same(sentTo(plane), [other]);
    t.equal(plane.overlay.waiting.length, 1, 'the frame behind the backlog stays in the TAP');
  }
});

t.test('a VNI with a backlog shares the round with a VNI whose TAP is ready', async (t) => {
  const plane = new MemoryPlane();
  addMany(plane, 0, 300);
  const other = addMany(plane, 1, 1);
  for (let i = 0; i < 128; i++) plane.fromTap(0, arpFrame(BROADCAST, macNumber(i)));
  plane.loop.ready(0);
  for (let round = 0; round < 10; round++) {
    plane.fromTap(1, arpFrame(BROADCAST, A));
    plane.loop.ready(1);
    plane.clear();
    plane.loop.beginTurns();
    for (let vniIdx = plane.loop.nextTurn(); vniIdx >= 0; vniIdx = plane.loop.nextTurn())
      plane.loop.readOverlay(vniIdx);
    plane.loop.forwardOverlay();
    const sent = sentTo(plane);
    t.equal(sent.filter((peerIdx) => peerIdx === other).length, 1);
    t.equal(sent.length, 1 + COPIES);
  }
});

t.test('known unicast fits the share, and a deficit is deducted from the next share', async (t) => {
  const plane = new MemoryPlane();
  const peerIdx = addMany(plane, 0, 1);
  const { high, low } = macParts(B);
  plane.tables.fdb.learn(0, high, low, peerIdx, plane.tick);
  for (let i = 0; i < 128; i++) plane.fromTap(0, ipv4Frame(B, A));
  turn(plane);
  t.equal(plane.underlay.sent.length, 128);
  t.notOk(plane.loop.isPending);
  plane.clear();
  const bytes = ipv4Frame(B, A, { protocol: TCP, payloadLen: 88 * 256, postponed: true });
  const superframe = { gsoType: GSO_TCPV4, gsoSize: 88, csumStart: 34, csumOff: 16, flags: FRAME_NEEDS_CSUM };
  for (let i = 0; i < 6; i++) plane.overlay.waiting.push({ vniIdx: 0, bytes, superframe });
  plane.fromTap(0, ipv4Frame(B, A));
  const counts: number[] = [];
  do {
    const before = plane.underlay.sent.length;
    turn(plane);
    counts.push(plane.underlay.sent.length - before);
  } while (plane.loop.isPending);
  t.same(counts, [2, 2, 2, 1]);
  t.same(plane.underlay.sent[5].bytes.slice(8), bytes);
  t.match(plane.underlay.sent[5], { gsoSize: 88, segCount: 256, csumStart: 42 });
  plane.checkIdentity(t, 'superframes');
});

t.test('removed peers get no copies of an interrupted flood', async (t) => {
  const plane = new MemoryPlane();
  const first = addMany(plane, 0, MANY);
  plane.addVni(1, 200);
  plane.fromTap(0, arpFrame(BROADCAST, A));
  turn(plane);
  t.equal(plane.underlay.sent.length, COPIES);
  const [removed, otherVni, readded] = [first + COPIES, first + COPIES + 1, first + COPIES + 2];
  for (const peerIdx of [first, removed, otherVni, readded]) plane.removePeer(peerIdx);
  const add = (vniIdx: number, peerIdx: number, address: string, flood: boolean) => {
    const peers = packPeers([{ address: packAddress(address, 4789), flood, pathMtu: 100_000 }]);
    plane.apply({ op: 'peer.add', vniIdx, peers, from: 0, count: 1, peerIdx, generation: 9999 });
  };
  add(1, otherVni, '192.0.2.1', true);
  add(0, readded, '192.0.2.2', false);
  plane.clear();
  turn(plane);
  t.notOk(plane.loop.isPending);
  const expected = Array.from({ length: MANY - COPIES - 3 }, (_, i) => first + COPIES + 3 + i);
  t.same(
    sentTo(plane),
    expected,
    'no copy to a row without a peer, of another VNI, or outside the flood list',
  );
  t.equal(plane.vniCell(0, V_TAP_RX_FRAMES), 1);
  plane.checkIdentity(t, 'peers removed');
});

t.test('removing all peers ends an interrupted flood, and later frames are dropped', async (t) => {
  const plane = new MemoryPlane();
  const first = addMany(plane, 0, MANY);
  for (let i = 0; i < 3; i++) plane.fromTap(0, arpFrame(BROADCAST, A));
  turn(plane);
  for (let i = 0; i < MANY; i++) plane.removePeer(first + i);
  plane.clear();
  turn(plane);
  t.same(sentTo(plane), []);
  t.same(plane.drops(0, 'encap'), { no_tx_target: 2 });
  t.notOk(plane.loop.isPending);
  plane.checkIdentity(t, 'no peers');
});

t.test('removing a VNI discards its backlog, and its row can be used again', async (t) => {
  const plane = new MemoryPlane();
  addMany(plane, 0, MANY);
  for (let i = 0; i < 128; i++) plane.fromTap(0, arpFrame(BROADCAST, A));
  turn(plane);
  plane.loop.ready(0);
  t.ok(plane.loop.isPending);
  plane.apply({ op: 'vni.del', vniIdx: 0 });
  t.notOk(plane.loop.isPending);
  const peerIdx = addMany(plane, 0, 1);
  plane.clear();
  plane.fromTap(0, arpFrame(BROADCAST, B));
  turn(plane);
  t.same(sentTo(plane), [peerIdx]);
  t.equal(plane.vniCell(0, V_TAP_RX_FRAMES), 1);
  plane.checkIdentity(t, 'row used again');
});

t.test('a change applies to the frames of a backlog of which no copy was sent yet', async (t) => {
  const plane = new MemoryPlane();
  const first = addMany(plane, 0, MANY);
  for (let i = 0; i < 3; i++) plane.fromTap(0, ipv4Frame(B, A));
  turn(plane);
  const { high, low } = macParts(B);
  plane.tables.fdb.learn(0, high, low, first + 7, plane.tick);
  plane.clear();
  turn(plane);
  t.same(
    sentTo(plane).slice(MANY - COPIES),
    [first + 7, first + 7],
    'the second and third frame are known unicast',
  );
  plane.checkIdentity(t, 'learned');
});

t.test('when no slot is free, remaining frames and copies are dropped and counted', async (t) => {
  const plane = new MemoryPlane();
  const large = (i: number) => ipv4Frame(BROADCAST, macNumber(i), { payloadLen: 1400 });
  const slotLen = (8 + large(0).length + 63) & ~63;
  for (let vniIdx = 0; vniIdx <= BACKLOG_LARGE_SLOTS; vniIdx++) {
    addMany(plane, vniIdx, PEERS);
    for (let i = 0; i < 100; i++) plane.fromTap(vniIdx, large(i));
    turn(plane, vniIdx);
    plane.checkIdentity(t, `VNI row ${vniIdx}`);
  }
  const last = BACKLOG_LARGE_SLOTS;
  const whole = Math.floor(COPIES / PEERS);
  const copies = (whole + 1) * PEERS - COPIES;
  t.same(plane.drops(last - 1, 'encap'), {}, 'the last VNI with a slot has no drops');
  // The last frames fit into a small slot.
  const kept = Math.floor(BACKLOG_SMALL_LEN / slotLen);
  t.same(plane.drops(last, 'encap'), { fair_share: copies + 100 - whole - 1 - kept });
  t.equal(plane.vniCell(last, V_TAP_RX_FRAMES), 100 - kept);
  t.equal(plane.vniCell(last, V_REPLICATED), (whole + 1) * (PEERS - 1));
  const others = plane.drops(last, 'encap');
  plane.fromTap(last, arpFrame(BROADCAST, A));
  plane.breathe();
  t.same(plane.drops(0, 'encap'), {}, 'frames in a slot are sent');
  t.equal(plane.vniCell(0, V_REPLICATED), 100 * (PEERS - 1));
  t.equal(plane.vniCell(last, V_TAP_RX_FRAMES), 101);
  t.same(plane.drops(last, 'encap'), others, 'frames in a small slot are sent too');
  plane.checkIdentity(t, 'the end');
});

t.test('a few small frames use a small slot, or a large slot when all small slots are used', async (t) => {
  const overlay = new MemoryOverlay();
  const backlog = new Backlog(overlay.arena, 256);
  const batch = new Batch();
  batch.count = 1;
  batch.off[0] = 72;
  batch.len[0] = 60;
  for (let vniIdx = 0; vniIdx < BACKLOG_SMALL_SLOTS + BACKLOG_LARGE_SLOTS; vniIdx++) {
    batch.vniIdx[0] = vniIdx;
    t.ok(backlog.hold(batch, 0), `VNI row ${vniIdx}`);
  }
  batch.vniIdx[0] = 255;
  t.equal(backlog.hold(batch, 0), undefined);
  backlog.release(255);
  backlog.release(3);
  t.ok(backlog.hold(batch, 0), 'a released slot is used again');
  t.equal(backlog.of(3), undefined);
  t.equal(backlog.count, BACKLOG_SMALL_SLOTS + BACKLOG_LARGE_SLOTS);
  const offs = Array.from({ length: 256 }, (_, vniIdx) => backlog.of(vniIdx)?.frames.off[0] ?? -1);
  const used = offs.filter((off) => off >= 0).sort((a, b) => a - b);
  t.equal(new Set(used).size, used.length, 'no two VNIs share a slot');
  t.ok(used[0] - 8 >= overlay.arena.length - BACKLOG_LEN);
  t.ok(used.at(-1)! - 8 + BACKLOG_LARGE_LEN <= overlay.arena.length);
});

t.test('an interrupted flood of an oversized frame is answered once', async (t) => {
  const plane = new MemoryPlane();
  addMany(plane, 0, 1200, 1400);
  plane.fromTap(0, ipv4Frame(B, A, { payloadLen: 1472, fragment: 0x4000 }));
  let turns = 0;
  do {
    turn(plane);
    turns++;
    plane.checkIdentity(t, `turn ${turns}`);
  } while (plane.loop.isPending);
  t.equal(turns, Math.ceil(1200 / COPIES));
  t.equal(plane.overlay.written.length, 1);
  t.equal(plane.vniCell(0, V_TOO_BIG_ICMP), 1);
  t.same(plane.drops(0, 'encap'), { too_big: 1200 });
});

for (const seed of [1, 2, 3])
  t.test(`random frames, removals and turns keep order and VNI, seed ${seed}`, async (t: Test) => {
    const next = random(seed);
    const plane = new MemoryPlane();
    const rows = Array.from({ length: 3 }, (_, vniIdx) => ({
      first: addMany(plane, vniIdx, 250),
      removed: 0,
    }));
    const lastOf = new Map<string, number>();
    for (let step = 0; step < 400; step++) {
      const vniIdx = next(rows.length);
      const choice = next(10);
      if (choice < 4)
        for (let i = next(6); i >= 0; i--) plane.fromTap(vniIdx, arpFrame(BROADCAST, macNumber(step)));
      else if (choice < 9) turn(plane, vniIdx);
      else if (rows[vniIdx].removed < 200) plane.removePeer(rows[vniIdx].first + rows[vniIdx].removed++);
      plane.checkIdentity(t, `step ${step}`);
      for (const { peerIdx, bytes } of plane.underlay.sent) {
        const owner = rows.findIndex(({ first }) => peerIdx >= first && peerIdx < first + 250);
        if (owner < 0 || bytes[6] !== 100 + owner) t.fail(`VNI ${bytes[6]} went to a peer of row ${owner}`);
        const number = Number.parseInt(sourceMac(bytes).slice(4), 16);
        if (number < (lastOf.get(`${peerIdx}`) ?? 0)) t.fail(`peer ${peerIdx}: out of order`);
        lastOf.set(`${peerIdx}`, number);
      }
      plane.clear();
    }
    plane.breathe();
    plane.checkIdentity(t, 'the end');
    for (let vniIdx = 0; vniIdx < rows.length; vniIdx++) t.same(plane.drops(vniIdx, 'encap'), {});
  });

t.test('fragmented copies are charged by their bytes', async (t) => {
  const plane = new MemoryPlane();
  addMany(plane, 0, PEERS, 1400);
  const bytes = ipv4Frame(BROADCAST, A, { protocol: UDP, payloadLen: 8 + 64_000, postponed: true });
  const superframe = {
    gsoType: GSO_UDP_L4,
    gsoSize: 32_000,
    csumStart: 34,
    csumOff: 6,
    flags: FRAME_NEEDS_CSUM,
  };
  plane.overlay.waiting.push({ vniIdx: 0, bytes, superframe });
  let turns = 0;
  do {
    const before = plane.underlay.sent.length;
    turn(plane);
    turns++;
    const sent = plane.underlay.sent.slice(before).reduce((sum, { bytes }) => sum + bytes.length, 0);
    t.ok(sent < 2 * 70_000, `turn ${turns}: ${sent} bytes`);
  } while (plane.loop.isPending);
  t.ok(turns > PEERS / 2);
  plane.checkIdentity(t, 'fragmented copies');
});

t.test('frames that are dropped for lack of a slot are not charged to the next turn', async (t) => {
  const plane = new MemoryPlane();
  addMany(plane, 0, 1500);
  const { hold } = Backlog.prototype;
  t.teardown(() => (Backlog.prototype.hold = hold));
  Backlog.prototype.hold = () => undefined;
  plane.fromTap(0, arpFrame(BROADCAST, A));
  turn(plane);
  t.equal(plane.underlay.sent.length, COPIES);
  Backlog.prototype.hold = hold;
  const { high, low } = macParts(B);
  plane.tables.fdb.learn(0, high, low, 1, plane.tick);
  plane.clear();
  plane.fromTap(0, ipv4Frame(B, A));
  turn(plane);
  t.equal(plane.underlay.sent.length, 1, 'the next frame has a full share');
  plane.checkIdentity(t, 'after a drop');
});
