/**
 * What a peer on the same machine left for a network card to do. Over veth, checksums and segmentation are
 * postponed, and a UDP socket facing kernel vxlan receives (docs/architecture.md, Same-host peers):
 *
 * 1. inner TCP and UDP whose checksum field holds the pseudo-header sum only,
 * 2. an inner TCP superframe of up to 64 KB as one datagram, with no control message,
 * 3. an inner UDP superframe as one datagram whose control message states the *inner* segment size.
 *
 * `describeFrame` finds these and fills the columns with which a TAP write lets the kernel finish the job. A
 * frame from a real wire has none of it and passes as it is. A true checksum equals the pseudo-header sum once in
 * 65,535 times; the kernel then computes it anew, and the frame stays valid.
 *
 * Reads headers only, each after its bounds are checked. Allocates nothing.
 */
import { type Batch, FRAME_NEEDS_CSUM, GSO_NONE, GSO_TCPV4, GSO_TCPV6, GSO_UDP_L4 } from '../frame/batch.js';
import { pseudoHeaderSumIpv4, pseudoHeaderSumIpv6 } from '../wire/checksum.js';
import {
  ETHERTYPE_ARP,
  ETHERTYPE_IPV4,
  ETHERTYPE_IPV6,
  networkEtherType,
  networkOffset,
} from '../wire/ethernet.js';
import * as ipv4 from '../wire/ipv4.js';
import * as ipv6 from '../wire/ipv6.js';
import * as tcp from '../wire/tcp.js';
import * as udp from '../wire/udp.js';

/**
 * Shortest segment that a superframe is cut into, bytes. No sender postpones shorter ones; a crafted frame whose
 * headers nearly fill the overlay MTU would become tens of thousands of frames.
 */
const SHORTEST_SEGMENT = 256;

/**
 * Sets gsoType, gsoSize, csumStart, csumOff, segCount and wireLen of descriptor i, and FRAME_NEEDS_CSUM in its
 * flags. off and len are set already.
 *
 * @param statedSize segment size that came with the datagram, or 0
 * @param overlayMtu largest IP packet of the overlay: segments are made no larger
 * @returns true for ARP, which is rare, and which somebody may want to look at
 */
export function describeFrame(
  b: Uint8Array,
  batch: Batch,
  i: number,
  statedSize: number,
  overlayMtu: number,
): boolean {
  const off = batch.off[i];
  const end = off + batch.len[i];
  batch.gsoType[i] = GSO_NONE;
  batch.gsoSize[i] = 0;
  batch.segCount[i] = 1;
  batch.wireLen[i] = batch.len[i];
  const network = networkOffset(b, off, end);
  if (network < 0) return false;
  const type = networkEtherType(b, network);
  if (type === ETHERTYPE_IPV4 && ipv4.check(b, network, end))
    describeIpv4(b, batch, i, network, statedSize, overlayMtu);
  else if (type === ETHERTYPE_IPV6 && ipv6.check(b, network, end)) {
    describeIpv6(b, batch, i, network, statedSize, overlayMtu);
  } else return type === ETHERTYPE_ARP;
  return false;
}

/**
 * Is a datagram with a stated segment size one superframe (case 3), or a train of datagrams? A train's first frame
 * ends within the first segment; a superframe's IP packet is longer.
 *
 * @param off of the inner frame @param end of the whole datagram @param segmentEnd of its first segment
 */
export function isSuperframe(b: Uint8Array, off: number, end: number, segmentEnd: number): boolean {
  const network = networkOffset(b, off, end);
  if (network < 0) return false;
  const type = networkEtherType(b, network);
  if (type === ETHERTYPE_IPV4) {
    return ipv4.check(b, network, end) && network + ipv4.totalLen(b, network) > segmentEnd;
  }
  if (type !== ETHERTYPE_IPV6 || !ipv6.check(b, network, end)) return false;
  return network + ipv6.IPV6_LEN + ipv6.payloadLen(b, network) > segmentEnd;
}

function describeIpv4(
  b: Uint8Array,
  batch: Batch,
  i: number,
  ip: number,
  statedSize: number,
  mtu: number,
): void {
  if (ipv4.isFragment(b, ip)) return;
  const protocol = ipv4.protocol(b, ip);
  const l4 = ip + ipv4.headerLen(b, ip);
  const packetEnd = ip + ipv4.totalLen(b, ip);
  const field = checksumField(b, protocol, l4, packetEnd);
  if (field < 0 || stored(b, l4 + field) !== pseudoHeaderSumIpv4(b, ip, protocol, packetEnd - l4)) return;
  finishLater(
    b,
    batch,
    i,
    ip,
    l4,
    packetEnd,
    field,
    protocol === ipv4.PROTOCOL_TCP ? GSO_TCPV4 : GSO_UDP_L4,
    statedSize,
    mtu,
  );
}

function describeIpv6(
  b: Uint8Array,
  batch: Batch,
  i: number,
  ip: number,
  statedSize: number,
  mtu: number,
): void {
  const packetEnd = ip + ipv6.IPV6_LEN + ipv6.payloadLen(b, ip);
  const found = ipv6.transport(b, ip, packetEnd);
  if (found < 0) return;
  const protocol = ipv6.transportProtocol(found);
  const l4 = ip + ipv6.transportOffset(found);
  const field = checksumField(b, protocol, l4, packetEnd);
  if (field < 0 || stored(b, l4 + field) !== pseudoHeaderSumIpv6(b, ip, protocol, packetEnd - l4)) return;
  finishLater(
    b,
    batch,
    i,
    ip,
    l4,
    packetEnd,
    field,
    protocol === ipv4.PROTOCOL_TCP ? GSO_TCPV6 : GSO_UDP_L4,
    statedSize,
    mtu,
  );
}

/** Offset of the checksum in a TCP or UDP header that is all there; −1: neither, or cut off. */
function checksumField(b: Uint8Array, protocol: number, l4: number, end: number): number {
  if (protocol === ipv4.PROTOCOL_TCP) return tcp.check(b, l4, end) ? tcp.CHECKSUM_OFF : -1;
  if (protocol === ipv4.PROTOCOL_UDP) return end - l4 >= udp.UDP_LEN ? udp.CHECKSUM_OFF : -1;
  return -1;
}

function stored(b: Uint8Array, off: number): number {
  return (b[off] << 8) | b[off + 1];
}

/** Checksum postponed: the kernel is to finish it, and to segment what is larger than the overlay carries. */
function finishLater(
  b: Uint8Array,
  batch: Batch,
  i: number,
  ip: number,
  l4: number,
  packetEnd: number,
  field: number,
  gsoType: number,
  statedSize: number,
  mtu: number,
): void {
  batch.flags[i] |= FRAME_NEEDS_CSUM;
  batch.csumStart[i] = l4 - batch.off[i];
  batch.csumOff[i] = field;
  const isTcp = field === tcp.CHECKSUM_OFF;
  const headerEnd = l4 + (isTcp ? tcp.headerLen(b, l4) : udp.UDP_LEN);
  const segmentLen = isTcp ? (packetEnd - ip > mtu ? mtu - (headerEnd - ip) : 0) : statedSize;
  const payloadLen = packetEnd - headerEnd;
  if (segmentLen < (isTcp ? SHORTEST_SEGMENT : 1) || payloadLen <= segmentLen) return;
  batch.gsoType[i] = gsoType;
  batch.gsoSize[i] = segmentLen;
  batch.segCount[i] = Math.ceil(payloadLen / segmentLen);
  batch.wireLen[i] = batch.len[i] + (batch.segCount[i] - 1) * (headerEnd - batch.off[i]);
}
