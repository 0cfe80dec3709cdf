import t from 'tap';
import { Batch } from '../../../src/abi/batch.js';
import { ERRNO } from '../../../src/abi/errno.js';
import {
  P_RX_FRAMES,
  P_TX_BYTES,
  P_TX_FRAMES,
  V_REPLICATED,
  V_TAP_RX_BYTES,
  V_TAP_RX_FRAMES,
  V_TAP_TX_FRAMES,
} from '../../../src/exchange/counters.js';
import { DROP, type DropReason } from '../../../src/exchange/drop-reason.js';
import { packPeers } from '../../../src/exchange/protocol.js';
import { accountDecap, accountEncap, sendFailure, writeFailure } from '../../../src/switch/frame/account.js';
import { FRAME_FIRST_COPY, STATUS_PENDING } from '../../../src/switch/port/port.js';
import { dropIndex, MAX_PEERS, MemoryPlane } from '../../support/memory-plane.js';

t.test('every errno maps to its drop reason', async (t) => {
  const sends: [keyof typeof ERRNO, DropReason][] = [
    ['EMSGSIZE', 'too_big'],
    ['EAGAIN', 'underlay_full'],
    ['ENOBUFS', 'underlay_full'],
    ['ENOMEM', 'no_slot'],
    ['EPERM', 'no_route'],
    ['ENETUNREACH', 'no_route'],
    ['EHOSTUNREACH', 'no_route'],
    ['ECONNREFUSED', 'no_route'],
    ['ENETDOWN', 'no_route'],
    ['EINVAL', 'no_route'],
    ['EAFNOSUPPORT', 'no_route'],
  ];
  for (const [name, reason] of sends) t.equal(sendFailure(-ERRNO[name]), DROP[reason], `sending: ${name}`);
  const writes: [keyof typeof ERRNO, DropReason][] = [
    ['EIO', 'overlay_down'],
    ['EBADF', 'overlay_down'],
    ['ENODEV', 'overlay_down'],
    ['EAGAIN', 'overlay_full'],
    ['ENOBUFS', 'overlay_full'],
    ['ENOMEM', 'overlay_full'],
    ['EFBIG', 'too_big'],
    ['EMSGSIZE', 'too_big'],
    ['EINVAL', 'invalid_hdr'],
    ['EFAULT', 'invalid_hdr'],
  ];
  for (const [name, reason] of writes) t.equal(writeFailure(-ERRNO[name]), DROP[reason], `writing: ${name}`);
  const EBADFD = 77;
  t.equal(writeFailure(-EBADFD), DROP.overlay_down, 'writing: EBADFD');
});

const CLOCK = Float64Array.of(1.7e12);

function makePlane(): { plane: MemoryPlane; peer: number; batch: Batch } {
  const plane = new MemoryPlane();
  plane.addVni(0, 100);
  const peer = plane.addPeer(0, '192.0.2.1');
  const batch = new Batch();
  batch.peerIdx.fill(peer);
  batch.segCount.fill(1);
  batch.wireLen.fill(60);
  batch.flags.fill(FRAME_FIRST_COPY);
  return { plane, peer, batch };
}

t.test('a pending descriptor is not counted until it completes', async (t) => {
  const { plane, peer, batch } = makePlane();
  batch.count = 2;
  batch.status[0] = STATUS_PENDING;
  accountEncap(batch, plane.tables);
  t.equal(plane.vniCell(0, V_TAP_RX_FRAMES), 1);
  t.equal(plane.peerCell(peer, P_TX_FRAMES), 1);
  batch.count = 1;
  batch.status[0] = -ERRNO.ECONNREFUSED;
  accountEncap(batch, plane.tables);
  t.equal(plane.vniCell(0, V_TAP_RX_FRAMES), 2);
  t.same(plane.drops(0, 'encap'), { no_route: 1 });
  plane.checkIdentity(t, 'after both');
});

t.test('a superframe counts as its segments on the wire', async (t) => {
  const { plane, peer, batch } = makePlane();
  batch.count = 3;
  batch.segCount[0] = 43;
  batch.wireLen[0] = 62_000;
  batch.segCount[1] = 10;
  batch.flags[1] = 0;
  batch.segCount[2] = 5;
  batch.verdict[2] = dropIndex('too_big');
  accountEncap(batch, plane.tables);
  t.equal(plane.vniCell(0, V_TAP_RX_FRAMES), 48);
  t.equal(plane.vniCell(0, V_TAP_RX_BYTES), 62_060);
  t.equal(plane.vniCell(0, V_REPLICATED), 10);
  t.equal(plane.peerCell(peer, P_TX_FRAMES), 53);
  t.equal(plane.peerCell(peer, P_TX_BYTES), 62_060);
  t.same(plane.drops(0, 'encap'), { too_big: 5 });
  batch.status.fill(0);
  accountDecap(batch, plane.memory.counters, CLOCK);
  t.equal(plane.peerCell(peer, P_RX_FRAMES), 58);
  t.equal(plane.vniCell(0, V_TAP_TX_FRAMES), 53);
  t.same(plane.drops(0, 'decap'), { too_big: 5 });
  plane.checkIdentity(t, 'after both');
});

t.test('a drop without VNI changes no VNI row, nor the row before the first', async (t) => {
  const { plane, batch } = makePlane();
  batch.count = 1;
  batch.vniIdx[0] = -1;
  batch.peerIdx[0] = -1;
  batch.verdict[0] = dropIndex('vni_not_found');
  accountDecap(batch, plane.memory.counters, CLOCK);
  t.same(plane.drops(-1, 'decap'), { vni_not_found: 1 });
  t.same(plane.drops(0, 'decap'), {});
  t.equal(plane.vniCell(0, V_TAP_TX_FRAMES), 0);
});

t.test('sends that complete after their peer was removed count in the other row', async (t) => {
  const { plane, peer, batch } = makePlane();
  plane.addVni(1, 200);
  const other = plane.tables.vnis.otherIdx[0];
  batch.count = 1;
  accountEncap(batch, plane.tables);
  plane.removePeer(peer);
  t.equal(plane.peerCell(other, P_TX_FRAMES), 1, 'the earlier counts of the removed peer are kept');
  plane.checkIdentity(t, 'after the peer was removed');
  accountEncap(batch, plane.tables);
  t.equal(plane.peerCell(other, P_TX_FRAMES), 2, 'a late completion counts in the other row');
  plane.checkIdentity(t, 'after the late completion');
  const address = { family: 4 as const, bytes: new Uint8Array(16).fill(9, 0, 4), port: 4789, scopeId: 0 };
  const peers = packPeers([{ address, flood: true, pathMtu: 1500 }]);
  plane.apply({ op: 'peer.add', vniIdx: 1, peers, from: 0, count: 1, peerIdx: peer, generation: 99 });
  accountEncap(batch, plane.tables);
  t.equal(
    plane.peerCell(peer, P_TX_FRAMES),
    0,
    'a late completion does not count for the new peer of the row, which belongs to another VNI',
  );
  plane.checkIdentity(t, 'after the row was reused');
  batch.peerIdx[0] = MAX_PEERS - 1;
  accountEncap(batch, plane.tables);
  t.equal(plane.peerCell(other, P_TX_FRAMES), 4, 'a learned peer counts in the other row');
  plane.checkIdentity(t, 'after the send to a learned peer');
});
