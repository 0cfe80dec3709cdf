/** Contract between the leases of TCP flows (`flows.ts`) and the kernel's maps (`flow-maps.ts`). */

/** Cells of what `counts` fills: frames and bytes to the station, and from it. */
export const OUT_FRAMES = 0;
export const OUT_BYTES = 1;
export const IN_FRAMES = 2;
export const IN_BYTES = 3;
export const COUNT_CELLS = 4;

/** Ways of a station, the remote end of flows: what it is sent, and what it sends. */
export const TO_STATION = 0;
export const FROM_STATION = 1;

/** A decision on one way of a station. */
export interface FlowRow {
  vni: number;
  /** MAC of the station: its first two bytes, its last four. */
  high: number;
  low: number;
  /** TO_STATION or FROM_STATION. */
  direction: number;
  /** When it ends, ms of the monotonic clock, 32 bits. */
  until: number;
  /** IPv4 address of its peer as it lies in a peer row, a word. */
  peer: number;
  frameLimit: number;
  /** −1: that of the inner packet. */
  tos: number;
  df: boolean;
  slot: number;
}

/** Where the kernel is told of stations whose TCP it may pass, and tells what it has passed. */
export interface FlowPort {
  /** Makes or replaces a row. @returns false when the kernel has no room for it */
  put(row: FlowRow): boolean;
  /** The next frame of this station, on this way, goes to user space. */
  remove(vni: number, high: number, low: number, way: number): void;
  /** Removes all rows, those of other workers too: what a predecessor that died has decided is nobody's. */
  clear(): void;
  /** Fills `into` from `base` on with what was ever counted in a slot: COUNT_CELLS cells. @returns false: it cannot be told */
  counts(slot: number, into: Float64Array, base: number): boolean;
}
