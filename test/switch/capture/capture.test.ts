import t from 'tap';
import { FRAME_NEEDS_CSUM, GSO_TCPV4 } from '../../../src/abi/batch.js';
import { type Captured, CaptureRing, createCaptureRing } from '../../../src/exchange/capture-ring.js';
import { arpFrame, BROADCAST, ipv4Frame, macNumber, TCP } from '../../support/frames.js';
import { concat } from '../../support/hex.js';
import { MemoryPlane, vxlanHeader } from '../../support/memory-plane.js';

const PEER = '192.0.2.1';
const ETHERNET_AND_IPV4 = 34;

function makePlane() {
  const plane = new MemoryPlane();
  plane.addVni(0, 100);
  plane.addVni(1, 200);
  const peer = plane.addPeer(0, PEER);
  plane.addPeer(1, PEER);
  const start = (point: 'overlay' | 'underlay', vniIdx = -1, snapLen = 262144) => {
    const buffer = createCaptureRing();
    plane.apply({ op: 'capture', on: true, vniIdx, point, snapLen, ring: buffer });
    return () => read(new CaptureRing(buffer));
  };
  return { plane, peer, start };
}

/** Copies and releases all packets of a ring. */
function read(ring: CaptureRing): Captured[] {
  const packets: Captured[] = [];
  for (let packet = ring.first(); packet; packet = ring.first()) {
    packets.push({ ...packet, bytes: packet.bytes.slice() });
    ring.release();
  }
  return packets;
}

t.test('overlay: records exactly the frames read from and written to the TAP', async (t) => {
  const { plane, start } = makePlane();
  const captured = start('overlay', 0);
  const out = arpFrame(BROADCAST, macNumber(1));
  const back = arpFrame(macNumber(1), macNumber(2));
  plane.fromTap(0, out);
  plane.fromTap(1, out);
  plane.fromPeer(PEER, 100, back);
  plane.fromPeer(PEER, 200, back);
  plane.fromPeer('198.51.100.1', 100, back);
  plane.breathe();
  const none = { peerIdx: -1, sourcePort: 0, tos: 0 };
  t.match(captured(), [
    { ...none, received: false, vniIdx: 0, len: out.length, bytes: out, atMs: 1e12 - plane.nowMs },
    { ...none, received: true, vniIdx: 0, len: back.length, bytes: back },
  ]);
  plane.apply({
    op: 'capture',
    on: false,
    vniIdx: 0,
    point: 'overlay',
    snapLen: 0,
    ring: createCaptureRing(),
  });
  plane.fromTap(0, out);
  plane.breathe();
  t.same(captured(), []);
});

t.test('overlay: a superframe is one packet, and so is an ICMP too-big answer', async (t) => {
  const plane = new MemoryPlane();
  plane.addVni(0, 100);
  plane.addPeer(0, PEER, { pathMtu: 1500 });
  const buffer = createCaptureRing();
  plane.apply({ op: 'capture', on: true, vniIdx: -1, point: 'overlay', snapLen: 60, ring: buffer });
  const frame = ipv4Frame(macNumber(9), macNumber(1), { protocol: TCP, payloadLen: 3000, postponed: true });
  const superframe = {
    gsoType: GSO_TCPV4,
    gsoSize: 1400,
    csumStart: ETHERNET_AND_IPV4,
    csumOff: 16,
    flags: FRAME_NEEDS_CSUM,
  };
  plane.overlay.waiting.push({ vniIdx: 0, bytes: frame, superframe });
  plane.fromTap(0, ipv4Frame(macNumber(9), macNumber(1), { payloadLen: 1472, fragment: 0x4000 }));
  plane.breathe();
  t.match(read(new CaptureRing(buffer)), [
    { received: false, len: frame.length, bytes: frame.slice(0, 60) },
    { received: false, len: 1514 },
    { received: true, vniIdx: 0 },
  ]);
});

t.test('underlay: records datagrams in both directions with the known outer header fields', async (t) => {
  const { plane, peer, start } = makePlane();
  const captured = start('underlay', 0);
  const out = ipv4Frame(macNumber(9), macNumber(1), { tos: 0x28 });
  const back = arpFrame(macNumber(1), macNumber(2));
  plane.fromTap(0, out);
  plane.fromTap(1, out);
  plane.breathe();
  t.match(captured(), [
    {
      received: false,
      peerIdx: peer,
      vniIdx: 0,
      tos: 0x28,
      len: out.length + 8,
      bytes: concat(vxlanHeader(100), out),
    },
  ]);
  plane.fromUnderlay(PEER, concat(vxlanHeader(100), back), 0, 0x03);
  plane.fromPeer(PEER, 200, back);
  plane.fromPeer('198.51.100.1', 100, back);
  plane.breathe();
  t.match(captured(), [
    { received: true, peerIdx: peer, sourcePort: 50000, tos: 3, bytes: concat(vxlanHeader(100), back) },
    { received: true, peerIdx: -1 },
  ]);
});

t.test(
  'underlay: a train is recorded datagram by datagram; invalid datagrams are recorded without a VNI filter',
  async (t) => {
    const { plane, start } = makePlane();
    const captured = start('underlay');
    const one = concat(vxlanHeader(100), arpFrame(macNumber(1), macNumber(2)));
    const shorter = one.slice(0, 40);
    plane.fromUnderlay(PEER, concat(one, one, shorter), one.length);
    plane.fromUnderlay(PEER, concat(vxlanHeader(999), one.slice(8)));
    plane.fromUnderlay(PEER, Uint8Array.of(1, 2, 3));
    plane.breathe();
    t.match(captured(), [
      { vniIdx: 0, bytes: one },
      { vniIdx: 0, bytes: one },
      { vniIdx: 0, bytes: shorter },
      { vniIdx: -1, peerIdx: -1, len: one.length },
      { vniIdx: -1, len: 3 },
    ]);
  },
);

t.test('source ports are recorded where they are known', async (t) => {
  const { plane } = makePlane();
  const ring = new CaptureRing(createCaptureRing());
  const sourcePorts = Array.from({ length: 256 }, (_, i) => 50_000 + i);
  plane.capture.start({ vniIdx: -1, point: 'underlay', snapLen: 100, ring, sourcePorts });
  plane.fromTap(0, arpFrame(BROADCAST, macNumber(1)));
  plane.breathe();
  t.equal(read(ring)[0].sourcePort, 50_000 + plane.underlay.sent[0].srcPortIdx);
  plane.capture.start({ vniIdx: -1, point: 'overlay', snapLen: 100, ring, sourcePorts });
  plane.fromTap(0, arpFrame(BROADCAST, macNumber(1)));
  plane.breathe();
  t.equal(read(ring)[0].sourcePort, 0, 'frames have no source port');
});

t.test('the capture of a removed VNI ends, and the next VNI with its row is not captured', async (t) => {
  const { plane, start } = makePlane();
  const captured = start('overlay', 1);
  plane.apply({ op: 'vni.del', vniIdx: 1 });
  plane.addVni(1, 300);
  plane.fromTap(1, arpFrame(BROADCAST, macNumber(1)));
  plane.breathe();
  t.same(captured(), []);
  t.same([plane.capture.overlay, plane.capture.underlay], [false, false]);
});
