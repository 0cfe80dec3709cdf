/**
 * Overlay → underlay: encapsulates frames read from the TAPs (RFC 7348 §4.1).
 *
 * A known unicast frame goes to one peer. A broadcast, multicast or unknown unicast (BUM) frame
 * goes to every peer of its VNI's flood list (head-end replication): each copy is one more
 * descriptor for the same bytes. The VXLAN header is written once, into the headroom in front of
 * the frame; no frame is copied.
 *
 * A superframe is one frame that stands for many segments, as the TAP gives with GSO. It is
 * forwarded as one frame and counted as its segments. The port segments it while sending; the option
 * `switch/superframes/` sends it whole if a network card can segment it. A superframe with too many
 * or too small segments is dropped (`segments`, `frame/superframe.ts`). A superframe whose segments
 * exceed the path is handled by `mtu/too-big.ts`.
 *
 * A dropped frame stays in the batch with its reason in the `verdict` column; the port skips it,
 * and `accountEncap` (`frame/account.ts`) counts it with the sent ones.
 *
 * The VNIs share each round by deficit round robin: `refill` gives a VNI its share, and each
 * datagram is charged to it. A VNI may begin a frame or continue a flood while it has credit left.
 * Its further frames wait in its backlog until `resume`, while the other VNIs are served.
 *
 * Called by the loop with a batch of frames, in a data-plane thread (worker). It sends whenever its
 * own batch is full, and at the end of each call. Adjacent datagrams of one size for one peer may
 * cross the kernel as one (a train, UDP_SEGMENT); the port joins them.
 */

import { Batch, DF_CLEAR, DF_CLEAR_TOO_BIG, DF_SET, FRAME_NEEDS_CSUM } from '../../abi/batch.js';
import { BATCH_CAP, SOURCE_SOCKETS, VXLAN_HEADROOM } from '../../abi/limits.js';
import { DROP } from '../../exchange/drop-reason.js';
import { ETHERTYPE_IPV4, networkEtherType, networkOffset } from '../../wire/ethernet.js';
import { flowHash, flowSeed } from '../../wire/flow-hash.js';
import { PLAIN_IPV4, PROTOCOL_OFF, PROTOCOL_TCP, TOS_OFF } from '../../wire/ipv4.js';
import { isMulticastMac, macHigh, macLow } from '../../wire/mac.js';
import { FLAG_SYN } from '../../wire/tcp.js';
import { writeVxlanHeader } from '../../wire/vxlan.js';
import { type Clock, NOW_MS } from '../fdb/clock.js';
import type { Tables } from '../fdb/tables.js';
import { accountEncap, FRAME_BROADCAST, FRAME_MULTICAST, FRAME_UNKNOWN_UNICAST } from '../frame/account.js';
import { inheritedDf, type OuterOptions, outerTos, TOS_INHERITED, tosOption } from '../frame/outer-header.js';
import { countSegments, isTcpSuperframe } from '../frame/superframe.js';
import { Fragmenter } from '../mtu/fragmenter.js';
import { MssClamp, PLAIN_FLAGS_OFF, PLAIN_TCP_LEN, synOffset } from '../mtu/mss-clamp.js';
import { DROP_TOO_BIG, SEND_IN_INNER_FRAGMENTS, SEND_IN_OUTER_FRAGMENTS, TooBig } from '../mtu/too-big.js';
import { FRAME_FIRST_COPY, type OverlayPort, type UnderlayPort } from '../port/port.js';
import { Backlog, type Position } from './backlog.js';
import type { StationObserver } from './observer.js';

const SOURCE_SOCKET_MASK = SOURCE_SOCKETS - 1;
const DF_INHERITED = -1;
/**
 * Cost of a separate UDP message, in units of one datagram of a train (about 0.4 µs). Each copy of
 * a flood is a separate message, and so is each frame that follows a frame of another flow in the
 * batch.
 */
export const MESSAGE_COST = 4;
/**
 * log2 of the bytes of a fragmented copy that cost one unit. This thread copies these bytes twice
 * and computes checksums over them.
 */
const FRAGMENTED_SHIFT = 7;
/** log2 of the peers that a search through the flood list examines for one cost unit. */
const SEARCHED_SHIFT = 6;
/**
 * Share of a VNI in one round, in cost units: a batch of separate messages, about 0.2 ms. A batch
 * of TCP superframes costs about 200 units.
 */
