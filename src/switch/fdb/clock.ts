/**
 * Time as the data plane is given it: a parameter of each step, never asked for below the worker. In an array, for a
 * double that is handed from function to function is boxed, and that would be an allocation for every round.
 */
import { TICKS_PER_SECOND } from './vni-table.js';

/** Cells: `NOW_MS` and `EPOCH_MS`, ms. */
export type Clock = Float64Array;

/** Monotonic: for what is due, and how old something is. */
export const NOW_MS = 0;
/** Wall-clock time since the epoch: for people. */
export const EPOCH_MS = 1;

export function makeClock(): Clock {
  return new Float64Array(2);
}

/** Time of the FDB: tenths of a second, 32 bits. */
export function tickOf(clock: Clock): number {
  return (clock[NOW_MS] / (1000 / TICKS_PER_SECOND)) | 0;
}

/** Time of the path MTUs: seconds, 32 bits. */
export function secondOf(clock: Clock): number {
  return (clock[NOW_MS] / 1000) | 0;
}
