/**
 * Underlay → overlay: checks received datagrams and delivers their frames (RFC 7348 §4.1, §5).
 *
 * The checks, in this order, with the drop reason of each (`exchange/drop-reason.ts`):
 *
 * | check                                                  | drop reason                       |
 * |--------------------------------------------------------|-----------------------------------|
 * | datagram holds a VXLAN and an Ethernet header          | `truncated`                       |
 * | arrived by no device of the overlay                    | `from_overlay`                    |
 * | I flag set                                             | `invalid_hdr`                     |
 * | VNI configured here                                    | `vni_not_found`                   |
 * | source is a peer of the VNI, with `--accept peers`     | `source_not_peer`                 |
 * | reserved bits clear, with `--strict-header on`         | `reserved_bits`                   |
 * | frame does not end within a VLAN tag                   | `invalid_hdr`                     |
 * | in a train: inner IP packet ends within its datagram   | `ambiguous`                       |
 * | inner source MAC is unicast and not our own            | `mac_invalid_source`, `local_mac` |
 * | VLAN policy                                            | `vlan_drop`, `invalid_hdr`        |
 * | with learning: no static FDB entry names another peer  | `entry_exists`                    |
 * | segments of a superframe are neither too short nor many| `segments`                        |
 * | congestion mark (ECN) fits the inner packet            | `ip_tunnel_ecn`                   |
 *
 * A dropped frame stays in the batch with its reason in the `verdict` column. The port skips it,
 * and `accountDecap` (`frame/account.ts`) counts it with the delivered ones. A datagram that fails
 * the first, third or fourth check belongs to no VNI: its `vniIdx` is −1, and it counts in the global
 * row (`G_DROPS_DECAP` and the reason's index), and so does `from_overlay` without a configured VNI.
 * A VM can send VXLAN with the address of a peer to an address of this host; the device by which it
 * arrives is what it cannot choose. Any other drop of this file counts in the row of its
 * VNI (`V_DROPS_DECAP`). Datagrams that the kernel dropped are counted by the loop. A path probe of
 * another vtepd has the I flag clear; it gets a verdict, but counts as no frame.
 *
 * The source MAC is learned before the last check of the table. In a frame that passes, the ECN
 * field is updated and the MSS of a SYN is clamped. The frame is written to the VNI's TAP and never
 * back to the underlay (split horizon). Bytes from the network are checked in this step only.
 *
 * A superframe is one frame that stands for many segments (GSO). No superframe crosses a wire. A
 * peer on the same machine, however, is reached over veth, and its kernel leaves the segmentation
 * to a network card that does not exist. A TCP superframe of that peer therefore arrives as one
 * datagram. `describeFrame` (`frame/postponed.ts`)
 * recognises such a superframe. It is written to the TAP whole, for the kernel to segment, and it
 * counts as its segments. Other superframes do not arrive whole.
 *
 * A descriptor with a segment size is a train that the kernel did not take apart (UDP_GRO):
 * datagrams of one outer flow, possibly of several VNIs. Each datagram is judged by itself. A
 * datagram whose inner IP length reaches beyond its end is dropped (`ambiguous`), so that a VM
 * cannot join its datagram to the next one, which may belong to another VNI.
 *
 * Called by the loop, in a data-plane thread.
 */

