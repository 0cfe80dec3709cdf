/**
 * Superframes through encap: one decision per superframe, one descriptor per copy, and the counts
 * of its segments.
 */
import t from 'tap';
import { FRAME_NEEDS_CSUM, GSO_TCPV4, GSO_TCPV6, GSO_UDP_L4 } from '../../../src/abi/batch.js';
import {
  P_TX_BYTES,
  P_TX_FRAMES,
  V_FLOODED_BROADCAST,
  V_REPLICATED,
  V_TAP_RX_BYTES,
  V_TAP_RX_FRAMES,
} from '../../../src/exchange/counters.js';
import { BROADCAST, ipv4Frame, ipv6Frame, type PacketOptions, TCP, UDP } from '../../support/frames.js';
import { concat, patched } from '../../support/hex.js';
import { MemoryPlane, vxlanHeader } from '../../support/memory-plane.js';
import type { Superframe } from '../../support/memory-ports.js';

const A = '02:00:00:00:00:0a';
const B = '02:00:00:00:00:0b';
const EINVAL = -22;
const VXLAN_LEN = 8;
const HOP_BY_HOP = Uint8Array.of(TCP, 0, 1, 4, 0, 0, 0, 0);

/** A plane with one VNI and `peers` peers. */
function planeOf(peers: number): { plane: MemoryPlane; peerIdxs: number[] } {
  const plane = new MemoryPlane();
  plane.addVni(0, 100);
  return { plane, peerIdxs: Array.from({ length: peers }, (_, i) => plane.addPeer(0, `192.0.2.${i + 1}`)) };
}

function superframe(gsoType: number, gsoSize: number, csumStart: number): Superframe {
  return { gsoType, gsoSize, csumStart, csumOff: gsoType === GSO_UDP_L4 ? 6 : 16, flags: FRAME_NEEDS_CSUM };
}

const frameOf = (destination: string, options: PacketOptions) =>
  ipv4Frame(destination, A, { postponed: true, ...options });

t.test('a superframe whose columns contradict its headers counts as one frame', async (t) => {
  const frame = frameOf(B, { protocol: TCP, payloadLen: 3000 });
  const good = superframe(GSO_TCPV4, 1000, 34);
  const rows: [string, Superframe, Uint8Array][] = [
    ['no segment size', { ...good, gsoSize: 0 }, frame],
    ['no postponed checksum', { ...good, flags: 0 }, frame],
    ['a header before the frame', { ...good, csumStart: -1 }, frame],
    ['a header behind the frame', { ...good, csumStart: frame.length }, frame],
    ['a header that the frame cuts off', { ...good, csumStart: frame.length - 19 }, frame],
    ['a header at offset 65,535', { ...good, csumStart: 65_535 }, frame],
    ['a TCP header whose length field is 0', good, patched(frame, 34 + 12, 0)],
    ['a TCP header that is longer than the frame', good, patched(frame.slice(0, 34 + 59), 34 + 12, 0xf0)],
    ['no payload', good, frame.slice(0, 54)],
    ['UDP without payload', superframe(GSO_UDP_L4, 100, 34), frame.slice(0, 42)],
    ['a UDP header that the frame cuts off', superframe(GSO_UDP_L4, 100, 38), frame.slice(0, 42)],
  ];
  for (const [name, columns, bytes] of rows) {
    const { plane, peerIdxs } = planeOf(1);
    plane.underlay.sendStatus.set(peerIdxs[0], EINVAL);
    plane.overlay.waiting.push({ vniIdx: 0, bytes, superframe: columns });
    plane.breathe();
    t.equal(plane.vniCell(0, V_TAP_RX_FRAMES), 1, name);
    t.equal(plane.vniCell(0, V_TAP_RX_BYTES), bytes.length, name);
    t.same(plane.drops(0, 'encap'), { no_route: 1 }, name);
    plane.checkIdentity(t, name);
  }
});

