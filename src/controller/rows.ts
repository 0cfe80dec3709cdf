/**
 * Which rows of a table are free. The lowest are given first and a row that was given back is the first to be used
 * again, so that a small configuration touches few pages.
 *
 * Rows have lives, told apart by a generation. That of a first life is 0, as a row is that nobody has written yet: it
 * begins at zero without being touched, and a million peers that are never heard of have no memory of their own.
 */

/** Neighbouring rows, all in the same life. */
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

  /** Rows that may still be taken. */
  get free(): number {
    return this.#returned.length + this.#capacity - this.#next;
  }

  /** @param most how many are wanted @returns some of them, one at least: ask again for the rest @throws Error when all are taken */
  allocate(most = 1): RowRun {
    const returned = this.#returned.pop();
    if (returned !== undefined) return { first: returned, count: 1, generation: ++this.#lastGeneration };
    if (this.free === 0) throw new Error(`all ${this.#capacity} rows are taken`);
    const first = this.#next;
    const count = Math.min(most, this.free);
    this.#next += count;
    return { first, count, generation: 0 };
  }

  give(row: number): void {
    this.#returned.push(row);
  }
}
