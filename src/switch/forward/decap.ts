/**
 * Underlay → overlay: from each datagram that the sockets gave to the frames in it (RFC 7348 §4.1, §5).
 *
 * The checks, in this order, each with its drop reason: length, I flag, VNI, source, reserved bits, inner source
 * MAC, VLAN policy. Then the source is learned, congestion that the underlay met is handed on (ECN), a SYN's MSS is
 * clamped, and the frame is written to the VNI's TAP and nowhere else: what came from the underlay never returns to it.
 * Bytes from the network are checked here, once.
 *
 * A descriptor with a stated segment size is a train that the kernel did not take apart (UDP_GRO): datagrams of one
 * outer flow, of any VNI. Each is judged by itself. One whose inner IP length reaches beyond it is dropped
 * (`ambiguous`): nothing that a VM writes joins a datagram to its neighbours, which may be another tenant's.
 */

import { Batch, FRAME_NEEDS_CSUM } from '../../abi/batch.js';
import { BATCH_CAP } from '../../abi/limits.js';
import { G_STRAY_VNI } from '../../exchange/counters.js';
import { DROP } from '../../exchange/drop-reason.js';
import {
  ETHERNET_LEN,
  ETHERTYPE_ARP,
  ETHERTYPE_IPV4,
  hasVlanTag,
  networkEtherType,
  SRC_OFF,
  VLAN_OFF,
  vlanTagsLen,
} from '../../wire/ethernet.js';
import { reachesBeyond } from '../../wire/ip-packet.js';
import { PLAIN_IPV4, PROTOCOL_OFF, PROTOCOL_TCP } from '../../wire/ipv4.js';
import { isMulticastMac, macHigh, macLow } from '../../wire/mac.js';
import { FLAG_SYN } from '../../wire/tcp.js';
import { hasReservedBits, hasVni, VXLAN_LEN, vni } from '../../wire/vxlan.js';
import { type Clock, makeClock, tickOf } from '../fdb/clock.js';
import type { Tables } from '../fdb/tables.js';
import { ACCEPT_ANY, VLAN_DROP, VLAN_PASS } from '../fdb/vni-table.js';
import { accountDecap, FRAME_RESERVED_BITS } from '../frame/account.js';
import { applyOuterEcn, leavesEcn } from '../frame/congestion.js';
import type { OuterOptions } from '../frame/outer-header.js';
import { describeFrame, SEGMENTS_TOO_SHORT } from '../frame/postponed.js';
import { isTcpSuperframe } from '../frame/superframe.js';
import { MssClamp, PLAIN_FLAGS_OFF, PLAIN_TCP_LEN, synOffset } from '../mtu/mss-clamp.js';
import { ProbeEcho, type ProbeReplied } from '../mtu/probe-echo.js';
import type { OverlayPort, UnderlayPort } from '../port/port.js';
import type { StationObserver } from './observer.js';

const SHORTEST = VXLAN_LEN + ETHERNET_LEN;

export interface DecapOptions {
  /** Of what is sent in return: decides what a peer's SYN may announce. */
  readonly df: OuterOptions['df'];
  /** Lower the MSS of SYNs to what the path carries. */
  readonly mssClamp: boolean;
  /** Drop datagrams with reserved bits set, instead of counting them. */
  readonly strictHeader: boolean;
  /** UDP port that learned peers are sent to. */
  readonly port: number;
  /** Takes answers to path probes. */
  readonly probeReplied: ProbeReplied;
  /** Observer of frames from stations behind peers. */
  readonly observer: StationObserver;
}

export class Decap {
  readonly #tables: Tables;
  readonly #overlay: OverlayPort;
  readonly #arena: Uint8Array;
  readonly #sources: Int32Array;
  readonly #options: DecapOptions;
  readonly #mss: MssClamp;
  readonly #probes: ProbeEcho;
  readonly #observer: StationObserver;
  /** Frames to be written, and drops, in the order of arrival. */
  readonly #out = new Batch();
  #tick = 0;
  #clock = makeClock();
  /** Outer TOS byte of the datagram in hand. */
  #tos = 0;

