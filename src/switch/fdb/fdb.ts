/**
 * The forwarding database (FDB): the peer behind each MAC of each VNI.
 *
 * One table for all VNIs, keyed (vniIdx, MAC). The value is the peer's row; the stamp is the time
 * of the last frame received from that MAC.
 *
 * - Entries are *learned* and refreshed on receive only: an entry that is only sent to ages out.
 * - A MAC received from another peer *moves* at once.
 * - *Static* entries name a configured peer. Learning does not change them: a frame that
 *   contradicts one is dropped.
 * - Dynamic entries are *limited* per VNI. When the limit is reached, an entry of the peer with
 *   most entries is evicted. A peer that invents MACs therefore cannot evict the entries of other
 *   peers and so force their traffic to be flooded.
 * - Strangers have rows of their own, whose number is *limited* for all VNIs together. When no row
 *   is free, a stranger is evicted with its entries: of the VNI with most strangers, the stranger
 *   that was silent for longest (`strangers.ts`).
 * - Lookups do not check age; a bounded sweep removes expired entries (`ageing.ts`).
 *
 * Each of several workers has an FDB, and the workers exchange what they learn
 * (`replication.ts`). A single worker exchanges nothing. The lookup of a known MAC costs the same
 * in both cases.
 *
 * One writer, the data-plane thread. Only the counter block holds counts. Time is passed in as
 * ticks of 0.1 s. Only listing and the growth of the table allocate.
 */
import {
  type Counters,
  G_STRANGERS_EVICTED,
  P_FDB_DYNAMIC,
  V_AGED,
  V_EVICTED,
  V_FDB_DYNAMIC,
  V_FDB_STATIC,
  V_LEARNED,
  V_MOVED,
} from '../../exchange/counters.js';
import { DROP } from '../../exchange/drop-reason.js';
import { VictimSearch } from './eviction.js';
import type { PeerLists } from './flood-list.js';
import type { MacTable } from './mac-table.js';
import type { PeerTable } from './peer-table.js';
import {
  NOTE_KEY,
  NOTE_LOW,
  NOTE_MOVES,
  NOTE_TICK,
  type NoteReader,
  type Replication,
} from './replication.js';
import { ACCEPT_ANY, TICKS_PER_SECOND, type VniTable } from './vni-table.js';

/**
 * Value of an entry. The low bits are the peer's row + 1. The bits from MOVES_SHIFT on count the
 * moves of the MAC within the tick of its stamp, up to MOVES_MAX; only other workers use this count
 * (`replication.ts`). One more bit is the static flag.
 */
const MOVES_SHIFT = 21;
const MOVES_MAX = 511;
const MOVES = MOVES_MAX << MOVES_SHIFT;
const STATIC = 1 << 30;
const ROW = (1 << MOVES_SHIFT) - 1;

/**
 * Longest time between two announcements of an active MAC to the other workers, ticks. A quarter of
 * the ageing time is used if that is shorter.
 */
const REFRESH_NOTE_TICKS = 10 * TICKS_PER_SECOND;

/** Observer of FDB changes; attached only while events have subscribers. */
export interface FdbWatch {
  learned(vniIdx: number, high: number, low: number, peerIdx: number): void;
  /** @param from row of the previous peer; possibly freed right after this call */
  moved(vniIdx: number, high: number, low: number, peerIdx: number, from: number): void;
  /** @param peerIdx row of the peer; possibly freed right after this call */
  aged(vniIdx: number, high: number, low: number, peerIdx: number): void;
  /** Reports a frame for a unicast MAC without entry. */
  missed(vniIdx: number, high: number, low: number): void;
}

/** Observer of entries, for options that cache decisions about stations. */
export interface EntryObserver {
  /** Ends the decision on a station, whose entry is about to change or be removed. */
  withdraw(vniIdx: number, high: number, low: number): void;
}

