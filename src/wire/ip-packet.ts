/**
 * An IP packet of either version in an Ethernet frame: its end and its payload.
 *
 * This module serves code that treats both versions alike; ipv4.ts and ipv6.ts parse the headers.
 * The functions allocate nothing.
 */
import { ETHERTYPE_IPV4, ETHERTYPE_IPV6, networkEtherType } from './ethernet.js';
import * as ipv4 from './ipv4.js';
import * as ipv6 from './ipv6.js';

/**
 * Checks the IP header; `isIpv4` and `transport` require a checked header.
 *
 * @param off offset from `networkOffset`
 * @param end offset just behind the frame
 * @returns offset just behind the packet, without Ethernet padding; −1: not IP, or invalid
 */
export function packetEnd(b: Uint8Array, off: number, end: number): number {
  const type = networkEtherType(b, off);
  if (type === ETHERTYPE_IPV4 && ipv4.check(b, off, end)) return off + ipv4.totalLen(b, off);
  if (type === ETHERTYPE_IPV6 && ipv6.check(b, off, end))
    return off + ipv6.IPV6_LEN + ipv6.payloadLen(b, off);
  return -1;
}

/**
 * Returns true when the length field of an IP header exceeds the bytes present. Only the fixed
 * header is examined.
 *
 * @param off offset from `networkOffset`
 * @param end offset just behind the frame
 */
export function reachesBeyond(b: Uint8Array, off: number, end: number): boolean {
  const type = networkEtherType(b, off);
  const len = end - off;
  if (type === ETHERTYPE_IPV4) return len >= ipv4.IPV4_LEN && ipv4.totalLen(b, off) > len;
  return type === ETHERTYPE_IPV6 && len >= ipv6.IPV6_LEN && ipv6.IPV6_LEN + ipv6.payloadLen(b, off) > len;
}

/** Returns true for IPv4 and false for IPv6. The caller has checked the packet. */
export function isIpv4(b: Uint8Array, off: number): boolean {
  return b[off] >>> 4 === 4;
}

/**
 * Protocol and offset of the transport header, packed in one integer as `ipv6.transport` does.
 *
 * `transportProtocol` and `transportOffset` unpack it. The protocol of a fragment is
 * NEXT_HEADER_FRAGMENT for IPv4, too.
 *
 * @param end offset just behind the packet, from `packetEnd`
 */
export function transport(b: Uint8Array, off: number, end: number): number {
  if (!isIpv4(b, off)) return ipv6.transport(b, off, end);
  const protocol = ipv4.isFragment(b, off) ? ipv6.NEXT_HEADER_FRAGMENT : ipv4.protocol(b, off);
  return (protocol << 16) | ipv4.headerLen(b, off);
}
