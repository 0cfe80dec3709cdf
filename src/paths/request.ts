/**
 * Sends one request at a time and matches the reply by a key.
 *
 * The timeout adapts to the round-trip times seen on the path. Replies to other requests are
 * ignored. Each means of probing uses one instance per search.
 */
import type { Outcome } from './search.js';

/** Timeout before the first reply has been received, ms; also the maximum timeout. */
const FIRST_TIMEOUT_MS = 1000;
/** Timeout as a multiple of the longest round-trip time seen. */
const TIMEOUT_FACTOR = 4;
/** Minimum timeout, ms: a busy machine may need this long. */
const MIN_TIMEOUT_MS = 200;

export class Exchange {
  #key = '';
  #answer: ((outcome: Outcome) => void) | undefined;
  #longestMs = 0;
  readonly #nowMs: () => number;

  constructor(nowMs: () => number = () => performance.now()) {
    this.#nowMs = nowMs;
  }

  /**
   * @param key content that only the reply to this request repeats
   * @param patient true for the maximum timeout
   * @param send sends the request, or returns the outcome at once when it cannot be sent
   * @returns outcome passed to `complete` for this key, or `silent` after the timeout
   */
  async ask(key: string, patient: boolean, send: () => Outcome | undefined): Promise<Outcome> {
    const sentMs = this.#nowMs();
    const answered = new Promise<Outcome>((resolve) => {
      this.#key = key;
      this.#answer = resolve;
    });
    const refused = send();
    if (refused) return this.#forget(refused);
    let timer: NodeJS.Timeout | undefined;
    const silence = new Promise<Outcome>((resolve) => {
      const ms = patient ? FIRST_TIMEOUT_MS : this.#timeoutMs;
      timer = setTimeout(() => resolve({ kind: 'silent' }), ms);
    });
    const outcome = await Promise.race([answered, silence]);
    clearTimeout(timer);
    if (outcome.kind === 'arrived') this.#longestMs = Math.max(this.#longestMs, this.#nowMs() - sentMs);
    return this.#forget(outcome);
  }

  /** Reports a reply; ignored unless `key` is that of the pending request. */
  complete(key: string, outcome: Outcome): void {
    if (key === this.#key) this.#answer?.(outcome);
  }

  get #timeoutMs(): number {
    if (this.#longestMs === 0) return FIRST_TIMEOUT_MS;
    return Math.min(FIRST_TIMEOUT_MS, Math.max(MIN_TIMEOUT_MS, this.#longestMs * TIMEOUT_FACTOR));
  }

  #forget(outcome: Outcome): Outcome {
    this.#key = '';
    this.#answer = undefined;
    return outcome;
  }
}