export class Fdb implements NoteReader {
  readonly table: MacTable;
  readonly vnis: VniTable;
  readonly peers: PeerTable;
  /** Rows that may have dynamic entries: the configured peers of each VNI, and its `other` row. */
  readonly members: PeerLists;
  readonly counters: Counters;
  /** Observer of learned, moved and aged entries; undefined: none. */
  changeWatch: FdbWatch | undefined = undefined;
  /** Called before an entry changes or is removed. */
  entryObserver: EntryObserver | undefined = undefined;
  /** Observer of lookups without result, called by encap; undefined: none. */
  missWatch: FdbWatch | undefined = undefined;
  readonly #cells: Float64Array;
  readonly #victims = new VictimSearch();
  readonly #replication: Replication | undefined;

  constructor(
    table: MacTable,
    vnis: VniTable,
    peers: PeerTable,
    members: PeerLists,
    counters: Counters,
    replication?: Replication,
  ) {
    this.table = table;
    this.vnis = vnis;
    this.peers = peers;
    this.members = members;
    this.counters = counters;
    this.#cells = counters.cells;
    this.#replication = replication;
  }

  /** @returns row of the peer that a unicast frame for this MAC goes to; −1 when it is unknown */
  lookup(vniIdx: number, high: number, low: number): number {
    return this.lookupHashed(this.table.hash(vniIdx, high, low), vniIdx, high, low);
  }

  /** Looks up a MAC whose hash was computed and touched with its batch (`MacTable.touch`). */
  lookupHashed(hash: number, vniIdx: number, high: number, low: number): number {
    const position = this.table.findHashed(hash, vniIdx, high, low);
    return position < 0 ? -1 : this.peerAt(position);
  }

