/**
 * Time of the data plane, passed as a parameter of each step.
 *
 * Nothing below the data-plane thread reads a clock. Times are held in an array because a double
 * passed from function to function is boxed, which would allocate in every round.
 */
import { TICKS_PER_SECOND } from './vni-table.js';

/** Cells: `NOW_MS` and `EPOCH_MS`, ms. */
export type Clock = Float64Array;

/** Monotonic time, for periods and ages. */
export const NOW_MS = 0;
/** Wall-clock time since the epoch, for people. */
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