export const VNI_SHARE = MESSAGE_COST * BATCH_CAP;

export interface EncapOptions extends OuterOptions {
  /** True: lower the MSS of SYNs to what the path carries. */
  readonly mssClamp: boolean;
  /**
   * Secret 32-bit integer from which source ports are derived (`wire/flow-hash.ts`); the same in
   * all workers.
   */
  readonly flowSecret: number;
  /** Observer of frames to known stations. */
  readonly observer: StationObserver;
}

export class Encap {
  readonly #tables: Tables;
  readonly #underlay: UnderlayPort;
  readonly #arena: Uint8Array;
  readonly #tooBig: TooBig;
  readonly #fragmenter: Fragmenter;
  readonly #mss: MssClamp;
  readonly #observer: StationObserver;
  readonly #clamps: boolean;
  readonly #tos: number;
  readonly #flowSecret: number;
  /** DF of every datagram; DF_INHERITED: derived from the inner packet. */
  readonly #df: number;
  /** Datagrams to send, in the order of their frames. */
  readonly #out = new Batch();
  /** Credit of each VNI in cost units; it falls below zero by at most one copy. */
  readonly #credit: Int32Array;
  /** Frames that were read and wait for the next share of their VNI. */
  readonly backlog: Backlog;
  /** Cost since the loop last reset it to 0. */
  spent = 0;
  /** True while the current frame is being flooded. */
  #isFlooding = false;
  /** Position at which the current flood was interrupted. */
  readonly #cut: Position = { runs: new Int32Array(0), run: 0, peerIdx: 0, srcPortIdx: 0 };
  /** Hashes of the destination MACs of the batch being forwarded. */
  readonly #hashes = new Int32Array(BATCH_CAP);

  constructor(tables: Tables, overlay: OverlayPort, underlay: UnderlayPort, options: EncapOptions) {
    const maxVnis = tables.vnis.vni.length;
    this.#tables = tables;
    this.#underlay = underlay;
    this.#arena = overlay.arena;
    this.#credit = new Int32Array(maxVnis).fill(VNI_SHARE);
    this.backlog = new Backlog(overlay.arena, maxVnis);
    this.#tooBig = new TooBig(tables, overlay, options);
    this.#fragmenter = new Fragmenter(tables, underlay, overlay.arena);
    this.#mss = new MssClamp(tables, options.df === 'unset');
    this.#observer = options.observer;
    this.#clamps = options.mssClamp;
    this.#tos = tosOption(options);
    this.#flowSecret = options.flowSecret;
    this.#df = options.df === 'set' ? DF_SET : options.df === 'unset' ? DF_CLEAR : DF_INHERITED;
  }

  /** Begins a VNI's turn with a new share. A deficit is deducted; unused credit is not kept. */
  refill(vniIdx: number): void {
    this.#credit[vniIdx] = Math.min(VNI_SHARE, this.#credit[vniIdx] + VNI_SHARE);
  }

