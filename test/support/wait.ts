/**
 * Waiting with a deadline. A lab never sleeps for a guessed time: it names what it waits for and looks until
 * that is so.
 */
import { setTimeout as delay } from 'node:timers/promises';

const POLL_MS = 20;

/**
 * Looks until `look` gives something truthy and returns that.
 *
 * @throws Error "waited … ms for WHAT" after `limitMs`; whatever `look` throws.
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

/** The last lines of an output, for an error message. */
export function lastLines(output: string): string {
  return output.trim().split('\n').slice(-8).join('\n');
}
