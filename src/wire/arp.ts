/**
 * ARP for IPv4 over Ethernet (RFC 826), as a path probe: an ARP probe (RFC 5227 §1.1), which has no sender address and so
 * leaves nothing in anybody's tables of addresses, padded to the size that is asked about. Its answer is short and
 * goes to the MAC that asked; that MAC is made up for each question, and tells which one was answered.
 *
 *     | destination 6 | source 6 | 0x0806 |                                              Ethernet
 *     | 1 | 0x0800 | 6 | 4 | operation | sender MAC 6, IP 4 | target MAC 6, IP 4 |       28 bytes
 *     | padding, zeros …
 */
import { ETHERNET_LEN, ETHERTYPE_ARP } from './ethernet.js';
import { writeMac } from './mac.js';

const ARP_LEN = 28;
/** Shortest frame that is ARP, bytes. */
export const ARP_FRAME_LEN = ETHERNET_LEN + ARP_LEN;

/** First two bytes of every MAC that a probe asks from: locally administered, unicast, "v". */
export const PROBE_MAC_HIGH = 0x0276;

const OPERATION_OFF = ETHERNET_LEN + 6;
const SENDER_MAC_OFF = ETHERNET_LEN + 8;
const TARGET_IP_OFF = ETHERNET_LEN + 24;
const REQUEST = 1;
const REPLY = 2;
/** Ethernet, IPv4, their lengths. */
const KIND = [0, 1, 8, 0, 6, 4];

/**
 * Writes a request into a frame whose other bytes are zero.
 *
 * @param low last four bytes of the asking MAC, as an int32 @param target the host's MAC @param ip its four bytes
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

/** An answer, to any MAC. @param len bytes of the frame, which is ARP by its EtherType and untagged */
export function isArpReply(b: Uint8Array, off: number, len: number): boolean {
  return len >= ARP_FRAME_LEN && b[off + OPERATION_OFF] === 0 && b[off + OPERATION_OFF + 1] === REPLY;
}
