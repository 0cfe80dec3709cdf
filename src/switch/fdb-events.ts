/**
 * Collects FDB events for subscribers in the main thread.
 *
 * Changes of entries become rows of a report (`exchange/fdb-report.ts`). Attached to the FDB only
 * while events have subscribers. A frame whose source and destination are known causes no event,
 * and no object is allocated per frame. A remote that invents MACs fills one report per 0.1 s;
 * further events are counted as lost.
 *
 * Replicas of the FDB hold the same entries, so only the first worker reports learned, moved and
 * aged entries. A miss is known only to the worker that looked up the MAC, so every worker reports
 * misses, each MAC once per second.
 */
import {
  AGED,
  type FdbReport,
  FROM,
  KIND,
  LEARNED,
  MAC_HIGH,
  MAC_LOW,
  MISS,
  MISS_TICKS,
  MOVED,
  PEER,
  ROW,
  VNI,
} from '../exchange/fdb-report.js';
import type { Fdb, FdbWatch } from './fdb/fdb.js';

/** Most events of one report. */
const ROWS = 256;

/**
 * Number of recently missed MACs that are stored. A MAC is reported again if another MAC has
 * displaced it.
 */
const MISSES = 1024;
const MISS_WORDS = 3;
const MISS_SHIFT = 22;

export class FdbEvents implements FdbWatch {
  /** Time now, tenths of a second. */
  tick = 0;
  readonly #fdb: Fdb;
  readonly #isFirst: boolean;
  readonly #words = new Int32Array(ROWS * ROW);
  readonly #missed = new Int32Array(MISSES * MISS_WORDS);
  #count = 0;
  #lost = 0;
  #reportedTick = 0;

  constructor(fdb: Fdb, isFirst: boolean) {
    this.#fdb = fdb;
    this.#isFirst = isFirst;
  }

  /** Attaches to the FDB or detaches from it. */
  enable(on: boolean): void {
    if ((this.#fdb.missWatch !== undefined) === on) return;
    this.#fdb.changeWatch = on && this.#isFirst ? this : undefined;
    this.#fdb.missWatch = on ? this : undefined;
    this.#missed.fill(-1);
    this.#count = 0;
    this.#lost = 0;
  }

  /** @returns the collected events, at most once a tick; undefined when there are none */
  takeReport(): FdbReport | undefined {
    if (this.#count === 0 || this.tick === this.#reportedTick) return undefined;
    const report = { rows: this.#words.slice(0, this.#count * ROW), lost: this.#lost, tick: this.tick };
    this.#reportedTick = this.tick;
    this.#count = 0;
    this.#lost = 0;
    return report;
  }

  learned(vniIdx: number, high: number, low: number, peerIdx: number): void {
    this.#add(LEARNED, vniIdx, high, low, peerIdx);
  }

  moved(vniIdx: number, high: number, low: number, peerIdx: number, from: number): void {
    const base = this.#add(MOVED, vniIdx, high, low, peerIdx);
    if (base >= 0) this.#fdb.peers.copyAddress(from, this.#words, base + FROM);
  }

  aged(vniIdx: number, high: number, low: number, peerIdx: number): void {
    this.#add(AGED, vniIdx, high, low, peerIdx);
  }

  missed(vniIdx: number, high: number, low: number): void {
    const missed = this.#missed;
    const key = (vniIdx << 16) | high;
    const hash = Math.imul(low ^ Math.imul(key, 0x9e3779b1), 0x85ebca6b);
    const base = (hash >>> MISS_SHIFT) * MISS_WORDS;
    const isKnown = missed[base] === key && missed[base + 1] === low;
    if (isKnown && ((this.tick - missed[base + 2]) | 0) < MISS_TICKS) return;
    missed[base] = key;
    missed[base + 1] = low;
    missed[base + 2] = this.tick;
    this.#add(MISS, vniIdx, high, low, -1);
  }

  /** @returns first word of the row; −1 when there is none */
  #add(kind: number, vniIdx: number, high: number, low: number, peerIdx: number): number {
    const vni = this.#fdb.vnis.vni[vniIdx];
    // Entries of a VNI that is being removed are not reported.
    if (vni < 0) return -1;
    if (this.#count === ROWS) {
      this.#lost++;
      return -1;
    }
    const words = this.#words;
    const base = this.#count++ * ROW;
    if (peerIdx >= 0) this.#fdb.peers.copyAddress(peerIdx, words, base + PEER);
    words[base + KIND] = kind;
    words[base + VNI] = vni;
    words[base + MAC_HIGH] = high;
    words[base + MAC_LOW] = low;
    return base;
  }
}
