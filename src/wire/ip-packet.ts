/**
 * An IP packet of either version in an Ethernet frame: where it ends, and what it carries. For code to which the
 * version makes no difference; the headers themselves are those of ipv4.ts and ipv6.ts. Allocates nothing.
 */
import { ETHERTYPE_IPV4, ETHERTYPE_IPV6, networkEtherType } from './ethernet.js';
import * as ipv4 from './ipv4.js';
import * as ipv6 from './ipv6.js';

/**
 * Checks the packet's header, once and for the functions below.
 *
 * @param off where `networkOffset` found it @param end of the frame
 * @returns offset just behind the packet, without Ethernet padding; −1: no IP, or not sound
 */
export function packetEnd(b: Uint8Array, off: number, end: number): number {
  const type = networkEtherType(b, off);
  if (type === ETHERTYPE_IPV4 && ipv4.check(b, off, end)) return off + ipv4.totalLen(b, off);
  if (type === ETHERTYPE_IPV6 && ipv6.check(b, off, end))
    return off + ipv6.IPV6_LEN + ipv6.payloadLen(b, off);
  return -1;
}

/**
 * True when the length field of an IP header states more bytes than there are. Only the fixed header is looked at.
 *
 * @param off where `networkOffset` found it @param end of the frame
 */
export function reachesBeyond(b: Uint8Array, off: number, end: number): boolean {
  const type = networkEtherType(b, off);
  const len = end - off;
  if (type === ETHERTYPE_IPV4) return len >= ipv4.IPV4_LEN && ipv4.totalLen(b, off) > len;
  return type === ETHERTYPE_IPV6 && len >= ipv6.IPV6_LEN && ipv6.IPV6_LEN + ipv6.payloadLen(b, off) > len;
}

/** Of a packet that was checked; it is IPv6 otherwise. */
export function isIpv4(b: Uint8Array, off: number): boolean {
  return b[off] >>> 4 === 4;
}

/**
 * Protocol and place of the transport header, in one integer as `ipv6.transport` has them: take them apart with
 * its `transportProtocol` and `transportOffset`. The protocol of a fragment is NEXT_HEADER_FRAGMENT in IPv4, too.
 *
 * @param end just behind the packet, as `packetEnd` returned it
 */
export function transport(b: Uint8Array, off: number, end: number): number {
  if (!isIpv4(b, off)) return ipv6.transport(b, off, end);
  const protocol = ipv4.isFragment(b, off) ? ipv6.NEXT_HEADER_FRAGMENT : ipv4.protocol(b, off);
  return (protocol << 16) | ipv4.headerLen(b, off);
}
