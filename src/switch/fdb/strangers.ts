/**
 * Rows of the peer table for strangers: unconfigured sources (`--accept any`).
 *
 * All VNIs share one pool of rows, and source addresses are easily forged. These rules ensure that
 * strangers of one VNI do not keep the other VNIs from learning:
 *
 * - The last rows of the pool are a *reserve*. A VNI gets rows of the reserve only if it has none,
 *   or less than half as many rows as the VNI with most rows.
 * - When a row of the reserve is requested, a stranger of the VNI with most rows is *evicted*: the
 *   one from which no frame was received for longest. The number of evictions per tick is bounded.
 * - An evicted stranger is unknown at once, but its row stays in use until its last FDB entry is
 *   removed. The ageing sweep removes these entries, so eviction walks no table.
 *
 * One writer, the data-plane thread. While there are no strangers, this memory is not accessed.
 */

/** Rows of the pool per row of the reserve: of 4096 rows, 256 are the reserve. */
const RESERVE_SHARE = 16;
/**
 * Victims per tick (0.1 s). Each search examines every row of the pool: 4096 rows take some
 * microseconds.
 */
const EVICTIONS_PER_TICK = 32;

/** `#vniIdx` of a row that is free, or evicted. */
const NONE = -1;

export class Strangers {
  readonly #first: number;
  readonly #reserve: number;
  /** Free rows, relative to the first one. */
  readonly #free: number[] = [];
  /** VNI of each row. */
  readonly #vniIdx: Int32Array;
  /** Tick of the last frame of each row. */
  readonly #seenTick: Int32Array;
  readonly #evicted: Uint8Array;
  /** Rows of each VNI, without evicted ones. */
  readonly #held: Int32Array;
  #largest = 0;
  #evictedCount = 0;
  /** Requests for a row of the reserve for which no stranger has been evicted yet. */
  #wanted = 0;
  #tick = 0;
  #left = 0;

  /**
   * @param first first row of the pool @param rows rows of the pool @param maxVnis rows of the VNI
   * table
   */
  constructor(first: number, rows: number, maxVnis: number) {
    this.#first = first;
    this.#reserve = Math.floor(rows / RESERVE_SHARE);
    this.#vniIdx = new Int32Array(rows).fill(NONE);
    this.#seenTick = new Int32Array(rows);
    this.#evicted = new Uint8Array(rows);
    this.#held = new Int32Array(maxVnis);
    for (let row = 0; row < rows; row++) this.#free.push(row);
  }

  /** True while a row is wanted that only an eviction can free. */
  get isWanted(): boolean {
    return this.#wanted > 0;
  }

  /** True while FDB entries of evicted strangers remain to be removed. */
  get isEvicting(): boolean {
    return this.#evictedCount > 0;
  }

  /** @returns a row for a stranger of this VNI; −1 when the VNI gets no row now */
  admit(vniIdx: number): number {
    if (this.#free.length <= this.#reserve) {
      if (this.#wanted < this.#reserve) this.#wanted++;
      const held = this.#held[vniIdx];
      if (held > 0 && held * 2 >= this.#held[this.#largest]) return -1;
    }
    const row = this.#free.pop();
    if (row === undefined) return -1;
    this.#vniIdx[row] = vniIdx;
    if (++this.#held[vniIdx] > this.#held[this.#largest]) this.#largest = vniIdx;
    return this.#first + row;
  }

  /** Frees a row that no FDB entry points at. */
  release(peerIdx: number): void {
    const row = peerIdx - this.#first;
    if (this.#evicted[row] === 1) {
      this.#evicted[row] = 0;
      this.#evictedCount--;
    } else this.#held[this.#vniIdx[row]]--;
    this.#vniIdx[row] = NONE;
    this.#free.push(row);
  }

  /** Records a frame of a peer, which may be a configured one. */
  seen(peerIdx: number, tick: number): void {
    if (peerIdx >= this.#first) this.#seenTick[peerIdx - this.#first] = tick;
  }

  isEvicted(peerIdx: number): boolean {
    return peerIdx >= this.#first && this.#evicted[peerIdx - this.#first] === 1;
  }

  /** Evicts at most one stranger. @returns its row; −1 when no stranger is evicted now */
  evictOne(tick: number): number {
    if (this.#wanted === 0) return -1;
    if (tick !== this.#tick) {
      this.#tick = tick;
      this.#left = EVICTIONS_PER_TICK;
    }
    // Rows of evicted strangers will become free, so they count as free here.
    if (this.#free.length + this.#evictedCount >= 2 * this.#reserve) this.#wanted = 0;
    if (this.#wanted === 0 || this.#left === 0) return -1;
    this.#wanted--;
    this.#left--;
    this.#findLargest();
    const row = this.#longestUnseen(this.#largest, tick);
    if (row < 0) return -1;
    this.evict(this.#first + row);
    return this.#first + row;
  }

  /** Evicts a stranger that is not evicted yet. */
  evict(peerIdx: number): void {
    const row = peerIdx - this.#first;
    this.#held[this.#vniIdx[row]]--;
    this.#vniIdx[row] = NONE;
    this.#evicted[row] = 1;
    this.#evictedCount++;
  }

  #findLargest(): void {
    let largest = 0;
    for (let vniIdx = 1; vniIdx < this.#held.length; vniIdx++)
      if (this.#held[vniIdx] > this.#held[largest]) largest = vniIdx;
    this.#largest = largest;
  }

  #longestUnseen(vniIdx: number, tick: number): number {
    let found = -1;
    let longest = -1;
    for (let row = 0; row < this.#vniIdx.length; row++) {
      if (this.#vniIdx[row] !== vniIdx) continue;
      // The clock of another worker may be a tick ahead.
      const silentTicks = Math.max(0, (tick - this.#seenTick[row]) | 0);
      if (silentTicks <= longest) continue;
      longest = silentTicks;
      found = row;
    }
    return found;
  }
}
