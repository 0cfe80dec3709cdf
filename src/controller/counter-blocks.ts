/**
 * The counter blocks of all workers, read as one.
 *
 * Each block has one writer and is copied between two batches of that writer. The identity of the
 * counters holds in each block, so it holds in the sum of the blocks.
 *
 * Some cells are not summed. Replicas of the FDB count the same entries, so the first worker's
 * value is used. Other cells take the value of one worker: the latest last-seen time of a peer, the
 * largest busy ratio, the oldest heartbeat, the largest count of evicted strangers.
 */
import {
  type Counters,
  G_BUSY_RATIO,
  G_HEARTBEAT_MS,
  G_STRANGERS_EVICTED,
  G_STRAY_VNI,
  GLOBAL_ROW,
  P_FDB_DYNAMIC,
  P_GENERATION,
  P_LAST_SEEN_MS,
  P_PATH_MTU,
  PEER_ROW,
  READ_ATTEMPTS,
  V_AGED,
  V_EVICTED,
  V_FDB_DYNAMIC,
  V_FDB_STATIC,
  V_GENERATION,
  V_LEARNED,
  V_MOVED,
  V_TWIN_PEER,
  VNI_ROW,
} from '../exchange/counters.js';

/**
 * Maximum number of cells that one read copies, including retries: 32 MB, some milliseconds. A VNI
 * of 1,000 peers is copied up to 500 times, some microseconds each time. Copying a VNI of 64,000
 * peers takes longer than a batch of a busy worker, so the worker changes counters during each
 * copy. After 8 attempts the last copy is used: each counter in it is right, but the counters are
 * of slightly different moments and can differ from each other by some frames.
 */
const READ_CELLS = 1 << 22;
const READ_ATTEMPTS_MIN = 4;

/** Adjacent rows to read: their offset in every block, and the merged cells. */
export interface RowReader {
  readonly base: number;
  readonly row: Float64Array;
  readonly merge: Merge;
}

/** Merges a cell with the same cell of one more worker. */
type Merge = (cell: number, soFar: number, more: number) => number;

export class CounterBlocks {
  readonly #blocks: readonly Counters[];

  /** @param blocks one block for each worker, in the order of the workers */
  constructor(blocks: readonly Counters[]) {
    this.#blocks = blocks;
  }

  vniRow(vniIdx: number): RowReader {
    return { base: this.#blocks[0].vniBase(vniIdx), row: new Float64Array(VNI_ROW), merge: mergeVni };
  }

  peerRow(peerIdx: number): RowReader {
    return this.peerRows(peerIdx, new Float64Array(PEER_ROW));
  }

  /** @param first first row @param cells destination, whose length determines the number of rows */
  peerRows(first: number, cells: Float64Array): RowReader {
    return { base: this.#blocks[0].peerBase(first), row: cells, merge: mergePeer };
  }

  globals(): Float64Array {
    const globals: RowReader = { base: 0, row: new Float64Array(GLOBAL_ROW), merge: mergeGlobal };
    this.read([globals]);
    return globals.row;
  }

  /**
   * Fills rows that belong together. All rows of a worker are copied between two of its batches.
   */
  read(rows: readonly RowReader[]): void {
    const attempts = attemptsFor(rows);
    for (const [index, block] of this.#blocks.entries()) {
      const copies = rows.map(({ row }) => (index === 0 ? row : new Float64Array(row.length)));
      block.consistently(() => {
        for (const [i, { base, row }] of rows.entries())
          copies[i].set(block.cells.subarray(base, base + row.length));
      }, attempts);
      if (index > 0) for (const [i, reader] of rows.entries()) mergeInto(reader, copies[i]);
    }
  }
}

function attemptsFor(rows: readonly RowReader[]): number {
  const cells = rows.reduce((sum, { row }) => sum + row.length, 0);
  return Math.min(READ_ATTEMPTS, Math.max(READ_ATTEMPTS_MIN, Math.floor(READ_CELLS / cells)));
}

function mergeInto({ row, merge }: RowReader, more: Float64Array): void {
  for (let cell = 0; cell < row.length; cell++) row[cell] = merge(cell, row[cell], more[cell]);
}

const GREATEST: readonly number[] = [G_BUSY_RATIO, G_STRAY_VNI, G_STRANGERS_EVICTED];

function mergeGlobal(cell: number, soFar: number, more: number): number {
  if (cell === G_HEARTBEAT_MS) return Math.min(soFar, more);
  return GREATEST.includes(cell) ? Math.max(soFar, more) : soFar + more;
}

const VNI_OF_FIRST: readonly number[] = [
  V_GENERATION,
  V_FDB_STATIC,
  V_FDB_DYNAMIC,
  V_LEARNED,
  V_MOVED,
  V_AGED,
  V_EVICTED,
];

function mergeVni(cell: number, soFar: number, more: number): number {
  if (cell === V_TWIN_PEER) return Math.max(soFar, more);
  return VNI_OF_FIRST.includes(cell) ? soFar : soFar + more;
}

const PEER_OF_FIRST: readonly number[] = [P_GENERATION, P_PATH_MTU, P_FDB_DYNAMIC];

/** @param index index of a cell in one row, or in adjacent rows */
function mergePeer(index: number, soFar: number, more: number): number {
  const cell = index % PEER_ROW;
  if (cell === P_LAST_SEEN_MS) return Math.max(soFar, more);
  return PEER_OF_FIRST.includes(cell) ? soFar : soFar + more;
}
