/**
 * The counter blocks of all workers, read as one. Each block has one writer and is copied as of one moment between two
 * of its batches; the identity of the counters holds in each, so it holds in their sum.
 *
 * Not everything is a sum. Replicas of the FDB count the same entries: theirs are the first worker's. Of times,
 * ratios and names the one that says most is taken: when a peer was heard last, the worker that is busiest, the heartbeat that is
 * oldest, the replica that evicted most strangers.
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
  VNI_ROW,
} from '../exchange/counters.js';

/**
 * Cells that one read copies at most, disturbed copies included: 32 MB, some milliseconds. A VNI of 1,000 peers is tried 500
 * times and takes some microseconds each; one of 64,000 takes longer than a busy worker's batch, so it is tried 8 times
 * and then taken as it is: each number is right, but its sums may be some frames apart.
 */
const READ_CELLS = 1 << 22;
const READ_ATTEMPTS_MIN = 4;

/** A row to be read, or several neighbours of one kind: where they begin in every block, and what their cells come to. */
export interface RowReader {
  readonly base: number;
  readonly row: Float64Array;
  readonly merge: Merge;
}

/** What a cell of a row becomes with that of one more worker. */
type Merge = (cell: number, soFar: number, more: number) => number;

export class CounterBlocks {
  readonly #blocks: readonly Counters[];

  /** @param blocks one a worker, the first worker's first */
  constructor(blocks: readonly Counters[]) {
    this.#blocks = blocks;
  }

  vniRow(vniIdx: number): RowReader {
    return { base: this.#blocks[0].vniBase(vniIdx), row: new Float64Array(VNI_ROW), merge: mergeVni };
  }

  peerRow(peerIdx: number): RowReader {
    return this.peerRows(peerIdx, new Float64Array(PEER_ROW));
  }

  /** @param cells what they are read into: as many rows as it has room for, from this one on */
  peerRows(first: number, cells: Float64Array): RowReader {
    return { base: this.#blocks[0].peerBase(first), row: cells, merge: mergePeer };
  }

  globals(): Float64Array {
    const globals: RowReader = { base: 0, row: new Float64Array(GLOBAL_ROW), merge: mergeGlobal };
    this.read([globals]);
    return globals.row;
  }

  /** Fills rows that belong together: of each worker, all as of one moment. */
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
  return VNI_OF_FIRST.includes(cell) ? soFar : soFar + more;
}

const PEER_OF_FIRST: readonly number[] = [P_GENERATION, P_PATH_MTU, P_FDB_DYNAMIC];

/** @param index of a cell in one row, or in neighbouring ones */
function mergePeer(index: number, soFar: number, more: number): number {
  const cell = index % PEER_ROW;
  if (cell === P_LAST_SEEN_MS) return Math.max(soFar, more);
  return PEER_OF_FIRST.includes(cell) ? soFar : soFar + more;
}
