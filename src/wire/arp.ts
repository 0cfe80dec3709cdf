/**
 * ARP requests and replies for IPv4 over Ethernet (RFC 826) as a path probe.
 *
 * The request is an ARP probe (RFC 5227 §1.1). It has no sender IP address, so it changes no
 * neighbour table, and it is padded to the size under test. The reply is short and goes to the MAC
 * that sent the request. Each request has a different source MAC, so the destination MAC of a reply
 * identifies its request.
 *
 *     | destination 6 | source 6 | 0x0806 |                                              Ethernet
 *     | 1 | 0x0800 | 6 | 4 | operation | sender MAC 6, IP 4 | target MAC 6, IP 4 |       28 bytes
 *     | padding, zeros …
 */
import { ETHERNET_LEN, ETHERTYPE_ARP } from './ethernet.js';
import { writeMac } from './mac.js';

const ARP_LEN = 28;
/** Length of the shortest ARP frame, bytes. */
export const ARP_FRAME_LEN = ETHERNET_LEN + ARP_LEN;

/**
 * First two bytes of the source MAC of every ARP probe: 0x02 (locally administered, unicast) and
 * 0x76 (ASCII 'v').
 */
export const PROBE_MAC_HIGH = 0x0276;

const OPERATION_OFF = ETHERNET_LEN + 6;
const SENDER_MAC_OFF = ETHERNET_LEN + 8;
const TARGET_IP_OFF = ETHERNET_LEN + 24;
const REQUEST = 1;
const REPLY = 2;
/** Hardware type Ethernet, protocol type IPv4, and the lengths of their addresses. */
const KIND = [0, 1, 8, 0, 6, 4];

/**
 * Writes an ARP request into a frame whose other bytes are zero.
 *
 * @param low last four bytes of the source MAC, as an int32
 * @param target MAC of the host
 * @param ip IPv4 address of the host, four bytes
 */
export function writeArpProbe(
  b: Uint8Array,
  off: number,
  low: number,
  target: { readonly high: number; readonly low: number },
  ip: Uint8Array,
): void {
  writeMac(b, off, target.high, target.low);
  writeMac(b, off + 6, PROBE_MAC_HIGH, low);
  b[off + 12] = ETHERTYPE_ARP >>> 8;
  b[off + 13] = ETHERTYPE_ARP & 0xff;
  b.set(KIND, off + ETHERNET_LEN);
  b[off + OPERATION_OFF + 1] = REQUEST;
  writeMac(b, off + SENDER_MAC_OFF, PROBE_MAC_HIGH, low);
  b.set(ip.subarray(0, 4), off + TARGET_IP_OFF);
}

/**
 * Returns true for an ARP reply, whatever its target MAC.
 *
 * @param len bytes of the frame, which is untagged and has the EtherType of ARP
 */
export function isArpReply(b: Uint8Array, off: number, len: number): boolean {
  return len >= ARP_FRAME_LEN && b[off + OPERATION_OFF] === 0 && b[off + OPERATION_OFF + 1] === REPLY;
}
