/**
 * A copy of all counters for one scrape.
 *
 * The text format lists each metric for all VNIs, but the counters of a VNI must belong to one
 * moment. So the counters are copied before the first line is written. The copy takes 64 bytes per
 * (VNI, peer) and about 600 per VNI, without an object per peer. After each TURN_CELLS copied cells
 * the event loop runs before the next VNI is copied.
 */
import { setImmediate as nextTurn } from 'node:timers/promises';
import { type DataPlane, DataPlaneError, type VniRows, type VniState } from '../exchange/data-plane.js';
import type { StatusInfo } from './deps.js';

export interface VniImage {
  readonly state: VniState;
  readonly rows: VniRows;
}

export interface CounterImage {
  readonly vnis: readonly VniImage[];
  /** The global row; G_ constants are its offsets. */
  readonly globals: Float64Array;
  readonly status: StatusInfo;
}

/** Number of copied cells (1 MB) after which the event loop runs. */
const TURN_CELLS = 1 << 17;

export async function readImage(dataPlane: DataPlane, status: StatusInfo): Promise<CounterImage> {
  const globals = dataPlane.globals();
  const vnis: VniImage[] = [];
  let copied = 0;
  for (const image of imagesOf(dataPlane)) {
    vnis.push(image);
    copied += image.rows.vni.length + image.rows.peers.length;
    if (copied < TURN_CELLS) continue;
    copied = 0;
    await nextTurn();
  }
  return { vnis, globals, status };
}

/** Yields the VNIs one by one. The counters of a VNI are copied when the VNI is requested. */
export function* imagesOf(dataPlane: DataPlane): Generator<VniImage> {
  for (const state of dataPlane.vnis()) {
    const rows = rowsOf(dataPlane, state.vni);
    if (rows) yield { state, rows };
  }
}

/** @returns undefined when the VNI has been removed since it was listed */
function rowsOf(dataPlane: DataPlane, vni: number): VniRows | undefined {
  try {
    return dataPlane.rows(vni);
  } catch (error) {
    if (error instanceof DataPlaneError && error.code === 'vni_not_found') return undefined;
    throw error;
  }
}
