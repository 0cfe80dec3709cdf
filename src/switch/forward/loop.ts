/**
 * One round of the data plane, run in a data-plane thread.
 *
 * The steps of a round, in the order in which `thread.ts` calls them:
 *
 * 1. `readOverlay` reads frames from the TAPs whose turn it is; `forwardOverlay` encapsulates and
 *    sends them (`encap.ts`).
 * 2. `readUnderlay` receives datagrams from the sockets and delivers their frames (`decap.ts`).
 * 3. `housekeeping` does the periodic work: completed sends, eviction, ageing, counters.
 *
 * Each step is bounded, so a flood on one side delays neither the other side nor a control message.
 * Work beyond a bound stays for the next round, and the wait of that round returns at once.
 *
 * Runs to completion and never blocks: the caller waits, and passes in the time.
 */

import { Batch } from '../../abi/batch.js';
import { BATCH_CAP } from '../../abi/limits.js';
import { G_DROPS_DECAP, G_HEARTBEAT_MS } from '../../exchange/counters.js';
import { DROP } from '../../exchange/drop-reason.js';
import { AgeingSweep } from '../fdb/ageing.js';
import { type Clock, NOW_MS, secondOf, tickOf } from '../fdb/clock.js';
import type { Tables } from '../fdb/tables.js';
import type { OverlayPort, UnderlayPort } from '../port/port.js';
import { Decap, type DecapOptions } from './decap.js';
import { Encap, type EncapOptions } from './encap.js';
import type { StationObserver } from './observer.js';
import { Turns } from './turns.js';

/**
 * Most batches received from the sockets in one round: two, so that both address families get a
 * turn.
 */
const RECEIVES_PER_ROUND = 2;
/**
 * Cost limit of the TAP turns of a round, in the units of `encap.ts`: about 1 ms. After the limit
 * is reached, no further TAP is read. The limit also bounds the number of datagrams that the frames
 * read so far will become. That number is estimated from the number of frames, their bytes and the
 * flood lists of their VNIs.
 */
const ROUND_SHARE = 2048;
/** log2 of the superframe bytes that the estimate counts as one further datagram. */
const SEGMENT_SHIFT = 9;
/** Period of reading the kernel's drop counts, ms. */
const OVERFLOW_PERIOD_MS = 100;
/** Period of expiring old path MTU reports, ms. */
const PATHS_PERIOD_MS = 1000;

/**
 * Longest frame or datagram that counts as a request or its reply, bytes. It excludes superframes
 * of full-size segments.
 */
const SMALL_LEN = 1600;

/**
 * Results of `Loop.takeDirection`: one small frame to a peer, one from a peer, or anything else.
 */
export const ROUND_OTHER = 0;
export const ROUND_OUT = 1;
export const ROUND_IN = 2;

export interface LoopOptions extends EncapOptions, DecapOptions {}

export class Loop {
  readonly #observer: StationObserver;
  /** FIFO queue of the VNIs whose TAPs are to be read. */
  readonly #turns: Turns;
  /** Turns left in this round. */
  #turnsLeft = 0;
  /** Estimated datagrams that the frames read so far become. */
  #estimated = 0;
  readonly #addTurn = (vniIdx: number) => this.#turns.add(vniIdx);
  readonly #tables: Tables;
  readonly #overlay: OverlayPort;
  readonly #underlay: UnderlayPort;
  readonly #encap: Encap;
  readonly #decap: Decap;
  readonly #ageing: AgeingSweep;
  readonly #frames = new Batch();
  readonly #datagrams = new Batch();
  /** Frames of the round so far and their direction; ROUND_OTHER when a frame exceeds SMALL_LEN. */
  #moved = 0;
  #direction = ROUND_OTHER;
  #overflowMs = 0;
  #pathsMs = 0;

  constructor(tables: Tables, overlay: OverlayPort, underlay: UnderlayPort, options: LoopOptions) {
    this.#tables = tables;
    this.#overlay = overlay;
    this.#underlay = underlay;
    this.#observer = options.observer;
    tables.fdb.entryObserver = options.observer;
    this.#encap = new Encap(tables, overlay, underlay, options);
    this.#decap = new Decap(tables, overlay, underlay, options);
    this.#ageing = new AgeingSweep(tables.fdb);
    this.#turns = new Turns(tables.vnis.vni.length);
  }

  /** True while work is left that no descriptor reports as ready: the next round must not block. */
  get isPending(): boolean {
    return this.#turns.count > 0 || this.#encap.backlog.count > 0;
  }

  /** Cost of the TAP turns of this round so far. */
  get spent(): number {
    return this.#encap.spent;
  }

  /** Gives a VNI whose TAP is readable a turn, in this round or a later one. */
  ready(vniIdx: number): void {
    this.#turns.add(vniIdx);
  }