  /**
   * Forwards and counts the frames of the batch, or keeps those that exceed their VNI's share. The
   * batch's memory may be reused on return. No frame of the batch belongs to a VNI with a backlog.
   */
  forward(frames: Batch): void {
    const credit = this.#credit;
    this.#hashDestinations(frames);
    for (let i = 0; i < frames.count; i++) {
      if (credit[frames.vniIdx[i]] <= 0) this.#defer(frames, i, false);
      else if (!this.#forwardOne(frames, i)) this.#defer(frames, i, true);
    }
    this.#flush();
  }

  /** Continues with a VNI's backlog, as far as its share allows. */
  resume(vniIdx: number): void {
    const held = this.backlog.of(vniIdx);
    if (held === undefined) return;
    const { frames } = held;
    const { table } = this.#tables.fdb;
    while (held.next < frames.count && this.#credit[vniIdx] > 0) {
      const i = held.next;
      let isDone: boolean;
      if (held.isCut) isDone = this.#resumeFlood(frames, i, held.at);
      else {
        const off = frames.off[i];
        this.#hashes[i] = table.hash(vniIdx, macHigh(this.#arena, off), macLow(this.#arena, off));
        isDone = this.#forwardOne(frames, i);
      }
      if (isDone) {
        held.isCut = false;
        held.next++;
      } else held.cutAt(this.#cut);
    }
    this.#flush();
    if (held.next === frames.count) this.backlog.release(vniIdx);
  }

  /** Discards a removed VNI's backlog. The discarded frames are not counted. */
  vniRemoved(vniIdx: number): void {
    this.backlog.release(vniIdx);
    this.#credit[vniIdx] = VNI_SHARE;
  }

  /**
   * Moves frame i, or the remainder of its flood, to the backlog. If no slot is free, the frame is
   * dropped (`fair_share`).
   */
  #defer(frames: Batch, i: number, isCut: boolean): void {
    const held = this.backlog.hold(frames, i);
    if (held !== undefined) {
      if (isCut) held.cutAt(this.#cut);
    } else if (isCut) this.#dropRemaining(frames, i);
    else {
      countSegments(this.#arena, frames, i);
      this.#list(frames, i, 0, -1, FRAME_FIRST_COPY, DROP.fair_share, 0);
    }
  }

  /** Drops and counts the remaining copies of an interrupted flood. */
  #dropRemaining(frames: Batch, i: number): void {
    const { runs, srcPortIdx } = this.#cut;
    let { peerIdx } = this.#cut;
    for (let run = this.#cut.run; run < runs.length; run += 2) {
      for (const end = runs[run] + runs[run + 1]; peerIdx < end; peerIdx++)
        this.#list(frames, i, srcPortIdx, peerIdx, 0, DROP.fair_share, 0);
      peerIdx = runs[run + 2];
    }
  }

  /** Hashes all destinations before the first lookup, so that the lookups' cache misses overlap. */
  #hashDestinations(frames: Batch): void {
    const { table } = this.#tables.fdb;
    for (let i = 0; i < frames.count; i++) {
      const off = frames.off[i];
      this.#hashes[i] = table.hash(frames.vniIdx[i], macHigh(this.#arena, off), macLow(this.#arena, off));
    }
    table.touch(this.#hashes, frames.count);
  }

  /**
   * Advances the clock of the ICMP rate limit, and counts sends that completed after `send`
   * returned.
   */
  completeSends(clock: Clock): void {
    this.#tooBig.tick(clock[NOW_MS] | 0);
    for (;;) {
      this.#underlay.completions(this.#out);
      const completed = this.#out.count;
      if (completed > 0) accountEncap(this.#out, this.#tables);
      this.#out.count = 0;
      if (completed < BATCH_CAP) return;
    }
  }

  /** @returns false when the flood of the frame was interrupted, at `#cut` */
  #forwardOne(frames: Batch, i: number): boolean {
    const { vnis, fdb } = this.#tables;
    const arena = this.#arena;
    const off = frames.off[i];
    const end = off + frames.len[i];
    const vniIdx = frames.vniIdx[i];
    const high = macHigh(arena, off);
    const low = macLow(arena, off);
    const network = networkOffset(arena, off, end);
    const type = network < 0 ? 0 : networkEtherType(arena, network);
    if (!countSegments(arena, frames, i)) {
      this.#list(frames, i, 0, -1, FRAME_FIRST_COPY, DROP.segments, 0);
      return true;
    }
    const vni = vnis.vni[vniIdx];
    writeVxlanHeader(arena, off - VXLAN_HEADROOM, vni);
    // Inlined fast path of `outerTos` and `synOffset` for plain IPv4, because nearly every frame is
    // plain IPv4. Calling both costs 14 ns a frame (bench/micro, encap): V8 does not inline them
    // into a function as long as this one.
    let mayBeSyn = this.#clamps;
    if (this.#tos === TOS_INHERITED && type === ETHERTYPE_IPV4 && end - network >= PLAIN_TCP_LEN) {
      frames.tos[i] = arena[network + TOS_OFF];
      if (arena[network + PROTOCOL_OFF] !== PROTOCOL_TCP) mayBeSyn = false;
      else if (arena[network] === PLAIN_IPV4)
        mayBeSyn &&= (arena[network + PLAIN_FLAGS_OFF] & FLAG_SYN) !== 0;
    } else frames.tos[i] = outerTos(arena, type, network, end, this.#tos);
    frames.df[i] = this.#df === DF_INHERITED ? inheritedDf(arena, type, network, end) : this.#df;
    const srcPortIdx =
      flowHash(arena, off, network, end, flowSeed(this.#flowSecret, vni)) & SOURCE_SOCKET_MASK;
    if (isMulticastMac(high)) {
      const isBroadcast = high === 0xffff && low === -1;
      return this.#floodOne(frames, i, srcPortIdx, isBroadcast ? FRAME_BROADCAST : FRAME_MULTICAST);
    }
    const peerIdx = fdb.lookupHashed(this.#hashes[i], vniIdx, high, low);
    if (mayBeSyn) {
      const syn = synOffset(arena, type, network, end);
      if (syn >= 0) this.#clamp(frames, i, network, syn, peerIdx);
    }
    if (peerIdx < 0) return this.#missOne(frames, i, srcPortIdx, high, low);
    if (this.#observer.active)
      this.#observer.sent(vniIdx, high, low, peerIdx, isTcpSuperframe(frames.gsoType[i]));
    this.#emit(frames, i, srcPortIdx, peerIdx, FRAME_FIRST_COPY, 0);
    return true;
  }

  #missOne(frames: Batch, i: number, srcPortIdx: number, high: number, low: number): boolean {
    const { vnis, fdb } = this.#tables;
    const vniIdx = frames.vniIdx[i];
    fdb.missWatch?.missed(vniIdx, high, low);
    if (vnis.flood[vniIdx] !== 0) return this.#floodOne(frames, i, srcPortIdx, FRAME_UNKNOWN_UNICAST);
    this.#emit(frames, i, srcPortIdx, -1, FRAME_FIRST_COPY, DROP.flood_off);
    return true;
  }

  /**
   * Clamps the MSS of a SYN. All copies of a flooded SYN share the same bytes, so the narrowest
   * path of the flood list determines the MSS.
   */
  #clamp(frames: Batch, i: number, network: number, syn: number, peerIdx: number): void {
    const narrowest = peerIdx >= 0 ? peerIdx : this.#narrowest(frames.vniIdx[i]);
    if (narrowest < 0) return;
    const partialChecksum = (frames.flags[i] & FRAME_NEEDS_CSUM) !== 0;
    this.#mss.clamp(this.#arena, frames.off[i], network, syn, narrowest, partialChecksum);
  }

  /**
   * @returns the peer row of the flood list with the smallest path MTU; −1 when the VNI does not
   * flood or the list is empty
   */
  #narrowest(vniIdx: number): number {
    const { vnis, paths, flood } = this.#tables;
    if (vnis.flood[vniIdx] === 0) return -1;
    this.#charge(vniIdx, flood.count(vniIdx) >> SEARCHED_SHIFT);
    const runs = flood.runs(vniIdx);
    let narrowest = -1;
    for (let run = 0; run < runs.length; run += 2) {
      const end = runs[run] + runs[run + 1];
      for (let peerIdx = runs[run]; peerIdx < end; peerIdx++)
        if (narrowest < 0 || paths.carries(peerIdx) < paths.carries(narrowest)) narrowest = peerIdx;
    }
    return narrowest;
  }

  #floodOne(frames: Batch, i: number, srcPortIdx: number, why: number): boolean {
    const runs = this.#tables.flood.runs(frames.vniIdx[i]);
    if (runs.length > 0)
      return this.#replicate(frames, i, runs, 0, runs[0], srcPortIdx, FRAME_FIRST_COPY | why);
    this.#emit(frames, i, srcPortIdx, -1, FRAME_FIRST_COPY, DROP.no_tx_target);
    return true;
  }

  /** Resumes an interrupted flood. */
  #resumeFlood(frames: Batch, i: number, { runs, run, peerIdx, srcPortIdx }: Position): boolean {
    return this.#replicate(frames, i, runs, run, peerIdx, srcPortIdx, 0);
  }

  /**
   * Emits one copy for each peer of the flood list from a given row on, as far as the VNI's share
   * allows. If the list was replaced after an interruption, only rows that are also in the new list
   * get a copy, because any other row possibly belongs to another VNI by now.
   *
   * @param flags `flags` column of the first copy
   * @returns false when the flood was interrupted, at `#cut`
   */
  #replicate(
    frames: Batch,
    i: number,
    runs: Int32Array,
    firstRun: number,
    firstPeerIdx: number,
    srcPortIdx: number,
    flags: number,
  ): boolean {
    const { flood } = this.#tables;
    const vniIdx = frames.vniIdx[i];
    const isReplaced = runs !== flood.runs(vniIdx);
    let peerIdx = firstPeerIdx;
    let nextFlags = flags;
    this.#isFlooding = true;
    for (let run = firstRun; run < runs.length; run += 2) {
      for (const end = runs[run] + runs[run + 1]; peerIdx < end; peerIdx++) {
        if (this.#credit[vniIdx] <= 0) {
          this.#isFlooding = false;
          const cut = this.#cut;
          cut.runs = runs;
          cut.run = run;
          cut.peerIdx = peerIdx;
          cut.srcPortIdx = srcPortIdx;
          return false;
        }
        if (isReplaced && !flood.has(vniIdx, peerIdx)) continue;
        this.#emit(frames, i, srcPortIdx, peerIdx, nextFlags, 0);
        nextFlags = 0;
      }
      peerIdx = runs[run + 2];
    }
    this.#isFlooding = false;
    return true;
  }

  /**
   * Emits one copy of frame i, or its drop. The comparison with the frame limit is the only size
   * check of the common path.
   */
  #emit(frames: Batch, i: number, srcPortIdx: number, peerIdx: number, flags: number, verdict: number): void {
    const isLarge = verdict === 0 && frames.largestLen[i] > this.#tables.peers.frameLimit[peerIdx];
    if (isLarge) this.#emitLarge(frames, i, srcPortIdx, peerIdx, flags);
    else this.#list(frames, i, srcPortIdx, peerIdx, flags, verdict, frames.df[i]);
  }

