/**
 * Observer of known unicast frames: the interface for flow offload.
 *
 * Options that act on stations behind peers implement this interface (`switch/flows/`). Without an
 * active observer the calls cost one branch per frame.
 */
import type { Clock } from '../fdb/clock.js';
import type { EntryObserver } from '../fdb/fdb.js';

export interface StationObserver extends EntryObserver {
  /** True while `sent` and `received` must be called. */
  readonly active: boolean;
  /** Reports a frame from the TAP to a station behind a peer, before it is sent. */
  sent(vniIdx: number, high: number, low: number, peerIdx: number, isSuperframe: boolean): void;
  /** Reports a frame from a station behind a peer, before it is written to the TAP. */
  received(vniIdx: number, high: number, low: number, peerIdx: number, isSuperframe: boolean): void;
  /** Ends all decisions on stations, because a setting or a path that affects them changes. */
  withdrawAll(): void;
  /** Suspends decisions while `on`: every frame must pass this thread, as during a capture. */
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
