/**
 * Handling of frames larger than the limit of a peer (`PeerTable.frameLimit`).
 *
 * Dropping a frame without an answer creates an MTU black hole, so every sender that may be
 * answered gets an answer. The first row that matches a frame applies:
 *
 * | frame                                    | action                                          |
 * |------------------------------------------|-------------------------------------------------|
 * | over `--mtu` only because of VLAN tags   | sent: `--mtu` limits the IP packet only         |
 * | within `--mtu`, with outer DF clear      | sent: the kernel fragments the outer datagram   |
 * | IPv6 of at most 1280 bytes               | sent, but over the path with `--df set` dropped |
 * | IPv6; IPv4 with DF                       | dropped, ICMP answer (`too-big-answer.ts`)      |
 * | TCP superframe over IPv4                 | cut into smaller segments                       |
 * | IPv4                                     | fragmented, then encapsulated (`fragmenter.ts`) |
 * | any other                                | dropped                                         |
 *
 * A flooded frame is answered at most once. It is not answered if a copy fits the path to any peer,
 * because its destination may be behind that peer. If no copy fits, the answer reports the MTU of
 * the widest path, because the packet exceeds every path.
 *
 * A superframe is judged by the length of its segments. The segments of a TCP superframe may be
 * made smaller, because a byte stream has no packet boundaries; smaller segments are not IP
 * fragments. If DF is set, however, the sender expects the ICMP error, and one answer makes the
 * sender use smaller packets and superframes. `docs/decisions/0007` gives the reasons for these
 * rules, including the row of IPv6 packets of at most 1280 bytes.
 *
 * Called by encap only for a frame that exceeds the limit, so the common path has one comparison.
 */

import { type Batch, DF_SET, GSO_NONE, GSO_UDP_L4 } from '../../abi/batch.js';
import { V_TOO_BIG_DROP, V_TOO_BIG_FRAGMENT, V_TOO_BIG_ICMP } from '../../exchange/counters.js';
import { ETHERTYPE_IPV4, ETHERTYPE_IPV6, networkEtherType, networkOffset } from '../../wire/ethernet.js';
import * as ipv4 from '../../wire/ipv4.js';
import * as ipv6 from '../../wire/ipv6.js';
import type { Tables } from '../fdb/tables.js';
import type { OuterOptions } from '../frame/outer-header.js';
import { cutSegments } from '../frame/superframe.js';
import type { OverlayPort } from '../port/port.js';
import { canFragment } from './fragmenter.js';
import { TooBigAnswer } from './too-big-answer.js';

/** Bit of the `flags` column: vtepd has decided whether to answer the flooded frame. */
const FRAME_ANSWERED = 1 << 14;

/** Results of `TooBig.judge`. */
export const SEND = 0;
export const SEND_IN_OUTER_FRAGMENTS = 1;
export const SEND_IN_INNER_FRAGMENTS = 2;
export const DROP_TOO_BIG = 3;

export class TooBig {
  /** For SEND_IN_INNER_FRAGMENTS: offset of the IPv4 header. */
  ip = 0;
  /** For SEND_IN_INNER_FRAGMENTS: largest IP packet of a fragment, bytes. */
  packetMax = 0;
  /** True when the current copy is one of a flood. */
  #isFlooded = false;
  readonly #tables: Tables;
  readonly #arena: Uint8Array;
  readonly #answer: TooBigAnswer;
  /** True when there are sockets with DF clear. */
  readonly #outerFragments: boolean;

  constructor(tables: Tables, overlay: OverlayPort, { df }: OuterOptions) {
    this.#tables = tables;
    this.#arena = overlay.arena;
    this.#answer = new TooBigAnswer(overlay);
    this.#outerFragments = df !== 'set';
  }

  /** Advances the clock of the answers' rate limit. @param nowMs monotonic, ms, 32 bits */
  tick(nowMs: number): void {
    this.#answer.nowMs = nowMs;
  }

