/**
 * Writer of FDB events: what becomes of entries, as rows of a report (`exchange/fdb-report.ts`) for subscribers in the main
 * thread.
 *
 * Attached to the FDB only while events have subscribers. A frame whose source and destination are known never comes here,
 * and no object is made for any frame: a remote that makes up MACs fills one report in a tenth of a second, and further
 * events are counted as lost.
 *
 * Replicas of the FDB hold the same entries, so the first worker alone reports learned, moved and aged entries. A miss is
 * known to its worker alone, so every worker reports misses, each MAC once a second.
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

/** Events of one report at most. */
const ROWS = 256;

/** MACs that are remembered as missed. Two that share a place are told of more often. */
const MISSES = 1024;
const MISS_WORDS = 3;
const MISS_SHIFT = 22;

export class FdbEvents implements FdbWatch {
  /** Now, in tenths of a second. */
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

  /** Somebody listens from now on, or nobody any more. */
  turn(on: boolean): void {
    if ((this.#fdb.missWatch !== undefined) === on) return;
    this.#fdb.changeWatch = on && this.#isFirst ? this : undefined;
    this.#fdb.missWatch = on ? this : undefined;
    this.#missed.fill(-1);
    this.#count = 0;
    this.#lost = 0;
  }

  /** @returns what there is to tell, if it is time to; undefined: nothing now */
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

  /** @returns first word of the row; −1: there is none */
  #add(kind: number, vniIdx: number, high: number, low: number, peerIdx: number): number {
    const vni = this.#fdb.vnis.vni[vniIdx];
    // Entries of a VNI that is being removed are none of anybody's.
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
