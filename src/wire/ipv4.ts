/**
 * IPv4 header (RFC 791 §3.1).
 *
 *      0                   1                   2                   3
 *      0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
 *     +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
 *     |Version|  IHL  |  DSCP |  |ECN |         Total length          |
 *     |        Identification         |0|D|M|     Fragment offset     |
 *     | Time to live  |   Protocol    |        Header checksum        |
 *     |                        Source address                         |
 *     |                      Destination address                      |
 *     |                    Options (0 … 40 bytes)                     |
 *     +---------------------------------------------------------------+
 *
 * Call `check` once; the accessors do not check bounds. The header checksum is not verified here:
 * the receiving stack verifies it.
 */

/** Length of a header without options, bytes. */
export const IPV4_LEN = 20;
/** First byte of a header without options. */
export const PLAIN_IPV4 = 0x45;
/** Longest packet, bytes: the maximum of the total length field. */
export const IPV4_PACKET_MAX = 65535;
export const PROTOCOL_ICMP = 1;
export const PROTOCOL_TCP = 6;
export const PROTOCOL_UDP = 17;
export const PROTOCOL_SCTP = 132;

export const TOS_OFF = 1;
export const TOTAL_LEN_OFF = 2;
export const ID_OFF = 4;
export const FRAGMENT_OFF = 6;
export const TTL_OFF = 8;
export const PROTOCOL_OFF = 9;
export const CHECKSUM_OFF = 10;
export const SOURCE_OFF = 12;
export const DESTINATION_OFF = 16;

/** D, in the 16 bits at FRAGMENT_OFF. */
const DONT_FRAGMENT = 0x4000;
/** M, in the 16 bits at FRAGMENT_OFF. */
export const MORE_FRAGMENTS = 0x2000;
/** Fragment offset, in the 16 bits at FRAGMENT_OFF. */
export const FRAGMENT_OFFSET_MASK = 0x1fff;
const FRAGMENT_MASK = MORE_FRAGMENTS | FRAGMENT_OFFSET_MASK;

/**
 * Returns true if an IPv4 header is present, its lengths are consistent, and the packet ends at or
 * before `end`.
 */
export function check(b: Uint8Array, off: number, end: number): boolean {
  if (end - off < IPV4_LEN || b[off] >>> 4 !== 4) return false;
  const total = totalLen(b, off);
  const header = headerLen(b, off);
  return header >= IPV4_LEN && total >= header && total <= end - off;
}

/** Bytes of the header including options, 20 … 60. */
export function headerLen(b: Uint8Array, off: number): number {
  return (b[off] & 0x0f) << 2;
}

/** Bytes of header and payload, without Ethernet padding. */
export function totalLen(b: Uint8Array, off: number): number {
  return (b[off + TOTAL_LEN_OFF] << 8) | b[off + TOTAL_LEN_OFF + 1];
}

/** DSCP (6 bits) and ECN (2 bits). */
export function tos(b: Uint8Array, off: number): number {
  return b[off + TOS_OFF];
}

export function protocol(b: Uint8Array, off: number): number {
  return b[off + PROTOCOL_OFF];
}

/**
 * Returns true for a fragment, including the first: the payload is not a whole transport packet.
 */
export function isFragment(b: Uint8Array, off: number): boolean {
  return (fragmentField(b, off) & FRAGMENT_MASK) !== 0;
}

/** Returns true for a fragment other than the first, which has no transport header. */
export function isLaterFragment(b: Uint8Array, off: number): boolean {
  return (fragmentField(b, off) & FRAGMENT_OFFSET_MASK) !== 0;
}

/** Returns the DF bit: the sender wants an ICMP error instead of fragmentation (RFC 1191). */
export function dontFragment(b: Uint8Array, off: number): boolean {
  return (fragmentField(b, off) & DONT_FRAGMENT) !== 0;
}

/** D, M and the offset in units of 8 bytes. */
export function fragmentField(b: Uint8Array, off: number): number {
  return (b[off + FRAGMENT_OFF] << 8) | b[off + FRAGMENT_OFF + 1];
}

/**
 * Returns true for a possible host address: below 224.0.0.0 (multicast), and not in 0/8 or 127/8
 * (RFC 1122 §3.2.1.3).
 */
export function isHostAddress(b: Uint8Array, off: number): boolean {
  return b[off] !== 0 && b[off] !== 127 && b[off] < 224;
}
