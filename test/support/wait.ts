/** Waiting with a deadline. A lab never sleeps for a guessed time: it polls a named condition. */
import { setTimeout as delay } from 'node:timers/promises';

const POLL_MS = 20;

/**
 * Polls `look` until it returns a truthy value, and returns that value.
 *
 * @param what name of the condition, for the error message
 * @throws Error "waited … ms for WHAT" after `limitMs`; any error of `look`
 */
export async function eventually<T>(
  what: string,
  look: () => T | Promise<T>,
  limitMs = 60_000,
): Promise<NonNullable<T>> {
  const deadline = performance.now() + limitMs;
  for (;;) {
    const seen = await look();
    if (seen) return seen as NonNullable<T>;
    if (performance.now() > deadline) throw new Error(`waited ${limitMs} ms for ${what}`);
    await delay(POLL_MS);
  }
}

/** The last eight lines of an output, for an error message. */
export function lastLines(output: string): string {
  return output.trim().split('\n').slice(-8).join('\n');
}
