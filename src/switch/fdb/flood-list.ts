/**
 * Lists of peer rows per VNI, such as the flood list.
 *
 * The flood list holds the peers that receive a copy of each BUM frame (head-end replication).
 * Split horizon needs no check: a frame from a TAP goes to the peers listed here. A frame from the
 * underlay goes to the TAP only, and these lists are not read for it. Lists are rebuilt when peers
 * change, never while a frame is forwarded.
 *
 * A list is stored as ranges of adjacent rows (`runs`), each a pair of the first row and the number
 * of rows. Peers that were added together have adjacent rows, so a list of a thousand such peers
 * takes no more memory than a list of two.
 *
 *     [ 12, 3,  40, 1 ]    rows 12, 13, 14 and 40
 */

export class PeerLists {
  readonly #lists: Int32Array[];
  /** Rows in each list. */
  readonly #counts: Int32Array;

  constructor(maxVnis: number) {
    this.#lists = new Array<Int32Array>(maxVnis).fill(EMPTY);
    this.#counts = new Int32Array(maxVnis);
  }

  /** Ranges of a VNI's peer rows. Immutable: when peers change, the VNI gets a new array. */
  runs(vniIdx: number): Int32Array {
    return this.#lists[vniIdx];
  }

  /** Rows in a VNI's list. */
  count(vniIdx: number): number {
    return this.#counts[vniIdx];
  }

  /** True when the list contains this row. Walks the ranges. */
  has(vniIdx: number, peerIdx: number): boolean {
    const runs = this.#lists[vniIdx];
    for (let run = 0; run < runs.length; run += 2)
      if (peerIdx >= runs[run] && peerIdx < runs[run] + runs[run + 1]) return true;
    return false;
  }

  /** Returns the rows of a list in a new array. Not called on the hot path. */
  rows(vniIdx: number): number[] {
    const rows: number[] = [];
    eachRun(this.#lists[vniIdx], (first, count) => {
      for (let i = 0; i < count; i++) rows.push(first + i);
    });
    return rows;
  }

  /**
   * Adds adjacent rows to a list. The copies of a flooded frame are sent in the order of the list,
   * and adjacent copies to peers of one address family share a system call.
   * @param front true: the rows are put in front of the list; false: behind it
   */
  add(vniIdx: number, first: number, count: number, front: boolean): void {
    if (count === 0) return;
    const list = this.#lists[vniIdx];
    const runs = front ? [first, count, ...list] : [...list, first, count];
    this.#set(vniIdx, joined(runs));
  }

  remove(vniIdx: number, peerIdx: number): void {
    const runs: number[] = [];
    eachRun(this.#lists[vniIdx], (first, count) => {
      const before = peerIdx - first;
      if (before < 0 || before >= count) runs.push(first, count);
      else runs.push(first, before, peerIdx + 1, count - before - 1);
    });
    this.#set(vniIdx, joined(runs));
  }

  clear(vniIdx: number): void {
    this.#set(vniIdx, EMPTY);
  }

  #set(vniIdx: number, runs: Int32Array): void {
    this.#lists[vniIdx] = runs;
    let count = 0;
    for (let run = 1; run < runs.length; run += 2) count += runs[run];
    this.#counts[vniIdx] = count;
  }
}

const EMPTY = new Int32Array(0);

/** Joins adjacent ranges and removes empty ranges. */
function joined(runs: readonly number[]): Int32Array {
  const result: number[] = [];
  eachRun(runs, (first, count) => {
    const last = result.length - 2;
    if (last >= 0 && result[last] + result[last + 1] === first) result[last + 1] += count;
    else if (count > 0) result.push(first, count);
  });
  return Int32Array.from(result);
}

function eachRun(runs: ArrayLike<number>, visit: (first: number, count: number) => void): void {
  for (let i = 0; i < runs.length; i += 2) visit(runs[i], runs[i + 1]);
}
