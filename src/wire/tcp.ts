/**
 * TCP header (RFC 9293 §3.1).
 *
 *      0                   1                   2                   3
 *      0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
 *     +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
 *     |          Source port          |       Destination port        |
 *     |                        Sequence number                        |
 *     |                     Acknowledgment number                     |
 *     |  Data |       |C|E|U|A|P|R|S|F|                               |
 *     | offset| Rsrvd |W|C|R|C|S|S|Y|I|            Window             |
 *     |       |       |R|E|G|K|H|T|N|N|                               |
 *     |           Checksum            |        Urgent pointer         |
 *     |                    Options (0 … 40 bytes)                     |
 *     +---------------------------------------------------------------+
 *
 * Call `check` once; the accessors do not check bounds.
 */

/** Length of a header without options, bytes. */
export const TCP_LEN = 20;
const DATA_OFFSET_OFF = 12;
export const FLAGS_OFF = 13;
export const CHECKSUM_OFF = 16;

const OPTION_END = 0;
const OPTION_NOP = 1;
const OPTION_MSS = 2;
const OPTION_MSS_LEN = 4;

export const FLAG_SYN = 0x02;

/** Returns true if the header with all its options is present. */
export function check(b: Uint8Array, off: number, end: number): boolean {
  if (end - off < TCP_LEN) return false;
  const header = headerLen(b, off);
  return header >= TCP_LEN && header <= end - off;
}

/** Bytes of the header including options, 20 … 60. */
export function headerLen(b: Uint8Array, off: number): number {
  return (b[off + DATA_OFFSET_OFF] >>> 4) << 2;
}

export function flags(b: Uint8Array, off: number): number {
  return b[off + FLAGS_OFF];
}

export function checksum(b: Uint8Array, off: number): number {
  return (b[off + CHECKSUM_OFF] << 8) | b[off + CHECKSUM_OFF + 1];
}

/**
 * Offset of the two-byte value of the maximum segment size option (§3.2).
 *
 * The options are untrusted, so the walk ends at an invalid length, and at a length that exceeds
 * the header that `check` has accepted.
 *
 * @returns offset, odd or even; −1: no such option
 */
export function mssOffset(b: Uint8Array, off: number): number {
  const end = off + headerLen(b, off);
  let at = off + TCP_LEN;
  while (at + 1 < end && b[at] !== OPTION_END) {
    if (b[at] === OPTION_NOP) {
      at++;
      continue;
    }
    const length = b[at + 1];
    if (length < 2 || length > end - at) return -1;
    if (b[at] === OPTION_MSS) return length === OPTION_MSS_LEN ? at + 2 : -1;
    at += length;
  }
  return -1;
}
