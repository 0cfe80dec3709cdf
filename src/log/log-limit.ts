/**
 * Rate-limited logging for events triggered from outside (DNS, routes, paths).
 *
 * A token bucket per key allows a burst, then one line per minute; further lines are logged at
 * level debug.
 *
 * Events that a remote host can trigger at will with frames have no log lines (`log.ts`).
 */
import type { Logger } from './log.js';

/** Burst per key, lines. */
const BURST = 10;
/** Time to gain one token, ms. */
const PERIOD_MS = 60_000;
/** Number of buckets above which full ones are removed; a full bucket equals a new one. */
const BUCKETS_MAX = 1000;

interface Bucket {
  tokens: number;
  atMs: number;
}

export class LimitedLog {
  readonly #log: Logger;
  readonly #nowMs: () => number;
  readonly #buckets = new Map<string, Bucket>();

  /** @param nowMs monotonic clock, ms */
  constructor(log: Logger, nowMs: () => number = () => performance.now()) {
    this.#log = log;
    this.#nowMs = nowMs;
  }

  /** @param key member of a bounded set: a configured name, never data from a remote host */
  log(key: string, level: 'info' | 'warn', fields: Record<string, unknown>, message: string): void {
    this.#log[this.#allows(key) ? level : 'debug'](fields, message);
  }

  /** Forgets a key that is no longer configured. */
  forget(key: string): void {
    this.#buckets.delete(key);
  }

  #allows(key: string): boolean {
    const nowMs = this.#nowMs();
    const bucket = this.#buckets.get(key) ?? { tokens: BURST, atMs: nowMs };
    bucket.tokens = Math.min(BURST, bucket.tokens + (nowMs - bucket.atMs) / PERIOD_MS);
    bucket.atMs = nowMs;
    if (this.#buckets.size >= BUCKETS_MAX) this.#removeFull(nowMs);
    this.#buckets.set(key, bucket);
    if (bucket.tokens < 1) return false;
    bucket.tokens--;
    return true;
  }

  #removeFull(nowMs: number): void {
    for (const [key, { tokens, atMs }] of this.#buckets)
      if (tokens + (nowMs - atMs) / PERIOD_MS >= BURST) this.#buckets.delete(key);
  }
}
