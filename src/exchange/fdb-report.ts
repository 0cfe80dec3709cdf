/**
 * Report of FDB events from a worker to the main thread.
 *
 * Each event is a record of 16 words, in one buffer that is copied as a whole.
 *
 *     word 0–5   peer, in the format of a peer row (family … scope id)
 *     word 6     kind of event                 word 14  MAC, first two bytes
 *     word 7     VNI                           word 15  MAC, last four bytes
 *     word 8–13  previous peer of a moved entry
 *
 * Written by `switch/fdb-events.ts`, read by `controller/fdb-event-reader.ts`.
 */

/** Length of a record, words. */
export const ROW = 16;
/** Offsets in a record, words. */
export const PEER = 0;
export const KIND = 6;
export const VNI = 7;
export const FROM = 8;
export const MAC_HIGH = 14;
export const MAC_LOW = 15;

/** Kinds of events. */
export const LEARNED = 0;
export const MOVED = 1;
export const AGED = 2;
export const MISS = 3;

/** Interval in which a missed MAC is reported once, ticks. */
export const MISS_TICKS = 10;

/** One report; a worker sends at most one report per tick, which is a tenth of a second. */
export interface FdbReport {
  rows: Int32Array<ArrayBuffer>;
  /** Events that did not fit. */
  lost: number;
  tick: number;
}
