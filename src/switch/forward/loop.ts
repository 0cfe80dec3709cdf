/**
 * One breath of the data plane: what waits on the TAPs goes out, what waits on the sockets comes in, then some
 * housekeeping. Every step is bounded, so that a flood on one side cannot starve the other, nor a control message:
 * what does not fit waits for the next round, and the kernel's wait returns at once while anything does.
 *
 * Runs to completion and never waits; who calls it does that, and brings the time.
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

/** Batches that one round takes from the sockets at most: both families have their turn. */
const RECEIVES_PER_ROUND = 2;
/**
 * Costs (`encap.ts`) after which no further TAP has its turn in a round: about a millisecond. Also how many datagrams frames that
 * are read together may become at most, by their number, their bytes and their VNI's flood list, before they are sent.
 */
const ROUND_SHARE = 2048;
/** log2 of the bytes that count as one datagram more, in a superframe. */
const SEGMENT_SHIFT = 9;
/** How often the kernel is asked for its drop count, ms. */
const OVERFLOW_PERIOD_MS = 100;
/** How often reports of path MTUs are looked through for those that are too old, ms. */
const PATHS_PERIOD_MS = 1000;

/** Longest frame or datagram that may be a request or its answer, bytes: no superframe, and nothing that stands for several. */
const SMALL_LEN = 1600;

/** What a round brought (`Loop.takeDirection`): one small frame to a peer, one from a peer, or anything else. */
export const ROUND_OTHER = 0;
export const ROUND_OUT = 1;
export const ROUND_IN = 2;

export interface LoopOptions extends EncapOptions, DecapOptions {}

export class Loop {
  readonly #observer: StationObserver;
  /** Whose TAP is read next. */
  readonly #turns: Turns;
  /** VNIs that have a turn in this round still. */
  #turnsLeft = 0;
  /** Datagrams that the frames read so far may become. */
  #possible = 0;
  readonly #addTurn = (vniIdx: number) => this.#turns.add(vniIdx);
  readonly #tables: Tables;
  readonly #overlay: OverlayPort;
  readonly #underlay: UnderlayPort;
  readonly #encap: Encap;
  readonly #decap: Decap;
  readonly #ageing: AgeingSweep;
  readonly #frames = new Batch();
  readonly #datagrams = new Batch();
  /** Frames of the round so far, and which way they went: ROUND_OTHER when one is too long for a request or its answer. */
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

  /** Something waits that no descriptor tells of: the next round must not wait. */
  get isPending(): boolean {
    return this.#turns.count > 0 || this.#encap.backlog.count > 0;
  }

  /** What the overlay's part of this round has cost so far. */
  get spent(): number {
    return this.#encap.spent;
  }

  /** The VNI's TAP is ready: it has a turn, in this round or in a later one. */
  ready(vniIdx: number): void {
    this.#turns.add(vniIdx);
  }

  /** A round of turns begins, after `ready`: those who were left over first, each VNI once. */
  beginTurns(): void {
    const { backlog } = this.#encap;
    if (backlog.count > 0) backlog.each(this.#addTurn);
    this.#turnsLeft = this.#turns.count;
    this.#encap.spent = 0;
  }

  /** @returns the VNI whose turn it is, for `readOverlay`; −1: the round has had its share */
  nextTurn(): number {
    if (this.#turnsLeft === 0 || this.#encap.spent >= ROUND_SHARE) return -1;
    this.#turnsLeft--;
    return this.#turns.next();
  }

  /** The VNI's row is free: it has no turn, and what waits for it counts nowhere. */
  vniRemoved(vniIdx: number): void {
    this.#turns.remove(vniIdx);
    this.#encap.vniRemoved(vniIdx);
  }

  /**
   * Takes one batch from a TAP at most, on behalf of one VNI; frames are sent by `flushOverlay`. A TAP that gives
   * nothing although it was ready found no room behind the frames of another: it gets it, or would starve. A VNI with a
   * backlog goes on with that instead.
   * @returns frames, 0, or a negative errno: the device failed
   */
  readOverlay(vniIdx: number): number {
    this.#encap.refill(vniIdx);
    if (this.#encap.backlog.has(vniIdx)) {
      this.#encap.resume(vniIdx);
      return 0;
    }
    let got = this.#overlay.read(this.#frames, vniIdx);
    if (got === 0 && this.#frames.count > 0) {
      this.flushOverlay();
      got = this.#overlay.read(this.#frames, vniIdx);
    }
    if (got > 0) this.#possible += this.#mayBecome(got, vniIdx);
    if (this.#frames.count === BATCH_CAP || this.#possible > ROUND_SHARE) this.flushOverlay();
    return got;
  }

  /** @returns datagrams that the last `got` frames may be for one peer each or for all, about */
  #mayBecome(got: number, vniIdx: number): number {
    const { off, len, count } = this.#frames;
    const bytes = off[count - 1] + len[count - 1] - off[count - got];
    return (got + (bytes >> SEGMENT_SHIFT)) * (1 + this.#tables.flood.count(vniIdx));
  }

  /** Forwards what has been read from TAPs. */
  flushOverlay(): void {
    if (this.#frames.count > 0) {
      this.#weigh(this.#frames, ROUND_OUT);
      this.#encap.forward(this.#frames);
    }
    this.#frames.count = 0;
    this.#possible = 0;
    this.#overlay.reset();
  }

  /** Delivers what waits on the sockets, some batches at most. */
  readUnderlay(clock: Clock): void {
    for (let round = 0; round < RECEIVES_PER_ROUND; round++) {
      if (this.#underlay.receive(this.#datagrams) <= 0) return;
      this.#weigh(this.#datagrams, ROUND_IN);
      this.#decap.deliver(this.#datagrams, clock);
      this.#underlay.delivered(this.spent > 0);
    }
  }

  /**
   * A report of the network that a path carries less. The observer's decisions may rest on frame sizes, so a report that
   * lowers a path ends them; any other report, which anyone may forge, changes nothing.
   * @param rows @param row @param mtu @param nowS as of `PathMtu.report`
   * @returns true when a path got smaller
   */
  lowerPath(rows: Int32Array, row: number, mtu: number, nowS: number): boolean {
    const lowered = this.#tables.paths.report(rows, row, mtu, nowS);
    if (lowered) this.#observer.withdrawAll();
    return lowered;
  }

  /** What the rounds since the last call brought, if it was one small frame: ROUND_OUT or ROUND_IN; else ROUND_OTHER. */
  takeDirection(): number {
    const way = this.#moved === 1 ? this.#direction : ROUND_OTHER;
    this.#moved = 0;
    return way;
  }

  /** Before it is dealt with: a frame that is flooded is listed more than once after that. */
  #weigh({ count, len }: Batch, way: number): void {
    this.#moved += count;
    this.#direction = len[0] > SMALL_LEN ? ROUND_OTHER : way;
  }

  /** The bounded rest of a round: answers to earlier sends, eviction, ageing, old path MTUs, the kernel's drop count, the heartbeat. */
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