  #emitLarge(frames: Batch, i: number, srcPortIdx: number, peerIdx: number, flags: number): void {
    const action = this.#tooBig.judge(frames, i, peerIdx, this.#isFlooding);
    if (action === SEND_IN_INNER_FRAGMENTS) {
      // Earlier frames must be sent before the fragments, to keep the order.
      this.#flush();
      const { ip, packetMax } = this.#tooBig;
      this.#fragmenter.send(frames, i, ip, packetMax, peerIdx, srcPortIdx, flags);
      const fragments = Math.ceil(frames.wireLen[i] / packetMax) + frames.segCount[i];
      this.#charge(frames.vniIdx[i], MESSAGE_COST + fragments + (frames.wireLen[i] >> FRAGMENTED_SHIFT));
      return;
    }
    const verdict = action === DROP_TOO_BIG ? DROP.too_big : 0;
    const df = action === SEND_IN_OUTER_FRAGMENTS ? DF_CLEAR_TOO_BIG : frames.df[i];
    this.#list(frames, i, srcPortIdx, peerIdx, flags, verdict, df);
  }

  /** Appends a copy or its drop to the batch, so that `accountEncap` counts both. */
  #list(
    frames: Batch,
    i: number,
    srcPortIdx: number,
    peerIdx: number,
    flags: number,
    verdict: number,
    df: number,
  ): void {
    const out = this.#out;
    const o = out.count;
    out.off[o] = frames.off[i] - VXLAN_HEADROOM;
    out.len[o] = frames.len[i] + VXLAN_HEADROOM;
    out.vniIdx[o] = frames.vniIdx[i];
    out.peerIdx[o] = peerIdx;
    out.srcPortIdx[o] = srcPortIdx;
    out.tos[o] = frames.tos[i];
    out.df[o] = df;
    out.gsoType[o] = frames.gsoType[i];
    out.gsoSize[o] = frames.gsoSize[i];
    out.csumStart[o] = frames.csumStart[i] + VXLAN_HEADROOM;
    out.csumOff[o] = frames.csumOff[i];
    out.flags[o] = (frames.flags[i] & FRAME_NEEDS_CSUM) | flags;
    out.segCount[o] = frames.segCount[i];
    out.wireLen[o] = frames.wireLen[i];
    out.verdict[o] = verdict;
    out.status[o] = 0;
    const joins = o > 0 && out.peerIdx[o - 1] === peerIdx && out.srcPortIdx[o - 1] === srcPortIdx;
    // A frame that was dropped for lack of a backlog slot was not sent, so the VNI is not charged
    // for it.
    if (verdict !== DROP.fair_share)
      this.#charge(frames.vniIdx[i], joins ? frames.segCount[i] : frames.segCount[i] + MESSAGE_COST - 1);
    if (++out.count === BATCH_CAP) this.#flush();
  }

  #charge(vniIdx: number, cost: number): void {
    this.#credit[vniIdx] -= cost;
    this.spent += cost;
  }

  #flush(): void {
    const out = this.#out;
    if (out.count === 0) return;
    this.#underlay.send(out, this.#arena);
    accountEncap(out, this.#tables);
    out.count = 0;
  }
}
