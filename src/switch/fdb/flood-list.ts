/**
 * Lists of peer rows per VNI. The flood list says who gets a copy of a broadcast, multicast or unknown unicast
 * frame (head-end replication). Split horizon is data: a frame of the overlay goes to the peers listed here, a
 * frame of the underlay goes to the TAP alone and is never looked up here. Lists are made anew when peers
 * change, never on a frame's way.
 *
 * A list is kept as runs of neighbouring rows, pairs of the first one and how many they are: peers that were added
 * together are one run, so a list of a thousand takes no more memory than one of two.
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

  /** Runs of a VNI's peer rows. Never changed: where peers change, the VNI gets another array. */
  runs(vniIdx: number): Int32Array {
    return this.#lists[vniIdx];
  }

  /** How many rows a VNI's list has. */
  count(vniIdx: number): number {
    return this.#counts[vniIdx];
  }

  /** True when the list names this row. Walks the runs. */
  has(vniIdx: number, peerIdx: number): boolean {
    const runs = this.#lists[vniIdx];
    for (let run = 0; run < runs.length; run += 2)
      if (peerIdx >= runs[run] && peerIdx < runs[run] + runs[run + 1]) return true;
    return false;
  }

  /** The rows themselves. Cold: a list of its own. */
  rows(vniIdx: number): number[] {
    const rows: number[] = [];
    eachRun(this.#lists[vniIdx], (first, count) => {
      for (let i = 0; i < count; i++) rows.push(first + i);
    });
    return rows;
  }

  /** `front`: before the others. Peers of one family side by side share a system call when flooded to. */
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

/** Without empty runs; neighbours that continue each other are one. */
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
