/**
 * A log for what something outside brings about: a name server, a route, a path. Of each key some lines are written at once, then
 * one a period; what is above that goes to level debug, which nobody has unless he asks for it.
 *
 * A line that a remote can trigger at will by frames does not exist at all (`log.ts`).
 */
import type { Logger } from './log.js';

/** Lines of one key at once. */
const BURST = 10;
/** One more after each of these, ms. */
const PERIOD_MS = 60_000;

interface Bucket {
  tokens: number;
  atMs: number;
}

export class LimitedLog {
  readonly #log: Logger;
  readonly #nowMs: () => number;
  readonly #buckets = new Map<string, Bucket>();

  /** @param nowMs a clock that only goes forward */
  constructor(log: Logger, nowMs: () => number = () => performance.now()) {
    this.#log = log;
    this.#nowMs = nowMs;
  }

  /** @param key of a bounded set: what is configured, not what a remote says */
  log(key: string, level: 'info' | 'warn', fields: Record<string, unknown>, message: string): void {
    this.#log[this.#allows(key) ? level : 'debug'](fields, message);
  }

  /** What a key stands for is gone. */
  forget(key: string): void {
    this.#buckets.delete(key);
  }

  #allows(key: string): boolean {
    const nowMs = this.#nowMs();
    const bucket = this.#buckets.get(key) ?? { tokens: BURST, atMs: nowMs };
    bucket.tokens = Math.min(BURST, bucket.tokens + (nowMs - bucket.atMs) / PERIOD_MS);
    bucket.atMs = nowMs;
    this.#buckets.set(key, bucket);
    if (bucket.tokens < 1) return false;
    bucket.tokens--;
    return true;
  }
}
