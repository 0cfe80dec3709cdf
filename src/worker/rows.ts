/**
 * Which rows of a table are free. The lowest are given first and a row that was given back is the first to be used
 * again, so that a small configuration touches few pages.
 */
export class RowAllocator {
  readonly #capacity: number;
  readonly #returned: number[] = [];
  #next = 0;

  constructor(capacity: number) {
    this.#capacity = capacity;
  }

  /** @throws Error when all are taken */
  take(): number {
    const returned = this.#returned.pop();
    if (returned !== undefined) return returned;
    if (this.#next === this.#capacity) throw new Error(`all ${this.#capacity} rows are taken`);
    return this.#next++;
  }

  give(row: number): void {
    this.#returned.push(row);
  }
}