t.test('a superframe counts the frames and bytes of its segments', async (t) => {
  const tcp = (payloadLen: number, tags: [number, number][] = []) =>
    frameOf(B, { protocol: TCP, payloadLen, tags });
  const options = patched(tcp(3000), 34 + 12, 0x80);
  /** Name, frame, columns, segments, bytes of headers in each segment. */
  const rows: [string, Uint8Array, Superframe, number, number][] = [
    ['a whole number of segments', tcp(3000), superframe(GSO_TCPV4, 1000, 34), 3, 54],
    ['one byte more than three segments', tcp(3001), superframe(GSO_TCPV4, 1000, 34), 4, 54],
    ['one byte less than three segments', tcp(2999), superframe(GSO_TCPV4, 1000, 34), 3, 54],
    ['with ECN', tcp(3000), superframe(GSO_TCPV4 | 0x80, 1000, 34), 3, 54],
    ['one segment', tcp(1000), superframe(GSO_TCPV4, 1000, 34), 1, 54],
    ['less than one segment', tcp(1), superframe(GSO_TCPV4, 1000, 34), 1, 54],
    ['the largest superframe', tcp(65_495), superframe(GSO_TCPV4, 1398, 34), 47, 54],
    ['the largest number of TCP segments', tcp(65_480), superframe(GSO_TCPV4, 256, 34), 256, 54],
    ['the smallest TCP segments', tcp(22_528), superframe(GSO_TCPV4, 88, 34), 256, 54],
    ['two segments of any size', tcp(2), superframe(GSO_TCPV4, 1, 34), 2, 54],
    [
      'the largest number of UDP segments',
      frameOf(B, { protocol: UDP, payloadLen: 128 }),
      superframe(GSO_UDP_L4, 1, 34),
      128,
      42,
    ],
    ['TCP options', options, superframe(GSO_TCPV4, 1000, 34), 3, 66],
    [
      'two tags',
      tcp(3000, [
        [0x88a8, 1],
        [0x8100, 2],
      ]),
      superframe(GSO_TCPV4, 1000, 42),
      3,
      62,
    ],
    ['UDP', frameOf(B, { protocol: UDP, payloadLen: 3000 }), superframe(GSO_UDP_L4, 1000, 34), 3, 42],
    [
      'IPv6 with an extension header',
      ipv6Frame(B, A, { protocol: TCP, payloadLen: 3000, postponed: true, extension: HOP_BY_HOP }),
      superframe(GSO_TCPV6, 1000, 62),
      3,
      82,
    ],
  ];
  for (const [name, bytes, columns, segments, headersLen] of rows) {
    const { plane, peerIdxs } = planeOf(1);
    plane.overlay.waiting.push({ vniIdx: 0, bytes, superframe: columns });
    plane.breathe();
    const wireLen = bytes.length + (segments - 1) * headersLen;
    t.equal(plane.vniCell(0, V_TAP_RX_FRAMES), segments, name);
    t.equal(plane.vniCell(0, V_TAP_RX_BYTES), wireLen, name);
    t.equal(plane.peerCell(peerIdxs[0], P_TX_FRAMES), segments, name);
    t.equal(plane.peerCell(peerIdxs[0], P_TX_BYTES), wireLen, name);
    t.equal(plane.underlay.sent.length, 1, 'the superframe is sent as one descriptor');
    const [sent] = plane.underlay.sent;
    t.same(
      sent.bytes,
      concat(vxlanHeader(100), bytes),
      'the datagram is one VXLAN header and the unchanged superframe',
    );
    t.equal(
      sent.csumStart,
      VXLAN_LEN + columns.csumStart,
      'csumStart is an offset from the first byte of the datagram',
    );
    t.equal(sent.segCount, segments);
    plane.checkIdentity(t, name);
  }
});

t.test('a superframe with too small or too many segments is dropped and counts once', async (t) => {
  const tcp = (payloadLen: number) => frameOf(BROADCAST, { protocol: TCP, payloadLen });
  const tcp6 = ipv6Frame(BROADCAST, A, { protocol: TCP, payloadLen: 3000, postponed: true });
  const udp = (payloadLen: number) => frameOf(B, { protocol: UDP, payloadLen });
  const rows: [string, Uint8Array, Superframe][] = [
    ['segments of one byte', tcp(65_000), superframe(GSO_TCPV4, 1, 34)],
    ['three segments of one byte', tcp(3), superframe(GSO_TCPV4, 1, 34)],
    ['TCP segments below 88 bytes', tcp(3000), superframe(GSO_TCPV4, 87, 34)],
    ['TCP with ECN', tcp(3000), superframe(GSO_TCPV4 | 0x80, 87, 34)],
    ['TCP over IPv6', tcp6, superframe(GSO_TCPV6, 87, 54)],
    ['257 TCP segments', tcp(88 * 256 + 1), superframe(GSO_TCPV4, 88, 34)],
    ['129 UDP segments', udp(129), superframe(GSO_UDP_L4, 1, 34)],
    ['129 large UDP segments', udp(500 * 128 + 1), superframe(GSO_UDP_L4, 500, 34)],
  ];
  for (const [name, bytes, columns] of rows) {
    const { plane } = planeOf(10);
    plane.overlay.waiting.push({ vniIdx: 0, bytes, superframe: columns });
    plane.breathe();
    t.equal(plane.underlay.sent.length, 0, name);
    t.same(plane.drops(0, 'encap'), { segments: 1 }, name);
    t.equal(plane.vniCell(0, V_TAP_RX_FRAMES), 1, name);
    t.equal(plane.vniCell(0, V_TAP_RX_BYTES), bytes.length, name);
    t.equal(plane.vniCell(0, V_REPLICATED), 0, name);
    plane.checkIdentity(t, name);
  }
});

t.test('a flooded superframe is one descriptor per copy, and each copy counts', async (t) => {
  const { plane, peerIdxs } = planeOf(3);
  plane.underlay.sendStatus.set(peerIdxs[1], -101);
  const bytes = frameOf(BROADCAST, { protocol: UDP, payloadLen: 5000 });
  plane.overlay.waiting.push({ vniIdx: 0, bytes, superframe: superframe(GSO_UDP_L4, 1000, 34) });
  plane.breathe();
  t.equal(plane.underlay.sent.length, 2);
  t.equal(plane.vniCell(0, V_TAP_RX_FRAMES), 5);
  t.equal(plane.vniCell(0, V_REPLICATED), 10);
  t.equal(plane.vniCell(0, V_FLOODED_BROADCAST), 5);
  t.same(plane.drops(0, 'encap'), { no_route: 5 });
  plane.checkIdentity(t, 'flood');
});

t.test('a plain frame after a superframe in the same batch counts as one frame', async (t) => {
  const { plane } = planeOf(1);
  const bytes = frameOf(B, { protocol: TCP, payloadLen: 3000 });
  for (let i = 0; i < 4; i++) {
    const isSuper = i % 2 === 0;
    plane.overlay.waiting.push({
      vniIdx: 0,
      bytes,
      ...(isSuper && { superframe: superframe(GSO_TCPV4, 1000, 34) }),
    });
  }
  plane.breathe();
  t.same(
    plane.underlay.sent.map(({ segCount }) => segCount),
    [3, 1, 3, 1],
  );
  plane.checkIdentity(t, 'mixed');
});