  /**
   * Decides how frame i is sent to a peer. If the frame is fragmented or dropped, it is counted and
   * its sender may get an answer. Smaller segments of a superframe also apply to the later copies
   * of a flood.
   *
   * @param isFlooded true when the peer is one of several that get a copy
   * @returns SEND, SEND_IN_OUTER_FRAGMENTS, SEND_IN_INNER_FRAGMENTS or DROP_TOO_BIG
   */
  judge(frames: Batch, i: number, peerIdx: number, isFlooded: boolean): number {
    const off = frames.off[i];
    const end = off + frames.len[i];
    const network = networkOffset(this.#arena, off, end);
    if (network < 0) return this.#drop(frames, i);
    const { paths, vnis } = this.#tables;
    const packetLen = frames.largestLen[i] - (network - off);
    const configuredMax = vnis.packetMax[frames.vniIdx[i]];
    const clear = frames.df[i] !== DF_SET;
    if (configuredMax === 0 || packetLen <= configuredMax) {
      if (frames.largestLen[i] <= paths.carries(peerIdx)) return SEND;
      if (clear) return SEND_IN_OUTER_FRAGMENTS;
    }
    const packetMax = paths.packetMax(peerIdx, network - off, clear);
    const type = networkEtherType(this.#arena, network);
    this.#isFlooded = isFlooded;
    if (type === ETHERTYPE_IPV4) return this.#judgeIpv4(frames, i, network, packetLen, packetMax);
    if (type === ETHERTYPE_IPV6) return this.#judgeIpv6(frames, i, network, packetMax, peerIdx);
    return this.#drop(frames, i);
  }

  /**
   * Judges an IPv4 packet. A frame that is too long only because of Ethernet padding is dropped
   * without an answer.
   */
  #judgeIpv4(frames: Batch, i: number, ip: number, packetLen: number, packetMax: number): number {
    const b = this.#arena;
    const isSuper = frames.gsoType[i] !== GSO_NONE;
    if (!ipv4.check(b, ip, frames.off[i] + frames.len[i])) return this.#drop(frames, i);
    if (!isSuper && ipv4.totalLen(b, ip) <= packetMax) return this.#drop(frames, i);
    if (ipv4.dontFragment(b, ip)) return this.#refuse(frames, i, ip, packetMax, 0);
    if (isSuper && frames.gsoType[i] !== GSO_UDP_L4) {
      const segments = frames.segCount[i];
      if (!cutSegments(b, frames, i, packetLen - packetMax)) return this.#drop(frames, i);
      this.#count(frames.vniIdx[i], V_TOO_BIG_FRAGMENT, segments);
      return SEND;
    }
    if (!canFragment(b, frames, i, ip, packetMax)) return this.#drop(frames, i);
    this.#count(frames.vniIdx[i], V_TOO_BIG_FRAGMENT, frames.segCount[i]);
    this.ip = ip;
    this.packetMax = packetMax;
    return SEND_IN_INNER_FRAGMENTS;
  }

  /**
   * Judges an IPv6 packet. The MTU in an answer is never below 1280, which IPv6 requires of every
   * link. The overlay must therefore carry IPv6 packets of 1280 bytes even if `--mtu` is smaller.
   */
  #judgeIpv6(frames: Batch, i: number, ip: number, packetMax: number, peerIdx: number): number {
    const off = frames.off[i];
    if (!ipv6.check(this.#arena, ip, off + frames.len[i])) return this.#drop(frames, i);
    if (frames.largestLen[i] - (ip - off) > ipv6.IPV6_MIN_MTU)
      return this.#refuse(frames, i, ip, packetMax, ipv6.IPV6_MIN_MTU);
    if (frames.largestLen[i] <= this.#tables.paths.carries(peerIdx)) return SEND;
    return this.#outerFragments ? SEND_IN_OUTER_FRAGMENTS : this.#drop(frames, i);
  }

  /**
   * Drops the frame and answers its sender, if it may be answered.
   * @param least lower bound of the MTU in the answer, bytes
   */
  #refuse(frames: Batch, i: number, network: number, packetMax: number, least: number): number {
    const vniIdx = frames.vniIdx[i];
    const max = this.#isFlooded ? this.#widest(frames, i, network) : packetMax;
    if (max < 0) return this.#drop(frames, i);
    const mtu = Math.max(max, least);
    if (!this.#answer.give(this.#arena, frames.off[i], network, mtu, vniIdx)) return this.#drop(frames, i);
    this.#count(vniIdx, V_TOO_BIG_ICMP, frames.segCount[i]);
    return DROP_TOO_BIG;
  }

  /**
   * Decides whether a flooded frame is answered. Further calls for the same frame return −1.
   * @returns bytes of the largest packet that any path of the flood list carries; −1 for no answer
   */
  #widest(frames: Batch, i: number, network: number): number {
    if ((frames.flags[i] & FRAME_ANSWERED) !== 0) return -1;
    frames.flags[i] |= FRAME_ANSWERED;
    const { paths, flood } = this.#tables;
    const linkLen = network - frames.off[i];
    const packetLen = frames.largestLen[i] - linkLen;
    const runs = flood.runs(frames.vniIdx[i]);
    let widest = -1;
    for (let run = 0; run < runs.length; run += 2) {
      const end = runs[run] + runs[run + 1];
      for (let peerIdx = runs[run]; peerIdx < end; peerIdx++) {
        const packetMax = paths.packetMax(peerIdx, linkLen, frames.df[i] !== DF_SET);
        if (packetMax >= packetLen) return -1;
        widest = Math.max(widest, packetMax);
      }
    }
    return widest;
  }

  #drop(frames: Batch, i: number): number {
    this.#count(frames.vniIdx[i], V_TOO_BIG_DROP, frames.segCount[i]);
    return DROP_TOO_BIG;
  }

  #count(vniIdx: number, cell: number, frames: number): void {
    const { counters } = this.#tables;
    counters.cells[counters.vniBase(vniIdx) + cell] += frames;
  }
}
