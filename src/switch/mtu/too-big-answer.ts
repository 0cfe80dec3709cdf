/**
 * ICMP and ICMPv6 "too big" answers to hosts of the overlay.
 *
 * The answer is the message that a router would send, written into the TAP that the packet came
 * from. An Ethernet segment has no router that could be the source of the message, so the source
 * address and MAC are those of the packet's destination, as in kernel vxlan. With any other MAC,
 * bridges would learn a wrong port.
 *
 * Never answered (RFC 1122 §3.2.2, RFC 4443 §2.4): an ICMP error, a packet to or from a group
 * address, a packet whose source is no host address, and fragments other than the first. A token
 * bucket limits the answers of each VNI. Answers belong to no peer and do not count as frames of
 * the TAP; the answered frame counts as dropped.
 */
import { Batch } from '../../abi/batch.js';
import { MAX_VNIS } from '../../abi/limits.js';
import { DST_OFF, ETHERTYPE_IPV4, networkEtherType, SRC_OFF, VLAN_OFF } from '../../wire/ethernet.js';
import { isIcmpError, writeFragmentationNeeded } from '../../wire/icmp.js';
import { isIcmpv6Error, writePacketTooBig } from '../../wire/icmpv6.js';
import * as ipv4 from '../../wire/ipv4.js';
import * as ipv6 from '../../wire/ipv6.js';
import { isMulticastMac, MAC_LEN, macHigh, macLow } from '../../wire/mac.js';
import type { OverlayPort } from '../port/port.js';

/**
 * Burst of the token bucket (icmp_msgs_burst). It is refilled by one token per millisecond, which
 * allows 1,000 answers per second (icmp_msgs_per_sec).
 */
const BURST = 50;
/** Bytes of an Ethernet header with two tags and of the longest message, rounded up. */
const ARENA_LEN = 2048;

export class TooBigAnswer {
  /** Milliseconds, 32 bits; only differences matter. */
  nowMs = 0;
  readonly #overlay: OverlayPort;
  readonly #out = new Batch();
  readonly #arena = new Uint8Array(ARENA_LEN);
  /** Tokens of each VNI, and the time of their last update. */
  readonly #tokens = new Int32Array(MAX_VNIS).fill(BURST);
  readonly #filledMs = new Int32Array(MAX_VNIS);

  constructor(overlay: OverlayPort) {
    this.#overlay = overlay;
  }

  /**
   * Sends an answer, if the packet may be answered.
   *
   * @param off offset of the frame @param network offset of its IPv4 or IPv6 packet, already
   * checked
   * @param mtu MTU in the answer, bytes
   * @returns false when no answer was sent
   */
  give(b: Uint8Array, off: number, network: number, mtu: number, vniIdx: number): boolean {
    const isIpv4 = networkEtherType(b, network) === ETHERTYPE_IPV4;
    if (!isBetweenHosts(b, off)) return false;
    if (!(isIpv4 ? mayAnswerIpv4(b, network) : mayAnswerIpv6(b, network))) return false;
    if (!this.#takeToken(vniIdx)) return false;
    const to = this.#arena;
    const packet = copySwapped(to, b, off, network);
    const len = isIpv4
      ? writeFragmentationNeeded(to, packet, b, network, mtu)
      : writePacketTooBig(to, packet, b, network, mtu);
    return this.#write(vniIdx, packet + len);
  }

  #takeToken(vniIdx: number): boolean {
    const passedMs = (this.nowMs - this.#filledMs[vniIdx]) >>> 0;
    const tokens = Math.min(BURST, this.#tokens[vniIdx] + Math.min(BURST, passedMs));
    this.#filledMs[vniIdx] = this.nowMs;
    this.#tokens[vniIdx] = Math.max(0, tokens - 1);
    return tokens > 0;
  }

  #write(vniIdx: number, len: number): boolean {
    const out = this.#out;
    out.count = 1;
    out.len[0] = len;
    out.vniIdx[0] = vniIdx;
    out.segCount[0] = 1;
    return this.#overlay.write(out, this.#arena) === 0;
  }
}

/** Copies the Ethernet header with its tags and swaps the addresses. @returns its length, bytes */
function copySwapped(to: Uint8Array, b: Uint8Array, off: number, network: number): number {
  const linkLen = network - off;
  for (let i = 0; i < MAC_LEN; i++) {
    to[DST_OFF + i] = b[off + SRC_OFF + i];
    to[SRC_OFF + i] = b[off + DST_OFF + i];
  }
  for (let i = VLAN_OFF; i < linkLen; i++) to[i] = b[off + i];
  return linkLen;
}

function isBetweenHosts(b: Uint8Array, off: number): boolean {
  const source = macHigh(b, off + SRC_OFF);
  if (isMulticastMac(source) || (source | macLow(b, off + SRC_OFF)) === 0) return false;
  return !isMulticastMac(macHigh(b, off + DST_OFF));
}

function mayAnswerIpv4(b: Uint8Array, ip: number): boolean {
  if (!ipv4.isHostAddress(b, ip + ipv4.SOURCE_OFF) || !ipv4.isHostAddress(b, ip + ipv4.DESTINATION_OFF))
    return false;
  if (ipv4.isLaterFragment(b, ip)) return false;
  if (ipv4.protocol(b, ip) !== ipv4.PROTOCOL_ICMP) return true;
  const headerLen = ipv4.headerLen(b, ip);
  return headerLen < ipv4.totalLen(b, ip) && !isIcmpError(b[ip + headerLen]);
}

/** False for a broken header chain, too, because it might hide an ICMP error. */
function mayAnswerIpv6(b: Uint8Array, ip: number): boolean {
  if (!ipv6.isHostAddress(b, ip + ipv6.SOURCE_OFF) || !ipv6.isHostAddress(b, ip + ipv6.DESTINATION_OFF))
    return false;
  const end = ip + ipv6.IPV6_LEN + ipv6.payloadLen(b, ip);
  const found = ipv6.transport(b, ip, end);
  if (found < 0) return false;
  let protocol = ipv6.transportProtocol(found);
  let at = ip + ipv6.transportOffset(found);
  if (protocol === ipv6.NEXT_HEADER_FRAGMENT) {
    if (ipv6.isLaterFragment(b, at)) return false;
    protocol = b[at];
    at += ipv6.EXTENSION_LEN;
  }
  if (protocol !== ipv6.PROTOCOL_ICMPV6) return true;
  return at < end && !isIcmpv6Error(b[at]);
}