import { Batch, FRAME_NEEDS_CSUM } from '../../abi/batch.js';
import { BATCH_CAP } from '../../abi/limits.js';
import { G_STRAY_VNI, V_TWIN_FRAMES, V_TWIN_PEER } from '../../exchange/counters.js';
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
import { bridgeMacHigh, isMulticastMac, macHigh, macLow } from '../../wire/mac.js';
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
  /** DF policy of datagrams to peers. It determines the MSS to which SYNs are clamped. */
  readonly df: OuterOptions['df'];
  /** True: lower the MSS of SYNs to what the path carries. */
  readonly mssClamp: boolean;
  /** True: drop datagrams with reserved bits set; false: count and deliver them. */
  readonly strictHeader: boolean;
  /** UDP destination port for learned peers. */
  readonly port: number;
  /** Callback for replies to path probes. */
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
  /** Frames to write and drops, in the order of arrival. */
  readonly #out = new Batch();
  #tick = 0;
  #clock = makeClock();
  /** Devices by which no VXLAN is accepted, by interface index. */
  #overlayDevices: ReadonlySet<number> = new Set();
  /** The last device that is not one of them: datagrams rarely alternate between devices. */
  #underlayDevice = 0;
  /** True while the current datagram arrived by a device of the overlay. */
  #isFromOverlay = false;
  /** Outer TOS byte of the current datagram. */
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
   * Delivers and counts every datagram of the batch.
   * @param clock time for the FDB and for the peers' last-seen counters
   */
  deliver(datagrams: Batch, clock: Clock): void {
    this.#tick = tickOf(clock);
    this.#clock = clock;
    for (let i = 0; i < datagrams.count; i++) {
      const off = datagrams.off[i];
      const len = datagrams.len[i];
      const segmentLen = datagrams.gsoSize[i];
      this.#tos = datagrams.tos[i];
      this.#isFromOverlay = this.#arrivedByOverlay(datagrams.ifindex[i]);
      if (segmentLen <= 0 || segmentLen >= len) this.#deliverOne(i, off, len, false);
      else this.#deliverTrain(i, off, len, segmentLen);
    }
    this.#flush();
  }

  /** Sets the devices by which no VXLAN is accepted, by interface index. */
  setOverlayDevices(indexes: Int32Array): void {
    this.#overlayDevices = new Set(indexes);
    this.#underlayDevice = 0;
  }

  /** @param ifindex 0: unknown, which counts as the underlay */
  #arrivedByOverlay(ifindex: number): boolean {
    if (ifindex === this.#underlayDevice) return false;
    if (this.#overlayDevices.has(ifindex)) return true;
    this.#underlayDevice = ifindex;
    return false;
  }

  #deliverTrain(i: number, off: number, len: number, size: number): void {
    const end = off + len;
    for (let at = off; at < end; at += size) this.#deliverOne(i, at, Math.min(size, end - at), true);
  }

  /** @param i row of the source @param inTrain true for a datagram of a train */
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

  /**
   * Checks the outer headers, then the frame. The source check selects the peer row in which the
   * frame is counted.
   * @returns 0 or the drop reason
   */
  #judgeDatagram(o: number, i: number, off: number, len: number, inTrain: boolean): number {
    const { vnis, peers } = this.#tables;
    const arena = this.#arena;
    const out = this.#out;
    if (len < SHORTEST) return DROP.truncated;
    if (this.#isFromOverlay) return this.#judgeFromOverlay(o, off);
    if (!hasVni(arena, off)) return this.#judgeWithoutVni(o, i, off, len);
    const vniIdx = vnis.find(vni(arena, off));
    if (vniIdx < 0) return this.#judgeUnknownVni(vni(arena, off));
    const peerIdx = peers.findSource(vniIdx, this.#sources, i);
    out.vniIdx[o] = vniIdx;
    out.peerIdx[o] = peerIdx < 0 ? vnis.otherIdx[vniIdx] : peers.accountIdx(peerIdx);
    let network = describeFrame(arena, out, o, vnis.overlayMtu[vniIdx]);
    if (peerIdx < 0 && vnis.accept[vniIdx] !== ACCEPT_ANY) return DROP.source_not_peer;
    if (hasReservedBits(arena, off)) {
      out.flags[o] |= FRAME_RESERVED_BITS;
      if (this.#options.strictHeader) return DROP.reserved_bits;
    }
    // The frame ends within a tag or directly behind it. The kernel would accept such a frame from
    // the TAP and free it without counting it.
    if (network === -1) return DROP.invalid_hdr;
    if (inTrain && network >= 0 && reachesBeyond(arena, network, off + len)) return DROP.ambiguous;
    const verdict = this.#judgeFrame(o, i, peerIdx, vniIdx);
    // Possibly the tags hid headers, which are recognised only after the tags are removed.
    if (out.off[o] !== off + VXLAN_LEN) network = describeFrame(arena, out, o, vnis.overlayMtu[vniIdx]);
    if (verdict !== 0 || this.#isPlain(network, off + len)) return verdict;
    return network === SEGMENTS_TOO_SHORT ? DROP.segments : this.#adapt(o, network, peerIdx);
  }

  /** Counts a forged datagram in its VNI, if it is configured, in the row of other sources. */
  #judgeFromOverlay(o: number, off: number): number {
    const { vnis } = this.#tables;
    const vniIdx = hasVni(this.#arena, off) ? vnis.find(vni(this.#arena, off)) : -1;
    this.#out.vniIdx[o] = vniIdx;
    if (vniIdx >= 0) this.#out.peerIdx[o] = vnis.otherIdx[vniIdx];
    return DROP.from_overlay;
  }

  /** Records the unknown VNI, which shows an operator which side is misconfigured. */
  #judgeUnknownVni(unknownVni: number): number {
    this.#tables.counters.cells[G_STRAY_VNI] = unknownVni + 1;
    return DROP.vni_not_found;
  }

  /**
   * Handles a datagram without I flag: a path probe, which does not count as a frame, or an invalid
   * datagram.
   */
  #judgeWithoutVni(o: number, i: number, off: number, len: number): number {
    if (this.#probes.handle(this.#arena, off, len, this.#sources, i, this.#tick)) this.#out.segCount[o] = 0;
    return DROP.invalid_hdr;
  }

  /** Checks the frame itself and learns its source. @returns 0 or the drop reason */
  #judgeFrame(o: number, i: number, peerIdx: number, vniIdx: number): number {
    const { vnis } = this.#tables;
    const arena = this.#arena;
    const source = this.#out.off[o] + SRC_OFF;
    const high = macHigh(arena, source);
    const low = macLow(arena, source);
    if (isMulticastMac(high) || (high | low) === 0) return DROP.mac_invalid_source;
    if (low === vnis.macLow[vniIdx]) {
      const verdict = this.#judgeOwnMac(high, vniIdx, this.#out.peerIdx[o]);
      if (verdict !== 0) return verdict;
    }
    if (vnis.vlan[vniIdx] !== VLAN_PASS && hasVlanTag(arena, this.#out.off[o])) {
      if (vnis.vlan[vniIdx] === VLAN_DROP) return DROP.vlan_drop;
      if (!this.#stripTags(o)) return DROP.invalid_hdr;
    }
    const verdict = vnis.learning[vniIdx] === 0 ? 0 : this.#learn(vniIdx, high, low, peerIdx, i);
    if (this.#observer.active && verdict === 0 && peerIdx >= 0)
      this.#observer.received(vniIdx, high, low, peerIdx, isTcpSuperframe(this.#out.gsoType[o]));
    return verdict;
  }

  /**
   * Judges a frame whose last four bytes of the source MAC are those of our TAP. Records a peer that
   * uses the MAC of the TAP, or of the bridge that vtepd makes for it (`host/mac-address.ts`).
   * @returns 0 or the drop reason
   */
  #judgeOwnMac(high: number, vniIdx: number, peerIdx: number): number {
    const { vnis, counters } = this.#tables;
    const ownHigh = vnis.macHigh[vniIdx];
    if (high !== ownHigh && high !== bridgeMacHigh(ownHigh)) return 0;
    const base = counters.vniBase(vniIdx);
    counters.cells[base + V_TWIN_PEER] = peerIdx + 1;
    counters.cells[base + V_TWIN_FRAMES]++;
    return high === ownHigh ? DROP.local_mac : 0;
  }

  /** True when nothing needs adapting: IPv4, no SYN, no congestion. Nearly every frame is plain. */
  #isPlain(network: number, end: number): boolean {
    const arena = this.#arena;
    if (network < 0 || end - network < PLAIN_TCP_LEN || !leavesEcn(this.#tos)) return false;
    if (networkEtherType(arena, network) !== ETHERTYPE_IPV4) return false;
    if (arena[network + PROTOCOL_OFF] !== PROTOCOL_TCP) return true;
    return arena[network] === PLAIN_IPV4 && (arena[network + PLAIN_FLAGS_OFF] & FLAG_SYN) === 0;
  }

  /**
   * Applies outer congestion, receives ARP replies to path probes, and clamps the MSS of a SYN.
   * @returns 0 or the drop reason
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
      const partialChecksum = (out.flags[o] & FRAME_NEEDS_CSUM) !== 0;
      this.#mss.clamp(arena, out.off[o], network, syn, peerIdx, partialChecksum);
    }
    return 0;
  }

  #learn(vniIdx: number, high: number, low: number, peerIdx: number, i: number): number {
    const { fdb } = this.#tables;
    if (peerIdx >= 0) return fdb.learn(vniIdx, high, low, peerIdx, this.#tick);
    return fdb.learnFromStranger(vniIdx, high, low, this.#sources, i, this.#options.port, this.#tick);
  }

  /**
   * Removes all tags by moving the two addresses over them: 12 bytes, whatever the length of the
   * frame.
   * @returns false when nothing follows the tags
   */
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

  /** Completes the descriptor at the end of the batch, and writes the batch when it is full. */
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
