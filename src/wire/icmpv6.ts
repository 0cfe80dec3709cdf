/**
 * ICMPv6 (RFC 4443) "packet too big" (§3.2).
 *
 *      0                   1                   2                   3
 *      0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
 *     +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
 *     |   Type = 2    |   Code = 0    |           Checksum            |
 *     |                             MTU                               |
 *     |       as much of the packet as makes the whole 1280 bytes     |
 *     +---------------------------------------------------------------+
 *
 * The caller decides whether a packet is answered (§2.4 e). For that decision this module has only
 * `isIcmpv6Error`.
 */
import { checksum16, pseudoHeaderSumIpv6, put16 } from './checksum.js';
import * as ipv6 from './ipv6.js';

const ICMPV6_LEN = 8;
const CHECKSUM_OFF = 2;
const MTU_OFF = 4;
const PACKET_TOO_BIG = 2;
/** Lowest type of an informational message; lower types are errors (§2.1). */
const FIRST_INFORMATIONAL = 128;
const REDIRECT = 137;
const HOP_LIMIT = 64;

/** Returns true for messages that must not cause an error (§2.4 e.1, e.2). */
export function isIcmpv6Error(type: number): boolean {
  return type < FIRST_INFORMATIONAL || type === REDIRECT;
}

/**
 * Writes a "packet too big" message, from the destination of the oversized packet to its source.
 *
 * @param to buffer for the message
 * @param at offset in `to`; at most 1280 bytes are written
 * @param b buffer of the packet that was too big, already checked
 * @param ip offset of its IP header
 * @param mtu MTU that the sender may use, at least 1280
 * @returns bytes written
 */
export function writePacketTooBig(
  to: Uint8Array,
  at: number,
  b: Uint8Array,
  ip: number,
  mtu: number,
): number {
  const icmp = at + ipv6.IPV6_LEN;
  const quote = icmp + ICMPV6_LEN;
  const packetLen = ipv6.IPV6_LEN + ipv6.payloadLen(b, ip);
  const quoteLen = Math.min(packetLen, ipv6.IPV6_MIN_MTU - ipv6.IPV6_LEN - ICMPV6_LEN);
  for (let i = 0; i < quoteLen; i++) to[quote + i] = b[ip + i];
  const icmpLen = ICMPV6_LEN + quoteLen;
  writeHeader(to, at, b, ip, icmpLen);
  put16(to, icmp, PACKET_TOO_BIG << 8);
  put16(to, icmp + CHECKSUM_OFF, 0);
  put16(to, icmp + MTU_OFF, mtu >>> 16);
  put16(to, icmp + MTU_OFF + 2, mtu);
  const pseudo = pseudoHeaderSumIpv6(to, at, ipv6.PROTOCOL_ICMPV6, icmpLen);
  put16(to, icmp + CHECKSUM_OFF, checksum16(to, icmp, icmpLen, pseudo));
  return ipv6.IPV6_LEN + icmpLen;
}

function writeHeader(to: Uint8Array, at: number, b: Uint8Array, ip: number, payloadLen: number): void {
  put16(to, at, 0x6000);
  put16(to, at + 2, 0);
  put16(to, at + ipv6.PAYLOAD_LEN_OFF, payloadLen);
  to[at + ipv6.NEXT_HEADER_OFF] = ipv6.PROTOCOL_ICMPV6;
  to[at + ipv6.HOP_LIMIT_OFF] = HOP_LIMIT;
  for (let i = 0; i < 16; i++) {
    to[at + ipv6.SOURCE_OFF + i] = b[ip + ipv6.DESTINATION_OFF + i];
    to[at + ipv6.DESTINATION_OFF + i] = b[ip + ipv6.SOURCE_OFF + i];
  }
}
