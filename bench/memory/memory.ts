/**
 * Resident memory of a large configuration: 1,000 VNIs with 1,000 peers each and an empty FDB.
 *
 * Two figures, each from a separate process: the memory that the forwarding tables add, and the
 * memory of main thread and worker of the built daemon with memory ports. No figure contains TAP
 * devices (kernel memory), sockets or the API.
 */
import { join } from 'node:path';
import { run } from '../../test/support/command.js';
import type { BenchOptions } from '../options.js';
import type { Measured } from '../results.js';

export interface DaemonMemory {
  /** Resident memory with one VNI and one peer, bytes. */
  emptyBytes: number;
  /** Resident memory with all VNIs and peers, after a garbage collection, bytes. */
  fullBytes: number;
  /** Peak of resident memory, bytes. */
  peakBytes: number;
  /** Time until every change was acknowledged. */
  seconds: number;
}

const FULL = 1000;
const SHORT = 20;
const MB = 1 << 20;
const LIMIT_MS = 180_000;

export async function measureMemory({ short }: BenchOptions): Promise<Measured> {
  const count = short ? SHORT : FULL;
  const tablesBytes = await measure<number>('tables', count);
  const { fullBytes } = await measure<DaemonMemory>('daemon', count);
  const title = `memory, ${count} VNIs × ${count} peers`;
  return {
    rows: [
      { id: 'memory-tables', title: `${title}, tables`, unit: 'MB', vtepd: [tablesBytes / MB] },
      {
        id: 'memory-daemon',
        title: `${title}, both threads`,
        unit: 'MB',
        vtepd: [fullBytes / MB],
        must: 160,
        aim: 100,
      },
    ],
  };
}

async function measure<T>(program: string, count: number): Promise<T> {
  const child = join(process.cwd(), `build/bench/memory/${program}.js`);
  const output = await run([process.execPath, '--expose-gc', child, `${count}`, `${count}`], {
    limitMs: LIMIT_MS,
  });
  return JSON.parse(output) as T;
}
