/**
 * What becomes of FDB entries, on its way from a worker to whoever listens in the main thread: rows of words in one buffer
 * that is copied as it is.
 *
 *     word 0–5   peer, as a peer row has it (family … scope id)     word 6   what happened     word 14  MAC, first two bytes
 *     word 8–13  the peer before, of a move                         word 7   VNI               word 15  MAC, last four bytes
 *
 * While nobody listens the FDB does not know of this. While somebody does, it is still nothing on the way of a frame whose
 * source and destination are known, and no object is made for any: a remote who makes up MACs fills the rows of one report
 * a tenth of a second, and what is beyond is counted.
 *
 * Replicas of the FDB hold the same entries, so the first worker tells of them; its counters count the same. Who misses a
 * destination knows that alone: every worker tells of misses, and of each MAC once a second.
 */

import type { Fdb, FdbWatch } from '../switch/fdb/fdb.js';
import { formatMac } from '../wire/mac.js';
import type { VtepEvent } from './events.js';

/** Events of one report at most. */
const ROWS = 256;
const ROW = 16;
const PEER = 0;
const KIND = 6;
const VNI = 7;
const FROM = 8;
const MAC_HIGH = 14;
const MAC_LOW = 15;
/** Of a peer row: words 1–4 the address, word 5 the scope id. */
const ADDRESS = 1;
const SCOPE = 5;
const AF_INET = 2;

const LEARNED = 0;
const MOVED = 1;
const AGED = 2;
const MISS = 3;

/** MACs that are remembered as missed. Two that share a place are told of more often. */
const MISSES = 1024;
const MISS_WORDS = 3;
const MISS_SHIFT = 22;
/** A MAC is told of as missed this often, ticks. */
const MISS_TICKS = 10;
/** The main thread forgets what was missed when it is so much. */
const MISSES_REMEMBERED = 4096;

/** What a worker reports: at most one of these in a tick, a tenth of a second. */
export interface FdbReport {
  rows: Int32Array<ArrayBuffer>;
  /** Events that there was no room for. */
  lost: number;
  tick: number;
}

export type FdbEvent = Extract<VtepEvent, { type: 'learned' | 'aged' | 'moved' | 'miss' | 'lost' }>;

/** The worker's side. */
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
  take(): FdbReport | undefined {
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

type AddressText = (address: { family: 4 | 6; bytes: Uint8Array; scopeId: number }) => string;

/** The main thread's side: reports of all workers as events. */
export class FdbEventReader {
  readonly #addressText: AddressText;
  /** When each MAC was missed, as some worker told. */
  readonly #missed = new Map<string, number>();

  constructor(addressText: AddressText) {
    this.#addressText = addressText;
  }

  read({ rows, lost, tick }: FdbReport): FdbEvent[] {
    const events: FdbEvent[] = [];
    for (let base = 0; base < rows.length; base += ROW) {
      const event = this.#event(rows, base);
      if (event.type !== 'miss' || this.#isNews(event, tick)) events.push(event);
    }
    if (lost > 0) events.push({ type: 'lost', count: lost });
    return events;
  }

  #event(rows: Int32Array, base: number): FdbEvent {
    const vni = rows[base + VNI];
    const mac = formatMac(rows[base + MAC_HIGH], rows[base + MAC_LOW]);
    const kind = rows[base + KIND];
    if (kind === MISS) return { type: 'miss', vni, mac };
    const peer = this.#peer(rows, base + PEER);
    if (kind === MOVED) return { type: 'moved', vni, mac, peer, from: this.#peer(rows, base + FROM) };
    return { type: kind === LEARNED ? 'learned' : 'aged', vni, mac, peer };
  }

  #peer(rows: Int32Array, base: number): string {
    const bytes = new Uint8Array(rows.buffer, rows.byteOffset, rows.byteLength);
    return this.#addressText({
      family: (rows[base] & 0xffff) === AF_INET ? 4 : 6,
      bytes: bytes.slice((base + ADDRESS) * 4, (base + SCOPE) * 4),
      scopeId: rows[base + SCOPE] >>> 0,
    });
  }

  /** Another worker may have missed the same MAC within the second. */
  #isNews({ vni, mac }: { vni: number; mac: string }, tick: number): boolean {
    const key = `${vni} ${mac}`;
    const before = this.#missed.get(key);
    if (before !== undefined && Math.abs((tick - before) | 0) < MISS_TICKS) return false;
    if (this.#missed.size >= MISSES_REMEMBERED) this.#missed.clear();
    this.#missed.set(key, tick);
    return true;
  }
}
