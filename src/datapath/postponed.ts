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
import { networkOffset } from '../wire/ethernet.js';
import { isIpv4, packetEnd, transport } from '../wire/ip-packet.js';
import { PROTOCOL_TCP, PROTOCOL_UDP } from '../wire/ipv4.js';
import { transportOffset, transportProtocol } from '../wire/ipv6.js';
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
 * @returns where the network header begins; −1: nowhere
 */
export function describeFrame(
  b: Uint8Array,
  batch: Batch,
  i: number,
  statedSize: number,
  overlayMtu: number,
): number {
  const off = batch.off[i];
  const end = off + batch.len[i];
  batch.gsoType[i] = GSO_NONE;
  batch.gsoSize[i] = 0;
  batch.segCount[i] = 1;
  batch.wireLen[i] = batch.len[i];
  const ip = networkOffset(b, off, end);
  const ipEnd = ip < 0 ? -1 : packetEnd(b, ip, end);
  const found = ipEnd < 0 ? -1 : transport(b, ip, ipEnd);
  if (found < 0) return ip;
  const protocol = transportProtocol(found);
  const l4 = ip + transportOffset(found);
  const field = checksumField(b, protocol, l4, ipEnd);
  if (field >= 0 && stored(b, l4 + field) === pseudoHeaderSum(b, ip, protocol, ipEnd - l4)) {
    finishLater(b, batch, i, ip, l4, ipEnd, field, statedSize, overlayMtu);
  }
  return ip;
}

/**
 * Is a datagram with a stated segment size one superframe (case 3), or a train of datagrams? A train's first frame
 * ends within the first segment; a superframe's IP packet is longer.
 *
 * @param off of the inner frame @param end of the whole datagram @param segmentEnd of its first segment
 */
export function isSuperframe(b: Uint8Array, off: number, end: number, segmentEnd: number): boolean {
  const ip = networkOffset(b, off, end);
  return ip >= 0 && packetEnd(b, ip, end) > segmentEnd;
}

/** Offset of the checksum in a TCP or UDP header that is all there; −1: neither, or cut off. */
function checksumField(b: Uint8Array, protocol: number, l4: number, end: number): number {
  if (protocol === PROTOCOL_TCP) return tcp.check(b, l4, end) ? tcp.CHECKSUM_OFF : -1;
  if (protocol === PROTOCOL_UDP) return end - l4 >= udp.UDP_LEN ? udp.CHECKSUM_OFF : -1;
  return -1;
}

function pseudoHeaderSum(b: Uint8Array, ip: number, protocol: number, l4Len: number): number {
  return isIpv4(b, ip)
    ? pseudoHeaderSumIpv4(b, ip, protocol, l4Len)
    : pseudoHeaderSumIpv6(b, ip, protocol, l4Len);
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
  ipEnd: number,
  field: number,
  statedSize: number,
  mtu: number,
): void {
  batch.flags[i] |= FRAME_NEEDS_CSUM;
  batch.csumStart[i] = l4 - batch.off[i];
  batch.csumOff[i] = field;
  const isTcp = field === tcp.CHECKSUM_OFF;
  const headerEnd = l4 + (isTcp ? tcp.headerLen(b, l4) : udp.UDP_LEN);
  const segmentLen = isTcp ? (ipEnd - ip > mtu ? mtu - (headerEnd - ip) : 0) : statedSize;
  const payloadLen = ipEnd - headerEnd;
  if (segmentLen < (isTcp ? SHORTEST_SEGMENT : 1) || payloadLen <= segmentLen) return;
  batch.gsoType[i] = !isTcp ? GSO_UDP_L4 : isIpv4(b, ip) ? GSO_TCPV4 : GSO_TCPV6;
  batch.gsoSize[i] = segmentLen;
  batch.segCount[i] = Math.ceil(payloadLen / segmentLen);
  batch.wireLen[i] = batch.len[i] + (batch.segCount[i] - 1) * (headerEnd - batch.off[i]);
}
