/**
 * Allocator for the rows of a table.
 *
 * The lowest rows are allocated first, and a freed row is the first to be used again, so that a
 * small configuration touches few pages.
 *
 * A generation distinguishes successive uses of a row. Generation 0 is the first use of a row.
 * Untouched memory also has the value 0, so the counters of a new row need not be written, and a
 * million peers without traffic use no memory for counters.
 */

/** Adjacent rows of the same generation. */
export interface RowRun {
  readonly first: number;
  readonly count: number;
  readonly generation: number;
}

export class RowAllocator {
  readonly #capacity: number;
  readonly #returned: number[] = [];
  #next = 0;
  #lastGeneration = 0;

  constructor(capacity: number) {
    this.#capacity = capacity;
  }

  /** Number of free rows. */
  get free(): number {
    return this.#returned.length + this.#capacity - this.#next;
  }

  /**
   * Allocates rows.
   * @param most rows wanted
   * @returns adjacent rows, at least one; call again for the others
   * @throws Error when no row is free
   */
  allocate(most = 1): RowRun {
    const returned = this.#returned.pop();
    if (returned !== undefined) return { first: returned, count: 1, generation: ++this.#lastGeneration };
    if (this.free === 0) throw new Error(`all ${this.#capacity} rows are in use`);
    const first = this.#next;
    const count = Math.min(most, this.free);
    this.#next += count;
    return { first, count, generation: 0 };
  }

  give(row: number): void {
    this.#returned.push(row);
  }
}
