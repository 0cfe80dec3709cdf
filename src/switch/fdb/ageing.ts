/**
 * Ageing sweep: removes dynamic entries that have expired.
 *
 * It walks the table a bounded piece at a time and removes dynamic entries that no received frame
 * has refreshed for the VNI's ageing time, and entries of evicted strangers. As in kernel vxlan,
 * sending to an entry does not refresh it.
 */
import { type Clock, NOW_MS, tickOf } from './clock.js';
import type { Fdb } from './fdb.js';

/** Time to sweep the whole table, ms, if no piece exceeds SWEEP_SLOTS. */
const SWEEP_PERIOD_MS = 1000;
/** Most slots of one piece: some tens of microseconds. */
const SWEEP_SLOTS = 16_384;

export class AgeingSweep {
  readonly #fdb: Fdb;
  #position = 0;
  #lastMs = -1;

  constructor(fdb: Fdb) {
    this.#fdb = fdb;
  }

  /** Sweeps the share of the table that corresponds to the time since the last call. */
  step(clock: Clock): void {
    const { table } = this.#fdb;
    const nowMs = clock[NOW_MS];
    const elapsed = this.#lastMs < 0 ? 0 : nowMs - this.#lastMs;
    const due = Math.ceil((table.capacity * elapsed) / SWEEP_PERIOD_MS);
    if (due === 0) {
      if (this.#lastMs < 0) this.#lastMs = nowMs;
      return;
    }
    this.#lastMs = nowMs;
    this.#sweep(Math.min(due, table.capacity, SWEEP_SLOTS), tickOf(clock));
    table.moveSome(Math.min(due, SWEEP_SLOTS));
  }

  #sweep(slots: number, tick: number): void {
    const { table } = this.#fdb;
    const mask = table.capacity - 1;
    const isEvicting = this.#fdb.peers.strangers.isEvicting;
    for (let i = 0; i < slots; i++) {
      const position = (this.#position = (this.#position + 1) & mask);
      // A removal may move the next entry into this slot: check it again.
      while (this.#isExpired(position, tick)) this.#fdb.age(position);
      if (isEvicting) this.#evictAt(position);
    }
  }

  #evictAt(position: number): void {
    while (this.#fdb.table.value(position) !== 0 && this.#fdb.isOfEvicted(position))
      this.#fdb.evict(position);
  }

  #isExpired(position: number, tick: number): boolean {
    const { table, vnis } = this.#fdb;
    if (table.value(position) === 0 || this.#fdb.isStatic(position)) return false;
    const ageingTicks = vnis.ageingTicks[table.tag(position)];
    return ageingTicks > 0 && ((tick - table.stamp(position)) | 0) > ageingTicks;
  }
}