  /**
   * Begins the turns of a round, after the calls of `ready`. Each VNI gets one turn; VNIs left over
   * from earlier rounds come first.
   */
  beginTurns(): void {
    const { backlog } = this.#encap;
    if (backlog.count > 0) backlog.each(this.#addTurn);
    this.#turnsLeft = this.#turns.count;
    this.#encap.spent = 0;
  }

  /**
   * @returns the next VNI for `readOverlay`; −1 when the round's turns or its cost limit are used
   * up
   */
  nextTurn(): number {
    if (this.#turnsLeft === 0 || this.#encap.spent >= ROUND_SHARE) return -1;
    this.#turnsLeft--;
    return this.#turns.next();
  }

  /** Discards a removed VNI's turn and backlog. The discarded frames are not counted. */
  vniRemoved(vniIdx: number): void {
    this.#turns.remove(vniIdx);
    this.#encap.vniRemoved(vniIdx);
  }

  /**
   * Reads at most one batch from the TAP of one VNI; `forwardOverlay` forwards the frames. For a
   * VNI with a backlog, the backlog is forwarded instead. If a ready TAP yields no frame, frames of
   * other TAPs fill the memory of the batch. Those frames are then forwarded, and the ready TAP is
   * read again, because it would starve otherwise.
   * @returns frames read; a negative errno when the device failed
   */
  readOverlay(vniIdx: number): number {
    this.#encap.refill(vniIdx);
    if (this.#encap.backlog.has(vniIdx)) {
      this.#encap.resume(vniIdx);
      return 0;
    }
    let got = this.#overlay.read(this.#frames, vniIdx);
    if (got === 0 && this.#frames.count > 0) {
      this.forwardOverlay();
      got = this.#overlay.read(this.#frames, vniIdx);
    }
    if (got > 0) this.#estimated += this.#estimateDatagrams(got, vniIdx);
    if (this.#frames.count === BATCH_CAP || this.#estimated > ROUND_SHARE) this.forwardOverlay();
    return got;
  }

  /** @returns estimated datagrams for the last `got` frames, if each of them is flooded */
  #estimateDatagrams(got: number, vniIdx: number): number {
    const { off, len, count } = this.#frames;
    const bytes = off[count - 1] + len[count - 1] - off[count - got];
    return (got + (bytes >> SEGMENT_SHIFT)) * (1 + this.#tables.flood.count(vniIdx));
  }

  /** Forwards the frames read from the TAPs. */
  forwardOverlay(): void {
    if (this.#frames.count > 0) {
      this.#noteDirection(this.#frames, ROUND_OUT);
      this.#encap.forward(this.#frames);
    }
    this.#frames.count = 0;
    this.#estimated = 0;
    this.#overlay.reset();
  }

  /** Delivers the datagrams waiting on the sockets, at most RECEIVES_PER_ROUND batches. */
  readUnderlay(clock: Clock): void {
    for (let round = 0; round < RECEIVES_PER_ROUND; round++) {
      if (this.#underlay.receive(this.#datagrams) <= 0) return;
      this.#noteDirection(this.#datagrams, ROUND_IN);
      this.#decap.deliver(this.#datagrams, clock);
      this.#underlay.delivered(this.spent > 0);
    }
  }

  /**
   * Accepts a report that a path carries less. A lowered path ends the observer's decisions
   * (leases), because they depend on the frame limit. A report that lowers no path ends none,
   * because reports can be forged.
   * @param rows @param row @param mtu @param nowS as in `PathMtu.report`
   * @returns true when the path MTU was lowered
   */
  lowerPath(rows: Int32Array, row: number, mtu: number, nowS: number): boolean {
    const lowered = this.#tables.paths.report(rows, row, mtu, nowS);
    if (lowered) this.#observer.withdrawAll();
    return lowered;
  }

  /** Sets the devices by which no VXLAN is accepted, by interface index. */
  setOverlayDevices(indexes: Int32Array): void {
    this.#decap.setOverlayDevices(indexes);
  }

  /**
   * Returns the direction of the only frame since the last call: ROUND_OUT or ROUND_IN. Returns
   * ROUND_OTHER when there was no frame, more than one, or a long one.
   */
  takeDirection(): number {
    const direction = this.#moved === 1 ? this.#direction : ROUND_OTHER;
    this.#moved = 0;
    return direction;
  }

  /**
   * Notes the direction of a batch. Called before forwarding, which turns a flooded frame into
   * several descriptors.
   */
  #noteDirection({ count, len }: Batch, direction: number): void {
    this.#moved += count;
    this.#direction = len[0] > SMALL_LEN ? ROUND_OTHER : direction;
  }

  /**
   * Does the bounded periodic work: completed sends, eviction, ageing, old path MTUs, the kernel's
   * drop counts, the heartbeat.
   */
  housekeeping(clock: Clock): void {
    this.#encap.completeSends(clock);
    if (this.#tables.peers.strangers.isWanted) this.#tables.fdb.evictStranger(tickOf(clock));
    this.#ageing.step(clock);
    this.#observer.step(clock);
    this.#tables.counters.cells[G_HEARTBEAT_MS] = clock[NOW_MS];
    if (clock[NOW_MS] - this.#overflowMs < OVERFLOW_PERIOD_MS) return;
    this.#overflowMs = clock[NOW_MS];
    const { cells } = this.#tables.counters;
    cells[G_DROPS_DECAP + DROP.rx_overflow] += this.#underlay.takeOverflow();
    cells[G_DROPS_DECAP + DROP.source_not_peer] += this.#underlay.takeStrangersOverflow();
    if (clock[NOW_MS] - this.#pathsMs < PATHS_PERIOD_MS) return;
    this.#pathsMs = clock[NOW_MS];
    this.#tables.paths.expire(secondOf(clock));
  }
}
