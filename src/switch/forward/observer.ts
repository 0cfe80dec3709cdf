/**
 * Observer of known unicast frames: the seam for options that act on stations behind peers. Without
 * one, it costs one branch a frame.
 */
import type { Clock } from '../fdb/clock.js';
import type { EntryObserver } from '../fdb/fdb.js';

export interface StationObserver extends EntryObserver {
  /** True while `sent` and `received` are to be called. */
  readonly active: boolean;
  /** Reports a frame from the TAP to a station behind a peer, before it is sent. */
  sent(vniIdx: number, high: number, low: number, peerIdx: number, isSuperframe: boolean): void;
  /** Reports a frame of a station behind a peer, before it is written to the TAP. */
  received(vniIdx: number, high: number, low: number, peerIdx: number, isSuperframe: boolean): void;
  /** Ends all decisions on stations: something that they rest on changes. */
  withdrawAll(): void;
  /** Makes no decisions while `on`: every frame must pass this thread, as during a capture. */
  pause(on: boolean): void;
  /** Advances the clock, once a round. */
  step(clock: Clock): void;
}

/** Observer that is never active. */
export const NO_OBSERVER: StationObserver = {
  active: false,
  sent: () => {},
  received: () => {},
  withdraw: () => {},
  withdrawAll: () => {},
  pause: () => {},
  step: () => {},
};
