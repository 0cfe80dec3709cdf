/**
 * Lists of peer rows per VNI, such as the flood list.
 *
 * The flood list holds the peers that receive a copy of each BUM frame (head-end replication).
 * Split horizon needs no check: a frame from a TAP goes to the peers listed here, and a frame from
 * the underlay goes to the TAP only, without a look at these lists. Lists are rebuilt when peers
 * change, never while a frame is forwarded.
 *
 * A list is kept as runs of adjacent rows, pairs of the first row and the number of rows. Peers
 * that were added together are one run, so a list of a thousand such peers takes no more memory
 * than a list of two.
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

  /** Runs of a VNI's peer rows. Immutable: when peers change, the VNI gets a new array. */
  runs(vniIdx: number): Int32Array {
    return this.#lists[vniIdx];
  }

  /** Rows in a VNI's list. */
  count(vniIdx: number): number {
    return this.#counts[vniIdx];
  }

  /** True when the list contains this row. Walks the runs. */
  has(vniIdx: number, peerIdx: number): boolean {
    const runs = this.#lists[vniIdx];
    for (let run = 0; run < runs.length; run += 2)
      if (peerIdx >= runs[run] && peerIdx < runs[run] + runs[run + 1]) return true;
    return false;
  }

  /** The rows of a list, as a new array. Cold. */
  rows(vniIdx: number): number[] {
    const rows: number[] = [];
    eachRun(this.#lists[vniIdx], (first, count) => {
      for (let i = 0; i < count; i++) rows.push(first + i);
    });
    return rows;
  }

  /**
   * Adds rows. Copies of a flood to peers of one address family in adjacent rows share a system
   * call.
   * @param front true: before the others
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

/** Joins adjacent runs and removes empty ones. */
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
