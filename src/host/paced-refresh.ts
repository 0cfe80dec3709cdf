/**
 * Debounced refreshes that never overlap and take at most a tenth of the time.
 *
 * `due` requests a refresh; every request is followed by a refresh that begins after it.
 */

/** Shortest time from a request to the refresh, ms. */
const DEBOUNCE_MS = 200;
/** A refresh is followed by a rest of at least this multiple of its duration. */
const REST = 9;

export class PacedRefresh {
  readonly #refresh: () => Promise<void>;
  #isDue = false;
  #timer: NodeJS.Timeout | undefined;
  #refreshing: Promise<void> | undefined;
  /** End of the rest after the last refresh, ms of the monotonic clock. */
  #restUntilMs = 0;
  #isStopped = false;

  /** @param refresh must not reject */
  constructor(refresh: () => Promise<void>) {
    this.#refresh = refresh;
  }

  /** Refreshes at once; for the first refresh. */
  now(): Promise<void> {
    this.#isDue = false;
    this.#refreshing = this.#once().finally(() => {
      this.#refreshing = undefined;
      if (this.#isDue) this.due();
    });
    return this.#refreshing;
  }

  /** Requests a refresh. */
  due(): void {
    this.#isDue = true;
    if (this.#isStopped || this.#refreshing || this.#timer) return;
    this.#timer = setTimeout(
      () => {
        this.#timer = undefined;
        void this.now();
      },
      Math.max(DEBOUNCE_MS, this.#restUntilMs - performance.now()),
    );
  }

  /** Prevents further refreshes. @returns when the current refresh has ended */
  async stop(): Promise<void> {
    this.#isStopped = true;
    clearTimeout(this.#timer);
    await this.#refreshing;
  }

  async #once(): Promise<void> {
    const startMs = performance.now();
    await this.#refresh();
    const endMs = performance.now();
    this.#restUntilMs = endMs + REST * (endMs - startMs);
  }
}
