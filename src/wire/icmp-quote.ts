/**
 * ICMP "too big" errors (RFC 1191 §4, RFC 4443 §3.2) as raw sockets return them.
 *
 * IPv4 messages have their IP header in front, IPv6 messages do not.
 *
 *     +---------+---------+-------------------+
 *     | 3 or 2  | 4 or 0  | checksum          |     MTU: the last 16 bits in IPv4, all 32 in IPv6
 *     | MTU of the next hop                   |
 *     | the packet that was too big, its beginning
 *
 * Not called on the hot path. All received data is untrusted, so the readers check bounds.
 */
import * as ipv4 from './ipv4.js';
import { IPV6_LEN } from './ipv6.js';

/** Bytes of an ICMP header. */
export const ICMP_LEN = 8;
/**
 * Bytes that every message quotes behind the IP header: the UDP header, or the start of the TCP
 * header (RFC 792).
 */
const QUOTED_LEN = 8;

const TOO_BIG = { 4: { type: 3, code: 4 }, 6: { type: 2, code: 0 } } as const;
const SOURCE_OFF = { 4: 12, 6: 8 } as const;
const ADDRESS_LEN = { 4: 4, 6: 16 } as const;
const PROTOCOL_UDP = 17;

/** The quoted packet, which was too big for a hop. */
export interface Quote {
  /** MTU that the hop states, bytes; 0: not stated. */
  readonly mtu: number;
  readonly protocol: number;
  /** Offset of the quoted packet's IP header; at least QUOTED_LEN bytes follow that header. */
  readonly ip: number;
  readonly l4: number;
}

/** A quoted UDP datagram. Addresses are 16 bytes, IPv4 in the first four. */
export interface QuotedUdp {
  readonly mtu: number;
  readonly source: Uint8Array;
  readonly destination: Uint8Array;
  readonly sourcePort: number;
  readonly destinationPort: number;
}

/** Returns the offset of the ICMP header; −1 if the message has none. */
export function icmpOffset(family: 4 | 6, b: Uint8Array): number {
  const icmp = family === 6 ? 0 : ipv4.check(b, 0, b.length) ? ipv4.headerLen(b, 0) : b.length;
  return b.length - icmp < ICMP_LEN ? -1 : icmp;
}

/**
 * @param b message as read from the raw socket
 * @returns undefined for a message that is truncated or is not a "too big" error
 */
export function readQuote(family: 4 | 6, b: Uint8Array): Quote | undefined {
  const icmp = icmpOffset(family, b);
  const { type, code } = TOO_BIG[family];
  if (icmp < 0 || b[icmp] !== type || b[icmp + 1] !== code) return undefined;
  const ip = icmp + ICMP_LEN;
  const isIpv4 = family === 4;
  if (b.length - ip < (isIpv4 ? ipv4.IPV4_LEN : IPV6_LEN) || b[ip] >>> 4 !== family) return undefined;
  const headerLen = isIpv4 ? (b[ip] & 0x0f) * 4 : IPV6_LEN;
  const l4 = ip + headerLen;
  if (headerLen < ipv4.IPV4_LEN || b.length - l4 < QUOTED_LEN) return undefined;
  const view = new DataView(b.buffer, b.byteOffset);
  const mtu = isIpv4 ? view.getUint16(icmp + 6) : view.getUint32(icmp + 4);
  return { mtu, protocol: isIpv4 ? b[ip + 9] : b[ip + 6], ip, l4 };
}

/**
 * @param b message as read from the raw socket
 * @returns undefined for a message that does not quote a UDP datagram
 */
export function readQuotedUdp(family: 4 | 6, b: Uint8Array): QuotedUdp | undefined {
  const quote = readQuote(family, b);
  if (quote?.protocol !== PROTOCOL_UDP) return undefined;
  const { mtu, ip, l4 } = quote;
  const from = ip + SOURCE_OFF[family];
  const view = new DataView(b.buffer, b.byteOffset);
  return {
    mtu,
    source: address(family, b, from),
    destination: address(family, b, from + ADDRESS_LEN[family]),
    sourcePort: view.getUint16(l4),
    destinationPort: view.getUint16(l4 + 2),
  };
}

function address(family: 4 | 6, b: Uint8Array, off: number): Uint8Array {
  const bytes = new Uint8Array(16);
  bytes.set(b.subarray(off, off + ADDRESS_LEN[family]));
  return bytes;
}
