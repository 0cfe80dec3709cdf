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
 * Call `check` once; the accessors do not check bounds, but `transport` checks every header that it
 * passes. Jumbograms (RFC 2675) fail the check, because a frame of 64 KB cannot hold a jumbogram.
 */

export const IPV6_LEN = 40;
/** MTU that every link supports, bytes (§5). */
export const IPV6_MIN_MTU = 1280;
export const PROTOCOL_ICMPV6 = 58;
export const PAYLOAD_LEN_OFF = 4;
export const NEXT_HEADER_OFF = 6;
export const HOP_LIMIT_OFF = 7;
export const SOURCE_OFF = 8;
export const DESTINATION_OFF = 24;

/**
 * Returned by `transport` for any fragment, first or later, because no fragment has a trustworthy
 * transport header.
 */
export const NEXT_HEADER_FRAGMENT = 44;
const NEXT_HEADER_HOP_BY_HOP = 0;
const NEXT_HEADER_ROUTING = 43;
const NEXT_HEADER_AUTHENTICATION = 51;
const NEXT_HEADER_DESTINATION = 60;

/**
 * Most extension headers of one packet; the limit bounds the cost of a hostile frame. RFC 8200 §4.1
 * recommends each kind at most one time and destination options at most twice: six headers of the
 * kinds parsed here. Two more are a reserve.
 */
const MAX_EXTENSIONS = 8;
/** Shortest extension header, bytes; all lengths are multiples of 4 or 8. */
export const EXTENSION_LEN = 8;
/** Fragment offset in bytes 2 and 3 of a fragment header. */
const FRAGMENT_OFFSET_MASK = 0xfff8;
/** Fragment offset and M in bytes 2 and 3 of a fragment header. */
const FRAGMENT_MASK = FRAGMENT_OFFSET_MASK | 1;

/** Returns true if an IPv6 header is present and its payload ends at or before `end`. */
export function check(b: Uint8Array, off: number, end: number): boolean {
  return end - off >= IPV6_LEN && b[off] >>> 4 === 6 && IPV6_LEN + payloadLen(b, off) <= end - off;
}

/** DSCP (6 bits) and ECN (2 bits), which span the first two bytes. */
export function trafficClass(b: Uint8Array, off: number): number {
  return ((b[off] & 0x0f) << 4) | (b[off + 1] >>> 4);
}

/** Bytes behind the fixed header, including extension headers. */
export function payloadLen(b: Uint8Array, off: number): number {
  return (b[off + PAYLOAD_LEN_OFF] << 8) | b[off + PAYLOAD_LEN_OFF + 1];
}

/** Next header of the fixed header: a transport protocol or the first extension header. */
export function nextHeader(b: Uint8Array, off: number): number {
  return b[off + NEXT_HEADER_OFF];
}

/**
 * Finds the transport header behind the extension headers.
 *
 * Protocol and offset are packed in one integer because this code must not allocate;
 * `transportProtocol` and `transportOffset` unpack it.
 *
 * The walk stops at the fragment header of a fragment and returns NEXT_HEADER_FRAGMENT. An atomic
 * fragment (RFC 6946) is a whole datagram, so the walk continues behind its header.
 *
 * @param end offset just behind the packet
 * @returns protocol << 16 | bytes from `off` to the transport header; -1 if the chain is truncated
 *   or too long
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

/** Protocol number in a result of `transport`. */
export function transportProtocol(found: number): number {
  return found >>> 16;
}

/** Bytes from the IPv6 header to the header that `transport` found. */
export function transportOffset(found: number): number {
  return found & 0xffff;
}

/** Returns true if the fragment header at `at` belongs to a fragment other than the first. */
export function isLaterFragment(b: Uint8Array, at: number): boolean {
  return (((b[at + 2] << 8) | b[at + 3]) & FRAGMENT_OFFSET_MASK) !== 0;
}

/** Returns true for a possible host address: not ::, ::1 or multicast. */
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

/**
 * Length of an extension header, bytes. Byte 1 of the header counts the 8-byte units after the
 * first; in an authentication header it counts the 4-byte units after the second (RFC 4302).
 */
function extensionLen(b: Uint8Array, at: number, kind: number): number {
  if (kind === NEXT_HEADER_FRAGMENT) return EXTENSION_LEN;
  return kind === NEXT_HEADER_AUTHENTICATION ? (b[at + 1] + 2) << 2 : (b[at + 1] + 1) << 3;
}
