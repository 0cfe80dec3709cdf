/**
 * What becomes of a frame that is larger than a peer's limit (`PeerTable.frameLimit`). Most paths to a black hole begin
 * here, so nobody is left without an answer who can be given one:
 *
 * | frame                                           | becomes                                                   |
 * |-------------------------------------------------|-----------------------------------------------------------|
 * | over the limit by its VLAN tags alone           | sent: the limit is that of an untagged one                |
 * | outer DF clear (`--df unset`, `inherit`)        | sent: the kernel fragments the outer datagram             |
 * | IPv4 with DF, IPv6                              | answered: ICMP, ICMPv6 (`too-big-answer.ts`), and dropped |
 * | IPv4 without DF                                 | fragmented before it is encapsulated (`fragmenter.ts`)    |
 * | TCP superframe over IPv4 without DF             | cut into smaller segments                                 |
 * | IPv6 of 1280 bytes and less                     | `inherit`: the kernel fragments; `set`: dropped           |
 * | anything else                                   | dropped                                                   |
 *
 * A frame that is flooded is answered at most once, and not at all while a copy of it fits the path to some peer: nobody
 * knows yet which path the packet needs. Where no copy fits, the answer names what the widest path carries, as that is true
 * of each of them.
 *
 * A superframe is judged by its segments. Those of TCP may be cut smaller without being fragments, as a byte stream has no
 * boundaries; with DF, however, the sender has asked to be told, and answering it once is what mends its next packets,
 * superframes or not. `docs/decisions/0007` has the reasons, and those of the last row but one.
 *
 * Not on the common way: called by the encapsulation after its one compare has failed.
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

/** `flags` column of a frame that is flooded: it has been decided whether it is answered. */
const FRAME_ANSWERED = 1 << 14;

/** What is to be done with the frame. */
export const SEND = 0;
export const SEND_IN_OUTER_FRAGMENTS = 1;
export const SEND_IN_INNER_FRAGMENTS = 2;
export const DROP_TOO_BIG = 3;

export class TooBig {
  /** Of what is to be sent in inner fragments: the IPv4 header, and the largest packet. */
  ip = 0;
  packetMax = 0;
  /** State of the copy being forwarded. */
  #isFlooded = false;
  readonly #tables: Tables;
  readonly #arena: Uint8Array;
  readonly #answer: TooBigAnswer;
  /** Sockets that leave DF clear are there. */
  readonly #outerFragments: boolean;

  constructor(tables: Tables, overlay: OverlayPort, { df }: OuterOptions) {
    this.#tables = tables;
    this.#arena = overlay.arena;
    this.#answer = new TooBigAnswer(overlay);
    this.#outerFragments = df !== 'set';
  }

  /** Time of the answers' limit. @param nowMs monotonic, 32 bits */
  tick(nowMs: number): void {
    this.#answer.nowMs = nowMs;
  }

  /**
   * Judges frame i on its way to a peer, answers and counts it. A superframe that is cut smaller is so for the copies that
   * follow, too.
   *
   * @param isFlooded the peer is one of several that get a copy
   * @returns SEND, SEND_IN_OUTER_FRAGMENTS, SEND_IN_INNER_FRAGMENTS or DROP_TOO_BIG
   */
  judge(frames: Batch, i: number, peerIdx: number, isFlooded: boolean): number {
    const off = frames.off[i];
    const end = off + frames.len[i];
    const network = networkOffset(this.#arena, off, end);
    if (network < 0) return this.#drop(frames, i);
    const { paths, vnis } = this.#tables;
    const packetLen = frames.largestLen[i] - (network - off);
    const told = vnis.packetMax[frames.vniIdx[i]];
    const clear = frames.df[i] !== DF_SET;
    if (told === 0 || packetLen <= told) {
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

  /** Longer by padding alone is no packet that is too big. */
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
   * No host is told less than 1280 bytes, as IPv6 asks that of every link: the overlay must carry them in some way, whatever
   * it was told.
   */
  #judgeIpv6(frames: Batch, i: number, ip: number, packetMax: number, peerIdx: number): number {
    const off = frames.off[i];
    if (!ipv6.check(this.#arena, ip, off + frames.len[i])) return this.#drop(frames, i);
    if (frames.largestLen[i] - (ip - off) > ipv6.IPV6_MIN_MTU)
      return this.#refuse(frames, i, ip, packetMax, ipv6.IPV6_MIN_MTU);
    if (frames.largestLen[i] <= this.#tables.paths.carries(peerIdx)) return SEND;
    return this.#outerFragments ? SEND_IN_OUTER_FRAGMENTS : this.#drop(frames, i);
  }

  /** Answers the sender, if it may be answered. @param least bytes: no smaller packet is asked for */
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
   * Decides once for a flooded frame whether it is answered.
   * @returns bytes of the largest packet that some path of the flood list carries; −1: no answer
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
