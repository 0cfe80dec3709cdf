/**
 * Reconstructs the outer headers of a VXLAN datagram: Ethernet II, IPv4 or IPv6, UDP.
 *
 * The kernel writes and removes the real headers, so no process receives them. The reconstructed
 * fields are:
 *
 *     addresses, ports, TOS, TTL, lengths    as on the wire if known, else zero
 *     MACs, IPv4 identification and DF,      zero: only the kernel knows them
 *     flow label, UDP checksum
 *     IPv4 header checksum                   correct for this header
 *
 * A length that does not fit its field, for example the length of a large superframe, is zero.
 * Linux writes zero in the same case in the packets that it passes to tcpdump.
 */
import { checksum16, put16 } from '../wire/checksum.js';
import { ETHERNET_LEN, ETHERTYPE_IPV4, ETHERTYPE_IPV6 } from '../wire/ethernet.js';
import * as ipv4 from '../wire/ipv4.js';
import * as ipv6 from '../wire/ipv6.js';
import * as udp from '../wire/udp.js';

/** Source or destination of a datagram. */
export interface Endpoint {
  /** 16 bytes, IPv4 in the first four. */
  readonly bytes: Uint8Array;
  readonly port: number;
}

export interface OuterHeader {
  readonly family: 4 | 6;
  readonly source: Endpoint;
  readonly destination: Endpoint;
  readonly tos: number;
  readonly ttl: number;
}

const LENGTH_MAX = 0xffff;

/** Returns the total length of the three headers, bytes. */
export function outerLen(family: 4 | 6): number {
  return ETHERNET_LEN + (family === 4 ? ipv4.IPV4_LEN : ipv6.IPV6_LEN) + udp.UDP_LEN;
}

/**
 * @param b buffer; must be zero where the headers are written
 * @param payloadLen total length of the UDP payload, bytes
 */
export function writeOuterHeader(b: Uint8Array, off: number, header: OuterHeader, payloadLen: number): void {
  const { family, source, destination } = header;
  const udpLen = udp.UDP_LEN + payloadLen;
  const ipOff = off + ETHERNET_LEN;
  put16(b, ipOff - 2, family === 4 ? ETHERTYPE_IPV4 : ETHERTYPE_IPV6);
  if (family === 4) writeIpv4(b, ipOff, header, udpLen);
  else writeIpv6(b, ipOff, header, udpLen);
  const udpOff = off + outerLen(family) - udp.UDP_LEN;
  put16(b, udpOff, source.port);
  put16(b, udpOff + 2, destination.port);
  put16(b, udpOff + udp.LENGTH_OFF, lengthField(udpLen));
}

function writeIpv4(b: Uint8Array, off: number, header: OuterHeader, udpLen: number): void {
  const { source, destination, tos, ttl } = header;
  b[off] = 0x45;
  b[off + ipv4.TOS_OFF] = tos;
  put16(b, off + ipv4.TOTAL_LEN_OFF, lengthField(ipv4.IPV4_LEN + udpLen));
  b[off + ipv4.TTL_OFF] = ttl;
  b[off + ipv4.PROTOCOL_OFF] = ipv4.PROTOCOL_UDP;
  b.set(source.bytes.subarray(0, 4), off + ipv4.SOURCE_OFF);
  b.set(destination.bytes.subarray(0, 4), off + ipv4.DESTINATION_OFF);
  put16(b, off + ipv4.CHECKSUM_OFF, checksum16(b, off, ipv4.IPV4_LEN, 0));
}

function writeIpv6(b: Uint8Array, off: number, header: OuterHeader, udpLen: number): void {
  const { source, destination, tos, ttl } = header;
  b[off] = 0x60 | (tos >>> 4);
  b[off + 1] = tos << 4;
  put16(b, off + ipv6.PAYLOAD_LEN_OFF, lengthField(udpLen));
  b[off + ipv6.NEXT_HEADER_OFF] = ipv4.PROTOCOL_UDP;
  b[off + ipv6.HOP_LIMIT_OFF] = ttl;
  b.set(source.bytes.subarray(0, 16), off + ipv6.SOURCE_OFF);
  b.set(destination.bytes.subarray(0, 16), off + ipv6.DESTINATION_OFF);
}

function lengthField(len: number): number {
  return len > LENGTH_MAX ? 0 : len;
}
