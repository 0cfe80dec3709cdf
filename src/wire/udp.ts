/**
 * UDP header (RFC 768).
 *
 *      0                   1                   2                   3
 *     +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
 *     |          Source port          |       Destination port        |
 *     |            Length             |           Checksum            |
 *     +---------------------------------------------------------------+
 *
 * Call `check` once; the accessors do not check bounds.
 */

export const UDP_LEN = 8;
const DESTINATION_PORT_OFF = 2;
export const LENGTH_OFF = 4;
export const CHECKSUM_OFF = 6;

/** Returns true if the header is present and its length agrees with the bytes up to `end`. */
export function check(b: Uint8Array, off: number, end: number): boolean {
  if (end - off < UDP_LEN) return false;
  const stated = length(b, off);
  return stated >= UDP_LEN && stated <= end - off;
}

export function sourcePort(b: Uint8Array, off: number): number {
  return (b[off] << 8) | b[off + 1];
}

export function destinationPort(b: Uint8Array, off: number): number {
  return (b[off + DESTINATION_PORT_OFF] << 8) | b[off + DESTINATION_PORT_OFF + 1];
}

/** Bytes of header and payload. */
export function length(b: Uint8Array, off: number): number {
  return (b[off + LENGTH_OFF] << 8) | b[off + LENGTH_OFF + 1];
}

/** Returns the checksum; 0: the sender computed no checksum (for IPv6: RFC 6935). */
export function checksum(b: Uint8Array, off: number): number {
  return (b[off + CHECKSUM_OFF] << 8) | b[off + CHECKSUM_OFF + 1];
}
