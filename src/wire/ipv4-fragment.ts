/**
 * Headers of IPv4 fragments (RFC 791 §3.2), as a router writes them.
 *
 *     packet     | header, options |      data, in units of 8 bytes except its end       |
 *     fragments  | header, options | data M |   | header | data M |   | header | data    |
 *
 * The first fragment keeps all options; later fragments keep only options whose copied bit is set.
 * A packet that is itself a fragment is fragmented like a whole packet: the new offsets continue
 * from the offset of that packet, and M stays set in the last new fragment if the packet has M set.
 *
 * This module touches no payload and sends nothing. The fragmenter of overlay frames calls it.
 */
import { checksum16, put16 } from './checksum.js';
import * as ipv4 from './ipv4.js';

/** Unit of fragment offsets, bytes. */
const UNIT_LEN = 8;

const OPTION_END = 0;
const OPTION_NOP = 1;
const OPTION_COPIED = 0x80;

/** Most data bytes of a fragment that is not the last; 0 if the header alone is too long. */
export function fragmentDataLen(packetMax: number, headerLen: number): number {
  return Math.max(0, packetMax - headerLen) & ~(UNIT_LEN - 1);
}

/**
 * Copies a packet's header unchanged.
 *
 * @returns length of the header, bytes
 */
export function copyHeader(to: Uint8Array, at: number, b: Uint8Array, ip: number): number {
  const len = ipv4.headerLen(b, ip);
  for (let i = 0; i < len; i++) to[at + i] = b[ip + i];
  return len;
}

/**
 * Copies a packet's header with the options that every fragment repeats, padded to four bytes.
 *
 * The options are untrusted, so an option with an invalid length ends the list.
 *
 * @returns length of the new header, bytes; at most that of the packet's header
 */
export function copyLaterHeader(to: Uint8Array, at: number, b: Uint8Array, ip: number): number {
  for (let i = 0; i < ipv4.IPV4_LEN; i++) to[at + i] = b[ip + i];
  const end = ip + ipv4.headerLen(b, ip);
  let len = ipv4.IPV4_LEN;
  let option = ip + ipv4.IPV4_LEN;
  while (option < end && b[option] !== OPTION_END) {
    const optionLen = b[option] === OPTION_NOP ? 1 : option + 1 < end ? b[option + 1] : 0;
    if (optionLen < 1 || optionLen > end - option || (optionLen === 1 && b[option] !== OPTION_NOP)) break;
    if ((b[option] & OPTION_COPIED) !== 0) {
      for (let i = 0; i < optionLen; i++) to[at + len + i] = b[option + i];
      len += optionLen;
    }
    option += optionLen;
  }
  while ((len & 3) !== 0) to[at + len++] = OPTION_END;
  to[at] = 0x40 | (len >>> 2);
  return len;
}

/**
 * Turns a copied header into the header of a fragment: sets total length, offset, M and checksum.
 *
 * @param field fragment field of the packet that is fragmented (`ipv4.fragmentField`)
 * @param dataOff offset of the fragment's data in the packet's data, a multiple of 8 bytes
 * @param isLast true if the fragment ends with the packet
 */
export function finishHeader(
  b: Uint8Array,
  at: number,
  dataLen: number,
  field: number,
  dataOff: number,
  isLast: boolean,
): void {
  const headerLen = ipv4.headerLen(b, at);
  const more = isLast ? field & ipv4.MORE_FRAGMENTS : ipv4.MORE_FRAGMENTS;
  put16(b, at + ipv4.TOTAL_LEN_OFF, headerLen + dataLen);
  const offset = (field & ipv4.FRAGMENT_OFFSET_MASK) + dataOff / UNIT_LEN;
  put16(b, at + ipv4.FRAGMENT_OFF, more | offset);
  put16(b, at + ipv4.CHECKSUM_OFF, 0);
  put16(b, at + ipv4.CHECKSUM_OFF, checksum16(b, at, headerLen, 0));
}
