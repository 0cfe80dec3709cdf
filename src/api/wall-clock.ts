/**
 * Wall-clock time of moments that are kept by the monotonic clock (CLOCK_MONOTONIC), for people.
 *
 * Inside vtepd a moment is a monotonic one: the wall clock may be set back or forward at run time. It
 * is converted when it is shown, with the offset of that time. The offset follows the wall clock only
 * in steps, so a moment that does not change is shown as the same time again while NTP slews.
 */
import { hrtime } from 'node:process';

/** Milliseconds by which the wall clock may differ from the offset in use. */
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

  /** @param momentMs of the monotonic clock @returns ms since the epoch */
  readonly epochMs = (momentMs: number): number => {
    const offsetMs = this.#wallMs() - this.#monotonicMs();
    if (Math.abs(offsetMs - this.#offsetMs) > STEP_MS) this.#offsetMs = offsetMs;
    return Math.round(momentMs + this.#offsetMs);
  };
}

/** CLOCK_MONOTONIC, ms: the clock that the data plane has. `performance.now()` begins at 0 in each thread. */
export function monotonicMs(): number {
  return Number(hrtime.bigint()) / 1e6;
}
