/**
 * ICMP (RFC 792) "fragmentation needed and DF set" with next-hop MTU (RFC 1191 §4).
 *
 *      0                   1                   2                   3
 *      0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
 *     +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
 *     |   Type = 3    |   Code = 4    |           Checksum            |
 *     |           unused = 0          |         Next-hop MTU          |
 *     |      the packet that was too big: header and first bytes      |
 *     +---------------------------------------------------------------+
 *
 * The message quotes the packet up to a total of 576 bytes (RFC 1812 §4.3.2.3), so that the
 * quotation includes the inner headers of a tunnelled packet. The caller decides whether a packet
 * is answered. For that decision this module has only `isIcmpError`.
 */
import { checksum16, put16 } from './checksum.js';
import * as ipv4 from './ipv4.js';

const ICMP_LEN = 8;
const CHECKSUM_OFF = 2;
const MTU_OFF = 6;

const DESTINATION_UNREACHABLE = 3;
const FRAGMENTATION_NEEDED = 4;
const SOURCE_QUENCH = 4;
const REDIRECT = 5;
const TIME_EXCEEDED = 11;
const PARAMETER_PROBLEM = 12;

/** Longest message, bytes: every host accepts this length (RFC 791 §3.1). */
const MESSAGE_MAX = 576;
const TTL = 64;
/** DF set, offset 0: a message this short needs no fragmentation. */
const DF_ONLY = 0x4000;

/** Returns true for ICMP errors, which must not cause another error (RFC 1122 §3.2.2). */
export function isIcmpError(type: number): boolean {
  switch (type) {
    case DESTINATION_UNREACHABLE:
    case SOURCE_QUENCH:
    case REDIRECT:
    case TIME_EXCEEDED:
    case PARAMETER_PROBLEM:
      return true;
    default:
      return false;
  }
}

/**
 * Writes a "fragmentation needed" packet from the packet's destination to its source.
 *
 * @param to buffer for the message
 * @param at offset in `to`; at most 576 bytes are written
 * @param b buffer of the packet that was too big, already checked
 * @param ip offset of its IP header
 * @param mtu MTU that the sender may use, 68 … 65535
 * @returns bytes written
 */
export function writeFragmentationNeeded(
  to: Uint8Array,
  at: number,
  b: Uint8Array,
  ip: number,
  mtu: number,
): number {
  const icmp = at + ipv4.IPV4_LEN;
  const quote = icmp + ICMP_LEN;
  const quoteLen = Math.min(ipv4.totalLen(b, ip), MESSAGE_MAX - ipv4.IPV4_LEN - ICMP_LEN);
  for (let i = 0; i < quoteLen; i++) to[quote + i] = b[ip + i];
  to[icmp] = DESTINATION_UNREACHABLE;
  to[icmp + 1] = FRAGMENTATION_NEEDED;
  put16(to, icmp + CHECKSUM_OFF, 0);
  put16(to, icmp + MTU_OFF - 2, 0);
  put16(to, icmp + MTU_OFF, mtu);
  put16(to, icmp + CHECKSUM_OFF, checksum16(to, icmp, ICMP_LEN + quoteLen, 0));
  const len = ipv4.IPV4_LEN + ICMP_LEN + quoteLen;
  writeHeader(to, at, b, ip, len);
  return len;
}

function writeHeader(to: Uint8Array, at: number, b: Uint8Array, ip: number, len: number): void {
  put16(to, at, 0x4500);
  put16(to, at + ipv4.TOTAL_LEN_OFF, len);
  put16(to, at + ipv4.ID_OFF, 0);
  put16(to, at + ipv4.FRAGMENT_OFF, DF_ONLY);
  to[at + ipv4.TTL_OFF] = TTL;
  to[at + ipv4.PROTOCOL_OFF] = ipv4.PROTOCOL_ICMP;
  put16(to, at + ipv4.CHECKSUM_OFF, 0);
  for (let i = 0; i < 4; i++) {
    to[at + ipv4.SOURCE_OFF + i] = b[ip + ipv4.DESTINATION_OFF + i];
    to[at + ipv4.DESTINATION_OFF + i] = b[ip + ipv4.SOURCE_OFF + i];
  }
  put16(to, at + ipv4.CHECKSUM_OFF, checksum16(to, at, ipv4.IPV4_LEN, 0));
}
