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
 * `check` once, then the accessors are blind. The header checksum is not verified: the receiving stack does.
 */

/** Without options. */
export const IPV4_LEN = 20;
export const PROTOCOL_TCP = 6;
export const PROTOCOL_UDP = 17;
export const PROTOCOL_SCTP = 132;

const TOTAL_LEN_OFF = 2;
const FRAGMENT_OFF = 6;
const PROTOCOL_OFF = 9;
export const SOURCE_OFF = 12;
export const DESTINATION_OFF = 16;

/** M and the fragment offset; D is left out. */
const FRAGMENT_MASK = 0x3fff;

/** The header is there, is IPv4, and its lengths agree with each other and with the bytes up to `end`. */
export function check(b: Uint8Array, off: number, end: number): boolean {
  if (end - off < IPV4_LEN || b[off] >>> 4 !== 4) return false;
  const total = totalLen(b, off);
  const header = headerLen(b, off);
  return header >= IPV4_LEN && total >= header && total <= end - off;
}

/** Bytes, options included: 20 … 60. */
export function headerLen(b: Uint8Array, off: number): number {
  return (b[off] & 0x0f) << 2;
}

/** Bytes of header and payload. Ethernet padding is not counted. */
export function totalLen(b: Uint8Array, off: number): number {
  return (b[off + TOTAL_LEN_OFF] << 8) | b[off + TOTAL_LEN_OFF + 1];
}

export function protocol(b: Uint8Array, off: number): number {
  return b[off + PROTOCOL_OFF];
}

/** One piece of a datagram, the first one too: what follows is not a whole transport packet. */
export function isFragment(b: Uint8Array, off: number): boolean {
  return (((b[off + FRAGMENT_OFF] << 8) | b[off + FRAGMENT_OFF + 1]) & FRAGMENT_MASK) !== 0;
}
