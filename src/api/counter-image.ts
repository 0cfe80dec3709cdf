/**
 * All counters as one scrape sees them. The text format wants the samples of a metric together, all VNIs one after another,
 * while the numbers of a VNI must be of one moment: so they are copied before the first line is written. 64 bytes a (VNI, peer)
 * and about 600 a VNI, and no object for a peer. Between two VNIs, now and then, the event loop has its turn.
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
  /** The global row, read with the G_ offsets. */
  readonly globals: Float64Array;
  readonly status: StatusInfo;
}

/** Cells copied in one turn of the event loop: 1 MB. */
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

/** One VNI after another, each read when it is asked for. */
export function* imagesOf(dataPlane: DataPlane): Generator<VniImage> {
  for (const state of dataPlane.vnis()) {
    const rows = rowsOf(dataPlane, state.vni);
    if (rows) yield { state, rows };
  }
}

/** Undefined: the VNI was removed since it was listed. */
function rowsOf(dataPlane: DataPlane, vni: number): VniRows | undefined {
  try {
    return dataPlane.rows(vni);
  } catch (error) {
    if (error instanceof DataPlaneError && error.code === 'vni_not_found') return undefined;
    throw error;
  }
}
