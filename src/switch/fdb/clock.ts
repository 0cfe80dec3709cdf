/**
 * Time of the data plane, passed as a parameter of each step.
 *
 * Only the data-plane thread reads a clock; the modules that it calls do not. The times are cells
 * of an array because V8 boxes a double that is passed between functions, which would allocate in
 * every round.
 */
import { TICKS_PER_SECOND } from './vni-table.js';

/** Cells: `NOW_MS` and `EPOCH_MS`, ms. */
export type Clock = Float64Array;

/** Monotonic time, for periods and ages. */
export const NOW_MS = 0;
/** Wall-clock time since the Unix epoch, for times that people read. */
export const EPOCH_MS = 1;

export function makeClock(): Clock {
  return new Float64Array(2);
}

/** Returns the monotonic time as FDB entries store it: tenths of a second, 32 bits. */
export function tickOf(clock: Clock): number {
  return (clock[NOW_MS] / (1000 / TICKS_PER_SECOND)) | 0;
}

/** Returns the monotonic time as path MTU reports store it: seconds, 32 bits. */
export function secondOf(clock: Clock): number {
  return (clock[NOW_MS] / 1000) | 0;
}
