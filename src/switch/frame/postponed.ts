/**
 * Checksums and segmentation that a same-host sender postponed.
 *
 * Over veth, the kernel leaves checksums and segmentation to a network card that never sees the
 * packet. From kernel vxlan on the same host, a UDP socket therefore receives
 * (docs/architecture/offloads.md, Same-host peers):
 *
 * 1. inner TCP and UDP whose checksum field holds the pseudo-header sum only,
 * 2. an inner TCP superframe of up to 64 KB as one datagram, with no control message.
 *
 * `describeFrame` detects these and fills the columns with which a TAP write lets the kernel
 * complete checksum and segmentation. A frame that crossed a network card has complete checksums
 * and is no superframe, so it passes unchanged. One correct checksum in 65,535 equals the
 * pseudo-header sum; the kernel then computes that checksum again, and the frame stays valid.
 *
 * No byte of a frame decides how many datagrams a descriptor holds: a segment size from the kernel
 * always means a train, and each datagram of it is described by itself (`decap.ts`). A false length
 * field thus affects only its own frame.
 *
 * Reads headers only, each after its bounds are checked. Allocates nothing.
 */
import { type Batch, FRAME_NEEDS_CSUM, GSO_NONE, GSO_TCPV4, GSO_TCPV6 } from '../../abi/batch.js';
import { pseudoHeaderSumIpv4, pseudoHeaderSumIpv6 } from '../../wire/checksum.js';
import { networkOffset } from '../../wire/ethernet.js';
import { isIpv4, packetEnd, transport } from '../../wire/ip-packet.js';
import { PROTOCOL_TCP, PROTOCOL_UDP } from '../../wire/ipv4.js';
import { transportOffset, transportProtocol } from '../../wire/ipv6.js';
import * as tcp from '../../wire/tcp.js';
import * as udp from '../../wire/udp.js';

/**
 * Shortest segment that a superframe is cut into, bytes; this allows at most 256 segments. No
 * sender postpones the segmentation into shorter segments. Without this limit, a crafted frame
 * whose headers nearly fill the overlay MTU would become tens of thousands of frames.
 */
const SHORTEST_SEGMENT = 256;

/**
 * Result of `describeFrame`: a superframe whose segments would be shorter than SHORTEST_SEGMENT.
 */
export const SEGMENTS_TOO_SHORT = -2;

/**
 * Sets gsoType, gsoSize, csumStart, csumOff, segCount and wireLen of descriptor i, and
 * FRAME_NEEDS_CSUM in its flags. The caller has set off and len.
 *
 * @param overlayMtu largest IP packet of the overlay, bytes; segments are made no larger
 * @returns offset of the network header; −1 when there is none; SEGMENTS_TOO_SHORT
 */
export function describeFrame(b: Uint8Array, batch: Batch, i: number, overlayMtu: number): number {
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
    if (!finishLater(b, batch, i, ip, l4, ipEnd, field, overlayMtu)) return SEGMENTS_TOO_SHORT;
  }
  return ip;
}

/** Returns the offset of the checksum in a complete TCP or UDP header; −1 for any other header. */
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

/**
 * Marks a postponed checksum for the kernel to complete, and TCP larger than the overlay MTU for
 * the kernel to segment.
 *
 * @returns false when the segments of the frame would be too short
 */
function finishLater(
  b: Uint8Array,
  batch: Batch,
  i: number,
  ip: number,
  l4: number,
  ipEnd: number,
  field: number,
  mtu: number,
): boolean {
  batch.flags[i] |= FRAME_NEEDS_CSUM;
  batch.csumStart[i] = l4 - batch.off[i];
  batch.csumOff[i] = field;
  if (field !== tcp.CHECKSUM_OFF || ipEnd - ip <= mtu) return true;
  const headerEnd = l4 + tcp.headerLen(b, l4);
  const segmentLen = mtu - (headerEnd - ip);
  const payloadLen = ipEnd - headerEnd;
  if (segmentLen < SHORTEST_SEGMENT) return false;
  batch.gsoType[i] = isIpv4(b, ip) ? GSO_TCPV4 : GSO_TCPV6;
  batch.gsoSize[i] = segmentLen;
  batch.segCount[i] = Math.ceil(payloadLen / segmentLen);
  batch.wireLen[i] = batch.len[i] + (batch.segCount[i] - 1) * (headerEnd - batch.off[i]);
  return true;
}