  constructor(tables: Tables, overlay: OverlayPort, underlay: UnderlayPort, options: DecapOptions) {
    this.#tables = tables;
    this.#overlay = overlay;
    this.#arena = underlay.arena;
    const { sources } = underlay;
    this.#sources = new Int32Array(sources.buffer, sources.byteOffset, sources.length >> 2);
    this.#options = options;
    this.#mss = new MssClamp(tables, options.df === 'unset');
    this.#probes = new ProbeEcho(tables, underlay, options);
    this.#observer = options.observer;
  }

  /**
   * Delivers and counts every datagram of the batch. The time is for the FDB, and for when a peer was last heard.
   */
  deliver(datagrams: Batch, clock: Clock): void {
    this.#tick = tickOf(clock);
    this.#clock = clock;
    for (let i = 0; i < datagrams.count; i++) {
      const off = datagrams.off[i];
      const len = datagrams.len[i];
      const stated = datagrams.gsoSize[i];
      this.#tos = datagrams.tos[i];
      if (stated <= 0 || stated >= len) this.#deliverOne(i, off, len, false);
      else this.#deliverTrain(i, off, len, stated);
    }
    this.#flush();
  }

  #deliverTrain(i: number, off: number, len: number, size: number): void {
    const end = off + len;
    for (let at = off; at < end; at += size) this.#deliverOne(i, at, Math.min(size, end - at), true);
  }

  /** @param i row of the source @param inTrain it is one datagram of a train */
  #deliverOne(i: number, off: number, len: number, inTrain: boolean): void {
    const out = this.#out;
    const o = out.count;
    out.off[o] = off + VXLAN_LEN;
    out.len[o] = len - VXLAN_LEN;
    out.vniIdx[o] = -1;
    out.flags[o] = 0;
    out.gsoType[o] = 0;
    out.segCount[o] = 1;
    out.wireLen[o] = len - VXLAN_LEN;
    out.status[o] = 0;
    this.#emit(this.#judgeDatagram(o, i, off, len, inTrain));
  }

  /** The checks of the outer side; who counts it is known after the source check. @returns 0 or the drop reason */
  #judgeDatagram(o: number, i: number, off: number, len: number, inTrain: boolean): number {
    const { vnis, peers } = this.#tables;
    const arena = this.#arena;
    const out = this.#out;
    if (len < SHORTEST) return DROP.truncated;
    if (!hasVni(arena, off)) return this.#judgeNoFrame(o, i, off, len);
    const vniIdx = vnis.find(vni(arena, off));
    if (vniIdx < 0) return this.#judgeStray(vni(arena, off));
    const peerIdx = peers.findSource(vniIdx, this.#sources, i);
    out.vniIdx[o] = vniIdx;
    out.peerIdx[o] = peerIdx < 0 ? vnis.otherIdx[vniIdx] : peers.accountIdx(peerIdx);
    let network = describeFrame(arena, out, o, vnis.overlayMtu[vniIdx]);
    if (peerIdx < 0 && vnis.accept[vniIdx] !== ACCEPT_ANY) return DROP.source_not_peer;
    if (hasReservedBits(arena, off)) {
      out.flags[o] |= FRAME_RESERVED_BITS;
      if (this.#options.strictHeader) return DROP.reserved_bits;
    }
    // It ends within a tag or just behind one: the kernel would accept it from the TAP's writer and free it uncounted.
    if (network === -1) return DROP.invalid_hdr;
    if (inTrain && network >= 0 && reachesBeyond(arena, network, off + len)) return DROP.ambiguous;
    const verdict = this.#judgeFrame(o, i, peerIdx, vniIdx);
    // Behind the tags that were removed, headers may be in sight that were not before.
    if (out.off[o] !== off + VXLAN_LEN) network = describeFrame(arena, out, o, vnis.overlayMtu[vniIdx]);
    if (verdict !== 0 || this.#isPlain(network, off + len)) return verdict;
    return network === SEGMENTS_TOO_SHORT ? DROP.segments : this.#adapt(o, network, peerIdx);
  }

  /** Which VNI it was is for the operator: one side is configured wrong. */
  #judgeStray(strayVni: number): number {
    this.#tables.counters.cells[G_STRAY_VNI] = strayVni + 1;
    return DROP.vni_not_found;
  }

  /** Without an I flag it is a path probe, which stands for no frame and so counts as none, or invalid. */
  #judgeNoFrame(o: number, i: number, off: number, len: number): number {
    if (this.#probes.take(this.#arena, off, len, this.#sources, i, this.#tick)) this.#out.segCount[o] = 0;
    return DROP.invalid_hdr;
  }

  /** The checks of the frame itself, and learning. @returns 0 or the drop reason */
  #judgeFrame(o: number, i: number, peerIdx: number, vniIdx: number): number {
    const { vnis } = this.#tables;
    const arena = this.#arena;
    const source = this.#out.off[o] + SRC_OFF;
    const high = macHigh(arena, source);
    const low = macLow(arena, source);
    if (isMulticastMac(high) || (high | low) === 0) return DROP.mac_invalid_source;
    if (low === vnis.macLow[vniIdx] && high === vnis.macHigh[vniIdx]) return DROP.local_mac;
    if (vnis.vlan[vniIdx] !== VLAN_PASS && hasVlanTag(arena, this.#out.off[o])) {
      if (vnis.vlan[vniIdx] === VLAN_DROP) return DROP.vlan_drop;
      if (!this.#stripTags(o)) return DROP.invalid_hdr;
    }
    const verdict = vnis.learning[vniIdx] === 0 ? 0 : this.#learn(vniIdx, high, low, peerIdx, i);
    if (this.#observer.active && verdict === 0 && peerIdx >= 0)
      this.#observer.received(vniIdx, high, low, peerIdx, isTcpSuperframe(this.#out.gsoType[o]));
    return verdict;
  }

  /** True for nearly every frame: IPv4, no SYN, and no congestion met. Then there is nothing to adapt. */
  #isPlain(network: number, end: number): boolean {
    const arena = this.#arena;
    if (network < 0 || end - network < PLAIN_TCP_LEN || !leavesEcn(this.#tos)) return false;
    if (networkEtherType(arena, network) !== ETHERTYPE_IPV4) return false;
    if (arena[network + PROTOCOL_OFF] !== PROTOCOL_TCP) return true;
    return arena[network] === PLAIN_IPV4 && (arena[network + PLAIN_FLAGS_OFF] & FLAG_SYN) === 0;
  }

  /**
   * What the frame brings along from the underlay: congestion and how much fits, for its receiver; an answer that somebody
   * here waits for. @returns 0 or the drop reason
   */
  #adapt(o: number, network: number, peerIdx: number): number {
    const out = this.#out;
    const arena = this.#arena;
    const end = out.off[o] + out.len[o];
    if (!leavesEcn(this.#tos)) {
      const verdict = applyOuterEcn(arena, network, end, this.#tos);
      if (verdict !== 0) return verdict;
    }
    if (network < 0 || peerIdx < 0) return 0;
    const type = networkEtherType(arena, network);
    if (type === ETHERTYPE_ARP) this.#probes.receive(arena, out.off[o], out.len[o], peerIdx, this.#tick);
    const syn = this.#options.mssClamp ? synOffset(arena, type, network, end) : -1;
    if (syn >= 0) {
      const postponed = (out.flags[o] & FRAME_NEEDS_CSUM) !== 0;
      this.#mss.clamp(arena, out.off[o], network, syn, peerIdx, postponed);
    }
    return 0;
  }

  #learn(vniIdx: number, high: number, low: number, peerIdx: number, i: number): number {
    const { fdb } = this.#tables;
    if (peerIdx >= 0) return fdb.learn(vniIdx, high, low, peerIdx, this.#tick);
    return fdb.learnFromStranger(vniIdx, high, low, this.#sources, i, this.#options.port, this.#tick);
  }

  /** Moves the two addresses over all tags: twelve bytes, whatever the frame's length. @returns false: nothing is behind them */
  #stripTags(o: number): boolean {
    const out = this.#out;
    const off = out.off[o];
    const tagsLen = vlanTagsLen(this.#arena, off, off + out.len[o]);
    if (tagsLen < 0) return false;
    this.#arena.copyWithin(off + tagsLen, off, off + VLAN_OFF);
    out.off[o] = off + tagsLen;
    out.len[o] -= tagsLen;
    return true;
  }

  /** The descriptor at the end of the batch is complete: keep it, and write when the batch is full. */
  #emit(verdict: number): void {
    const out = this.#out;
    out.verdict[out.count] = verdict;
    if (++out.count === BATCH_CAP) this.#flush();
  }

  #flush(): void {
    const out = this.#out;
    if (out.count === 0) return;
    this.#overlay.write(out, this.#arena);
    accountDecap(out, this.#tables.counters, this.#clock);
    out.count = 0;
  }
}