  /**
   * Learns the source of a received frame.
   * @param peerIdx row of the sending peer @param tick time now, tenths of a second
   * @returns 0, or DROP.entry_exists when a static entry names another peer for this MAC
   */
  learn(vniIdx: number, high: number, low: number, peerIdx: number, tick: number): number {
    const position = this.table.find(vniIdx, high, low);
    if (position < 0) {
      const inserted = this.#insert(vniIdx, high, low, peerIdx, tick, 0);
      if (inserted) this.#replication?.publish(vniIdx, high, low, peerIdx, tick, 0);
      return 0;
    }
    const value = this.table.value(position);
    if ((value & ~MOVES) === peerIdx + 1) {
      if (this.table.stamp(position) !== tick) this.#refresh(position, vniIdx, high, low, peerIdx, tick);
      return 0;
    }
    if ((value & STATIC) !== 0) return (value & ROW) === peerIdx + 1 ? 0 : DROP.entry_exists;
    // The clock of another worker may be a tick ahead.
    const isLater = ((tick - this.table.stamp(position)) | 0) > 0;
    const moves = isLater ? 1 : Math.min(MOVES_MAX, this.#movesAt(position) + 1);
    this.#move(position, peerIdx, isLater ? tick : this.table.stamp(position), moves);
    this.#replication?.publish(vniIdx, high, low, peerIdx, this.table.stamp(position), moves);
    return 0;
  }

  /**
   * Learns from a stranger (`--accept any`), which has a row while entries point at it.
   * @param sources source rows as words @param row index of the source row
   * @param port UDP destination port of replies
   */
  learnFromStranger(
    vniIdx: number,
    high: number,
    low: number,
    sources: Int32Array,
    row: number,
    port: number,
    tick: number,
  ): number {
    const peerIdx = this.#admitStranger(vniIdx, sources, row, port);
    if (peerIdx < 0) return 0;
    const verdict = this.learn(vniIdx, high, low, peerIdx, tick);
    if (this.held(peerIdx) === 0) this.peers.releaseLearned(peerIdx);
    return verdict;
  }

  /**
   * Applies a note of another worker. A note about an address that is not, or not yet, a peer of
   * the VNI in this worker is ignored, unless any source is accepted.
   */
  applyNote(notes: Int32Array, base: number): void {
    const vniIdx = notes[base + NOTE_KEY] >>> 16;
    if (this.vnis.vni[vniIdx] < 0) return;
    const row = base >> 3;
    const known = this.peers.findSource(vniIdx, notes, row);
    if (known >= 0) this.#applyRow(notes, base, vniIdx, known);
    else if (this.vnis.accept[vniIdx] === ACCEPT_ANY) this.#noteStranger(notes, base, vniIdx);
  }

  /** Begins a removal that every worker makes: earlier notes of other workers become invalid. */
  beginRemoval(): void {
    this.#replication?.advanceEpoch();
  }

  dynamicCount(vniIdx: number): number {
    return this.#cells[this.counters.vniBase(vniIdx) + V_FDB_DYNAMIC];
  }

  /** Dynamic entries that point at a peer. */
  held(peerIdx: number): number {
    return this.#cells[this.counters.peerBase(peerIdx) + P_FDB_DYNAMIC];
  }

  /** Adds a static entry, or replaces an entry by a static one. */
  putStatic(vniIdx: number, high: number, low: number, peerIdx: number): void {
    const position = this.table.find(vniIdx, high, low);
    if (position >= 0) this.remove(position);
    this.table.insert(vniIdx, high, low, (peerIdx + 1) | STATIC, 0);
    this.#cells[this.counters.vniBase(vniIdx) + V_FDB_STATIC]++;
  }

  /** @returns false when there is no such entry */
  delete(vniIdx: number, high: number, low: number): boolean {
    const position = this.table.find(vniIdx, high, low);
    if (position < 0) return false;
    this.remove(position);
    return true;
  }

  /** Removes the entry at a position. The next entry possibly moves to that position. */
  remove(position: number): void {
    const vniBase = this.counters.vniBase(this.table.tag(position));
    const isStatic = this.isStatic(position);
    const peerIdx = this.peerAt(position);
    this.#withdraw(position);
    this.table.remove(position);
    this.#cells[vniBase + (isStatic ? V_FDB_STATIC : V_FDB_DYNAMIC)]--;
    if (!isStatic) this.#release(peerIdx);
  }

  /** True when a VNI has more dynamic entries than its limit, which was lowered. */
  isOverfull(vniIdx: number): boolean {
    return this.dynamicCount(vniIdx) > this.vnis.fdbLimit[vniIdx];
  }

  /**
   * Evicts one dynamic entry of the peer with most entries. @returns false when the search found
   * none
   */
  evictOne(vniIdx: number): boolean {
    const victim = this.#victims.find(this, vniIdx);
    if (victim >= 0) this.evict(victim);
    return victim >= 0;
  }

  /** Evicts at most one stranger. Its entries are removed by the ageing sweep. */
  evictStranger(tick: number): void {
    if (this.peers.evictStranger(tick)) this.#cells[G_STRANGERS_EVICTED]++;
  }

  /** True for an entry whose stranger was evicted. */
  isOfEvicted(position: number): boolean {
    return this.peers.strangers.isEvicted(this.peerAt(position));
  }

  /** Removes an entry to make room for others. */
  evict(position: number): void {
    this.#cells[this.counters.vniBase(this.table.tag(position)) + V_EVICTED]++;
    this.remove(position);
  }

  /** Removes an expired entry. */
  age(position: number): void {
    const { table } = this;
    const vniIdx = table.tag(position);
    this.#cells[this.counters.vniBase(vniIdx) + V_AGED]++;
    const peerIdx = this.peerAt(position);
    this.changeWatch?.aged(vniIdx, table.macHigh(position), table.macLow(position), peerIdx);
    this.remove(position);
  }

  isStatic(position: number): boolean {
    return (this.table.value(position) & STATIC) !== 0;
  }

  peerAt(position: number): number {
    return (this.table.value(position) & ROW) - 1;
  }

  /**
   * Adopts the table of a predecessor that crashed: removes entries without a configured VNI and
   * peer, and recounts the others. Runs once, before the first frame.
   */
  adopt(): void {
    const { table, counters } = this;
    while (table.draining) table.moveSome(table.capacity);
    for (let position = 0; position < table.capacity; ) {
      const stale = table.value(position) !== 0 && !this.#isKnown(position);
      if (stale) table.remove(position);
      else position++;
    }
    for (let row = 0; row < this.vnis.vni.length; row++) {
      if (this.vnis.vni[row] < 0) continue;
      this.#cells[counters.vniBase(row) + V_FDB_STATIC] = 0;
      this.#cells[counters.vniBase(row) + V_FDB_DYNAMIC] = 0;
      for (const peerIdx of this.members.rows(row)) this.#forgetHeld(peerIdx);
    }
    for (let position = 0; position < table.capacity; position++) {
      if (table.value(position) === 0) continue;
      const kind = this.isStatic(position) ? V_FDB_STATIC : V_FDB_DYNAMIC;
      this.#cells[counters.vniBase(table.tag(position)) + kind]++;
      if (kind === V_FDB_DYNAMIC) this.#hold(this.peerAt(position));
    }
  }

  /** Skips rows that are zero, because writing to an untouched row would allocate its memory. */
  #forgetHeld(peerIdx: number): void {
    if (this.held(peerIdx) !== 0) this.#cells[this.counters.peerBase(peerIdx) + P_FDB_DYNAMIC] = 0;
  }

