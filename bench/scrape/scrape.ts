/**
 * What a scrape costs: a data plane without a kernel (memory ports) with many (VNI, peer) pairs that have counted, read by `/metrics` and
 * `/v1/counters` as an HTTP client would, without the socket. In a process of its own for each size: resident memory belongs
 * to a process. A scrape at 1,000 pairs is to stay below 50 ms.
 */
import { join } from 'node:path';
import { run } from '../../test/support/command.js';

export interface ScrapeResult {
  vnis: number;
  /** (VNI, peer) pairs in all. */
  pairs: number;
  metrics: ReadResult;
  counters: ReadResult;
}

export interface ReadResult {
  /** Until the last byte, milliseconds: the median of the rounds. */
  ms: number;
  /** CPU of the main thread, user and system, milliseconds: the median. */
  cpuMs: number;
  /** Longest time that the event loop did nothing else, milliseconds, of all rounds. */
  pauseMs: number;
  bytes: number;
  /** Resident memory at its highest beyond what the configured process has, bytes. */
  extraBytes: number;
}

/** VNIs, and peers of each; the last is the largest that there can be. */
const SIZES: readonly (readonly [vnis: number, peers: number])[] = [
  [10, 100],
  [64, 1000],
  [1, 64_000],
  [1000, 1000],
];
const SHORT_SIZES = 2;
const LIMIT_MS = 180_000;

export async function measureScrapes(isShort: boolean): Promise<ScrapeResult[]> {
  const results: ScrapeResult[] = [];
  const child = join(process.cwd(), 'build/bench/scrape/daemon.js');
  for (const [vnis, peers] of isShort ? SIZES.slice(0, SHORT_SIZES) : SIZES) {
    const said = await run([process.execPath, '--expose-gc', child, `${vnis}`, `${peers}`], {
      limitMs: LIMIT_MS,
    });
    results.push(JSON.parse(said) as ScrapeResult);
  }
  return results;
}
