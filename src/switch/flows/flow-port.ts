/**
 * Contract between leases of TCP flows (`flows.ts`) and the kernel's maps (`flow-maps.ts`).
 */

/** Cells that `counts` fills: frames and bytes to the station, and from it. */
export const OUT_FRAMES = 0;
export const OUT_BYTES = 1;
export const IN_FRAMES = 2;
export const IN_BYTES = 3;
export const COUNT_CELLS = 4;

/** Directions of a station, the remote end of flows: to the station, and from it. */
export const TO_STATION = 0;
export const FROM_STATION = 1;

/** A lease for one direction of a station. */
export interface FlowRow {
  vni: number;
  /** MAC of the station: its first two bytes, its last four. */
  high: number;
  low: number;
  /** TO_STATION or FROM_STATION. */
  direction: number;
  /** End of the lease, ms of the monotonic clock, 32 bits. */
  until: number;
  /** IPv4 address of the peer behind which the station is; one word, as in a peer row. */
  peer: number;
  frameLimit: number;
  /** −1: copied from the inner packet. */
  tos: number;
  df: boolean;
  slot: number;
}

/** The kernel's table of leases and its counters. */
export interface FlowPort {
  /** Adds or replaces a row. @returns false when the kernel has no room for it */
  put(row: FlowRow): boolean;
  /** Removes a row: the next frame of this station in this direction goes to user space. */
  remove(vni: number, high: number, low: number, direction: number): void;
  /** Removes all rows, including those of other workers and of a predecessor that died. */
  clear(): void;
  /**
   * Copies the totals of a slot to COUNT_CELLS cells of `into` from `base` on. @returns false when
   * they cannot be read
   */
  counts(slot: number, into: Float64Array, base: number): boolean;
}