  #isKnown(position: number): boolean {
    const peerIdx = this.peerAt(position);
    return this.peers.isKnown(peerIdx) && this.peers.vniIdx(peerIdx) === this.table.tag(position);
  }

  /** Refreshes an entry, and announces it to the other workers periodically. */
  #refresh(position: number, vniIdx: number, high: number, low: number, peerIdx: number, tick: number): void {
    const before = this.table.stamp(position);
    if (((tick - before) | 0) < 0) return;
    this.table.setStamp(position, tick);
    this.peers.strangers.seen(peerIdx, tick);
    if (this.#replication === undefined) return;
    this.table.setValue(position, peerIdx + 1);
    const ageing = this.vnis.ageingTicks[vniIdx];
    const period = ageing > 0 ? Math.max(1, Math.min(REFRESH_NOTE_TICKS, ageing >> 2)) : REFRESH_NOTE_TICKS;
    if (((before / period) | 0) === ((tick / period) | 0)) return;
    this.#replication.publish(vniIdx, high, low, peerIdx, tick, 0);
  }

  #noteStranger(notes: Int32Array, base: number, vniIdx: number): void {
    const row = base >> 3;
    const peerIdx = this.#admitStranger(vniIdx, notes, row, notes[base] >>> 16);
    if (peerIdx < 0) return;
    this.#applyRow(notes, base, vniIdx, peerIdx);
    if (this.held(peerIdx) === 0) this.peers.releaseLearned(peerIdx);
  }

  #applyRow(notes: Int32Array, base: number, vniIdx: number, peerIdx: number): void {
    const high = notes[base + NOTE_KEY] & 0xffff;
    const low = notes[base + NOTE_LOW];
    const tick = notes[base + NOTE_TICK];
    const moves = notes[base + NOTE_MOVES];
    const position = this.table.find(vniIdx, high, low);
    if (position < 0) {
      this.#insert(vniIdx, high, low, peerIdx, tick, moves);
      return;
    }
    if (this.isStatic(position)) return;
    const current = this.peerAt(position);
    const newer = (tick - this.table.stamp(position)) | 0 || moves - this.#movesAt(position);
    if (current === peerIdx) {
      if (newer > 0) this.#restamp(position, peerIdx, tick, moves);
      return;
    }
    const wins = newer || this.peers.fingerprint(peerIdx) - this.peers.fingerprint(current);
    if (wins > 0) this.#move(position, peerIdx, tick, moves);
    else if (wins < 0)
      this.#replication?.publish(
        vniIdx,
        high,
        low,
        current,
        this.table.stamp(position),
        this.#movesAt(position),
      );
  }

  #movesAt(position: number): number {
    return (this.table.value(position) & MOVES) >>> MOVES_SHIFT;
  }

  #restamp(position: number, peerIdx: number, tick: number, moves: number): void {
    this.table.setValue(position, (peerIdx + 1) | (moves << MOVES_SHIFT));
    this.table.setStamp(position, tick);
    this.peers.strangers.seen(peerIdx, tick);
  }

  /**
   * Allocates a row for a stranger. @returns the row; −1 when the VNI gets no row now
   */
  #admitStranger(vniIdx: number, sources: Int32Array, row: number, port: number): number {
    const peerIdx = this.peers.learnSource(vniIdx, sources, row, port, this.vnis.otherIdx[vniIdx]);
    // A predecessor that died may have left its count in this row.
    if (peerIdx >= 0) this.#cells[this.counters.peerBase(peerIdx) + P_FDB_DYNAMIC] = 0;
    return peerIdx;
  }

  /** @returns false when the VNI's limit is reached and no entry could be evicted */
  #insert(vniIdx: number, high: number, low: number, peerIdx: number, tick: number, moves: number): boolean {
    const isFull = this.dynamicCount(vniIdx) >= this.vnis.fdbLimit[vniIdx];
    const victim = isFull ? this.#victims.find(this, vniIdx) : -1;
    if (isFull && victim < 0) return false;
    // This precedes the eviction because the victim may be the only other entry of the same
    // stranger. The eviction would then free the stranger's row.
    this.#hold(peerIdx);
    if (isFull) this.evict(victim);
    this.peers.strangers.seen(peerIdx, tick);
    this.table.insert(vniIdx, high, low, (peerIdx + 1) | (moves << MOVES_SHIFT), tick);
    const vniBase = this.counters.vniBase(vniIdx);
    this.#cells[vniBase + V_FDB_DYNAMIC]++;
    this.#cells[vniBase + V_LEARNED]++;
    this.changeWatch?.learned(vniIdx, high, low, peerIdx);
    return true;
  }

  #move(position: number, peerIdx: number, tick: number, moves: number): void {
    const { table } = this;
    const before = this.peerAt(position);
    const vniIdx = table.tag(position);
    this.#withdraw(position);
    this.#restamp(position, peerIdx, tick, moves);
    this.#cells[this.counters.vniBase(vniIdx) + V_MOVED]++;
    this.changeWatch?.moved(vniIdx, table.macHigh(position), table.macLow(position), peerIdx, before);
    this.#hold(peerIdx);
    this.#release(before);
  }

  #withdraw(position: number): void {
    if (this.entryObserver === undefined) return;
    const { table } = this;
    this.entryObserver.withdraw(table.tag(position), table.macHigh(position), table.macLow(position));
  }

  #hold(peerIdx: number): void {
    const accountIdx = this.peers.accountIdx(peerIdx);
    this.#cells[this.counters.peerBase(peerIdx) + P_FDB_DYNAMIC]++;
    if (accountIdx !== peerIdx) this.#cells[this.counters.peerBase(accountIdx) + P_FDB_DYNAMIC]++;
  }

  #release(peerIdx: number): void {
    const accountIdx = this.peers.accountIdx(peerIdx);
    const left = --this.#cells[this.counters.peerBase(peerIdx) + P_FDB_DYNAMIC];
    if (accountIdx === peerIdx) return;
    this.#cells[this.counters.peerBase(accountIdx) + P_FDB_DYNAMIC]--;
    if (left === 0) this.peers.releaseLearned(peerIdx);
  }
}
