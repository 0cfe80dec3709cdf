/**
 * One question after another, each known by a key that only its answer repeats: sends, waits for the answer as long as
 * the path has shown to need, and forgets. What answers nothing that is asked now is ignored. Every means of probing
 * has one of these for each search.
 */
import type { Outcome } from './search.js';

/** Until the path has shown how long an answer takes, ms. */
const FIRST_PATIENCE_MS = 1000;
/** So many times the longest round trip seen. */
const PATIENCE_FACTOR = 4;
/** A busy machine takes this long for anything, ms. */
const LEAST_PATIENCE_MS = 200;

export class Exchange {
  #key = '';
  #answer: ((outcome: Outcome) => void) | undefined;
  #longestMs = 0;
  readonly #nowMs: () => number;

  constructor(nowMs: () => number = () => performance.now()) {
    this.#nowMs = nowMs;
  }

  /**
   * @param patient true for the timeout of a path without any answer yet
   * @param send sends the question, or says at once why it cannot be sent
   * @returns what `settle` says of this key, or silence
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
      const ms = patient ? FIRST_PATIENCE_MS : this.#patienceMs;
      timer = setTimeout(() => resolve({ kind: 'silent' }), ms);
    });
    const outcome = await Promise.race([answered, silence]);
    clearTimeout(timer);
    if (outcome.kind === 'arrived') this.#longestMs = Math.max(this.#longestMs, this.#nowMs() - sentMs);
    return this.#forget(outcome);
  }

  /** An answer has come. */
  complete(key: string, outcome: Outcome): void {
    if (key === this.#key) this.#answer?.(outcome);
  }

  get #patienceMs(): number {
    if (this.#longestMs === 0) return FIRST_PATIENCE_MS;
    return Math.min(FIRST_PATIENCE_MS, Math.max(LEAST_PATIENCE_MS, this.#longestMs * PATIENCE_FACTOR));
  }

  #forget(outcome: Outcome): Outcome {
    this.#key = '';
    this.#answer = undefined;
    return outcome;
  }
}
