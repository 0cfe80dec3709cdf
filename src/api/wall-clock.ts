/**
 * Converts monotonic time (CLOCK_MONOTONIC) to wall-clock time for display.
 *
 * vtepd keeps times as monotonic times, because the wall clock may be set back or forward at run
 * time. A time is converted when it is displayed, with the current offset between the clocks. The
 * offset is changed only when it is wrong by more than STEP_MS, so the displayed time of an event
 * stays the same while NTP slews the clock.
 */
import { hrtime } from 'node:process';

/** Milliseconds that the wall clock may deviate from the offset in use. */
const STEP_MS = 50;

export class WallClock {
  readonly #monotonicMs: () => number;
  readonly #wallMs: () => number;
  #offsetMs: number;

  constructor(monotonic: () => number = monotonicMs, wallMs: () => number = Date.now) {
    this.#monotonicMs = monotonic;
    this.#wallMs = wallMs;
    this.#offsetMs = wallMs() - monotonic();
  }

  /**
   * @param momentMs monotonic time
   * @returns ms since the epoch
   */
  readonly epochMs = (momentMs: number): number => {
    const offsetMs = this.#wallMs() - this.#monotonicMs();
    if (Math.abs(offsetMs - this.#offsetMs) > STEP_MS) this.#offsetMs = offsetMs;
    return Math.round(momentMs + this.#offsetMs);
  };
}

/**
 * CLOCK_MONOTONIC in ms, as the data plane uses it. `performance.now()` is unsuitable, because it
 * starts at 0 in each thread.
 */
export function monotonicMs(): number {
  return Number(hrtime.bigint()) / 1e6;
}
