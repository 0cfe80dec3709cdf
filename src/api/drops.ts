/** Dropped frames by reason, read from a VNI's row or the global row. */
import * as C from '../exchange/counters.js';
import { DECAP, DROP_REASON_COUNT, DROP_REASONS, ENCAP, STRAY } from '../exchange/drop-reason.js';

/**
 * Dropped frames by direction and reason. Reasons that can occur are listed even at zero.
 * Prometheus computes a rate from changes of a value, so it would miss the drop that makes a new
 * value appear.
 */
export interface Drops {
  readonly encap: Readonly<Record<string, number>>;
  readonly decap: Readonly<Record<string, number>>;
}

/** Positions of the drop counters in a row, and the reasons that are listed even at zero. */
interface DropCells {
  /** Offset in the row; undefined: the row has no drops of this direction. */
  readonly encap: number | undefined;
  /** Offset in the row. */
  readonly decap: number;
  /** Scope of the encap reasons that are listed even at zero; 0: none. */
  readonly encapScope: number;
  /** Scope of the decap reasons that are listed even at zero. */
  readonly decapScope: number;
}

/** Drop counters of a VNI's row. */
export const OF_VNI: DropCells = {
  encap: C.V_DROPS_ENCAP,
  decap: C.V_DROPS_DECAP,
  encapScope: ENCAP,
  decapScope: DECAP,
};

/** Drop counters of the global row: datagrams dropped before a configured VNI was known. */
export const NO_VNI: DropCells = {
  encap: undefined,
  decap: C.G_DROPS_DECAP,
  encapScope: 0,
  decapScope: STRAY,
};

export function dropsOf(row: Float64Array, cells: DropCells): Drops {
  return {
    encap: cells.encap === undefined ? {} : readDrops(row, cells.encap, cells.encapScope),
    decap: readDrops(row, cells.decap, cells.decapScope),
  };
}

function readDrops(row: Float64Array, base: number, scope: number): Record<string, number> {
  const drops: Record<string, number> = {};
  for (let index = 1; index < DROP_REASON_COUNT; index++) {
    const [label, , occurs] = DROP_REASONS[index];
    const frames = row[base + index];
    if (frames > 0 || (occurs & scope) !== 0) drops[label] = frames;
  }
  return drops;
}
