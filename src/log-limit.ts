/**
 * How often a line may be logged that something outside brings about: some at once, then one a period for each key. What is
 * above that is left out; whoever logs goes down to a level that nobody has by default. Time is passed in.
 */

export interface LogLimitOptions {
  /** Lines at once. */
  readonly burst: number;
  /** One more after each of these, ms. */
  readonly periodMs: number;
}

interface Bucket {
  tokens: number;
  atMs: number;
}

export class LogLimit {
  readonly #options: LogLimitOptions;
  readonly #buckets = new Map<string, Bucket>();

  constructor(options: LogLimitOptions) {
    this.#options = options;
  }

  /** @param key of a bounded set: configured names, not what a remote says @returns whether it may be logged */
  allows(key: string, nowMs: number): boolean {
    const { burst, periodMs } = this.#options;
    const bucket = this.#buckets.get(key) ?? { tokens: burst, atMs: nowMs };
    bucket.tokens = Math.min(burst, bucket.tokens + (nowMs - bucket.atMs) / periodMs);
    bucket.atMs = nowMs;
    this.#buckets.set(key, bucket);
    if (bucket.tokens < 1) return false;
    bucket.tokens--;
    return true;
  }
}
