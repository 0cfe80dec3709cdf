/**
 * ICMP echo as a path probe (RFC 792, RFC 4443 §4), and the errors that a too narrow hop answers it with (RFC 1191 §4,
 * RFC 4443 §3.2).
 *
 *     +---------+---------+-------------------+
 *     | type    | code 0  | checksum          |     echo: 8 → 0 (IPv4), 128 → 129 (IPv6)
 *     | identifier        | sequence          |
 *     | data …                                |
 *     +---------+---------+-------------------+
 *     | 3 or 2  | 4 or 0  | checksum          |     too big: IPv4 has the MTU in the last 16 bits, IPv6 in all 32
 *     | MTU of the next hop                   |
 *     | the packet that was too big, its beginning
 *
 * As raw sockets have them: IPv4 with its IP header in front, IPv6 without. Cold path: one packet at a time, and
 * everything received is hostile, so readers check their own bounds.
 */
import { sum16 } from './checksum.js';
import * as ipv4 from './ipv4.js';
import { IPV6_LEN } from './ipv6.js';

export const ECHO_LEN = 8;

const ECHO_REQUEST = { 4: 8, 6: 128 } as const;
const ECHO_REPLY = { 4: 0, 6: 129 } as const;
const TOO_BIG = { 4: { type: 3, code: 4 }, 6: { type: 2, code: 0 } } as const;
const PROTOCOL_ICMP = 1;
const PROTOCOL_ICMPV6 = 58;
const CHECKSUM_OFF = 2;

/** What a received message says about one echo request of ours. */
export interface EchoNews {
  /** It did not fit a hop: what that says it carries, 0 when it says nothing; undefined: it was answered. */
  readonly tooBig: number | undefined;
  readonly identifier: number;
  readonly sequence: number;
}

/**
 * An echo request of `len` bytes, zeros behind the header. The checksum is IPv4's; IPv6's covers addresses too and
 * is the kernel's to fill in (RFC 3542 §3.1).
 */
export function makeEcho(family: 4 | 6, identifier: number, sequence: number, len: number): Uint8Array {
  const b = new Uint8Array(len);
  const view = new DataView(b.buffer);
  b[0] = ECHO_REQUEST[family];
  view.setUint16(4, identifier);
  view.setUint16(6, sequence);
  if (family === 4) view.setUint16(CHECKSUM_OFF, ~sum16(b, 0, len, 0) & 0xffff);
  return b;
}

/** @param b a message as the raw socket gave it. @returns undefined for anything that is not about an echo request */
export function readEchoNews(family: 4 | 6, b: Uint8Array): EchoNews | undefined {
  const icmp = family === 6 ? 0 : ipv4.check(b, 0, b.length) ? ipv4.headerLen(b, 0) : b.length;
  if (b.length - icmp < ECHO_LEN) return undefined;
  if (b[icmp] === ECHO_REPLY[family]) return newsAt(b, icmp, undefined);
  const { type, code } = TOO_BIG[family];
  if (b[icmp] !== type || b[icmp + 1] !== code) return undefined;
  const quoted = quotedEcho(family, b, icmp + ECHO_LEN);
  return quoted < 0 ? undefined : newsAt(b, quoted, statedMtu(family, b, icmp));
}

function newsAt(b: Uint8Array, echo: number, tooBig: number | undefined): EchoNews {
  const view = new DataView(b.buffer, b.byteOffset);
  return { tooBig, identifier: view.getUint16(echo + 4), sequence: view.getUint16(echo + 6) };
}

function statedMtu(family: 4 | 6, b: Uint8Array, icmp: number): number {
  const view = new DataView(b.buffer, b.byteOffset);
  return family === 4 ? view.getUint16(icmp + 6) : view.getUint32(icmp + 4);
}

/** Where in a quoted packet the echo request begins; −1: it is none, or cut off. */
function quotedEcho(family: 4 | 6, b: Uint8Array, ip: number): number {
  const isIpv4 = family === 4;
  const headerLen = isIpv4 ? (b[ip] & 0x0f) * 4 : IPV6_LEN;
  const echo = ip + headerLen;
  if (b.length - ip < (isIpv4 ? ipv4.IPV4_LEN : IPV6_LEN) || b.length - echo < ECHO_LEN) return -1;
  if (b[ip] >>> 4 !== family || headerLen < ipv4.IPV4_LEN) return -1;
  const protocol = isIpv4 ? b[ip + 9] : b[ip + 6];
  const isEcho = protocol === (isIpv4 ? PROTOCOL_ICMP : PROTOCOL_ICMPV6) && b[echo] === ECHO_REQUEST[family];
  return isEcho ? echo : -1;
}
