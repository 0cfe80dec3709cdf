/**
 * IPv6 header and the walk over its extension headers (RFC 8200 §3, §4).
 *
 *      0                   1                   2                   3
 *      0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
 *     +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
 *     |Version| Traffic class |              Flow label               |
 *     |        Payload length         |  Next header  |   Hop limit   |
 *     |                   Source address (16 bytes)                   |
 *     |                 Destination address (16 bytes)                |
 *     +---------------------------------------------------------------+
 *
 * `check` once, then the accessors are blind; `transport` checks every header it steps over. Jumbograms
 * (RFC 2675) fail: a frame of 64 KB cannot hold one.
 */

export const IPV6_LEN = 40;
/** What every link carries (§5). */
export const IPV6_MIN_MTU = 1280;
export const PROTOCOL_ICMPV6 = 58;
export const PAYLOAD_LEN_OFF = 4;
export const NEXT_HEADER_OFF = 6;
export const HOP_LIMIT_OFF = 7;
export const SOURCE_OFF = 8;
export const DESTINATION_OFF = 24;

/** What `transport` reports for one piece of a datagram, first or later: no transport header to trust. */
export const NEXT_HEADER_FRAGMENT = 44;
const NEXT_HEADER_HOP_BY_HOP = 0;
const NEXT_HEADER_ROUTING = 43;
const NEXT_HEADER_AUTHENTICATION = 51;
const NEXT_HEADER_DESTINATION = 60;

/** Every kind once, as RFC 8200 §4.1 recommends, and some to spare. Bounds what a hostile frame may cost. */
const MAX_EXTENSIONS = 8;
/** The least that an extension header takes; all lengths are a multiple of 4 at least. */
export const EXTENSION_LEN = 8;
/** Fragment offset and M in bytes 2 and 3 of a fragment header. */
const FRAGMENT_OFFSET_MASK = 0xfff8;
const FRAGMENT_MASK = FRAGMENT_OFFSET_MASK | 1;

/** The header is there, is IPv6, and the payload ends at `end` or before. */
export function check(b: Uint8Array, off: number, end: number): boolean {
  return end - off >= IPV6_LEN && b[off] >>> 4 === 6 && IPV6_LEN + payloadLen(b, off) <= end - off;
}

/** DSCP (6 bits) and ECN (2), astride the first two bytes. */
export function trafficClass(b: Uint8Array, off: number): number {
  return ((b[off] & 0x0f) << 4) | (b[off + 1] >>> 4);
}

/** Bytes behind the fixed header, extension headers included. */
export function payloadLen(b: Uint8Array, off: number): number {
  return (b[off + PAYLOAD_LEN_OFF] << 8) | b[off + PAYLOAD_LEN_OFF + 1];
}

/** Of the fixed header: a transport protocol or the first extension header. */
export function nextHeader(b: Uint8Array, off: number): number {
  return b[off + NEXT_HEADER_OFF];
}

/**
 * Walks to the transport header. Protocol and place come in one integer, for nothing may be allocated here:
 * take them apart with `transportProtocol` and `transportOffset`.
 *
 * A fragment stops the walk at its fragment header, as NEXT_HEADER_FRAGMENT; an atomic fragment (RFC 6946) is a
 * whole datagram and is walked through.
 *
 * @param end offset just behind the packet.
 * @returns protocol << 16 | bytes from `off` to that header; -1 when the chain is cut off or too long.
 */
export function transport(b: Uint8Array, off: number, end: number): number {
  let kind = nextHeader(b, off);
  let at = off + IPV6_LEN;
  for (let steps = 0; isExtension(kind); steps++) {
    if (steps === MAX_EXTENSIONS || end - at < EXTENSION_LEN) return -1;
    if (kind === NEXT_HEADER_FRAGMENT && isPiece(b, at)) break;
    const length = extensionLen(b, at, kind);
    kind = b[at];
    at += length;
  }
  return at <= end ? (kind << 16) | (at - off) : -1;
}

/** Protocol number of what `transport` found. */
export function transportProtocol(found: number): number {
  return found >>> 16;
}

/** Bytes from the IPv6 header to what `transport` found. */
export function transportOffset(found: number): number {
  return found & 0xffff;
}

/** A piece that is not the first, by the fragment header at `at`. */
export function isLaterFragment(b: Uint8Array, at: number): boolean {
  return (((b[at + 2] << 8) | b[at + 3]) & FRAGMENT_OFFSET_MASK) !== 0;
}

/** An address that one host can have, where an address begins: not ::/128, ::1, multicast. */
export function isHostAddress(b: Uint8Array, off: number): boolean {
  if (b[off] === 0xff) return false;
  for (let i = 0; i < 15; i++) if (b[off + i] !== 0) return true;
  return b[off + 15] > 1;
}

function isExtension(kind: number): boolean {
  switch (kind) {
    case NEXT_HEADER_HOP_BY_HOP:
    case NEXT_HEADER_ROUTING:
    case NEXT_HEADER_FRAGMENT:
    case NEXT_HEADER_AUTHENTICATION:
    case NEXT_HEADER_DESTINATION:
      return true;
    default:
      return false;
  }
}

function isPiece(b: Uint8Array, at: number): boolean {
  return (((b[at + 2] << 8) | b[at + 3]) & FRAGMENT_MASK) !== 0;
}

/** Byte 1 counts 8-byte units beyond the first; of an authentication header, 4-byte units beyond two (RFC 4302). */
function extensionLen(b: Uint8Array, at: number, kind: number): number {
  if (kind === NEXT_HEADER_FRAGMENT) return EXTENSION_LEN;
  return kind === NEXT_HEADER_AUTHENTICATION ? (b[at + 1] + 2) << 2 : (b[at + 1] + 1) << 3;
}
