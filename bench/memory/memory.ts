/**
 * How much memory a large configuration takes: 1,000 VNIs with 1,000 peers each and an empty FDB. Measured as resident
 * memory, in a process of its own for each of two things: the tables that forward, and what the built daemon has of
 * them, main thread and worker, with memory ports. What is missing there are the TAP devices, which are the kernel's
 * memory, the sockets and the API.
 */
import { join } from 'node:path';
import { run } from '../../test/support/command.js';

export interface MemoryResult {
  vnis: number;
  /** In each VNI. */
  peers: number;
  /** What the tables add to an empty process, bytes. */
  tablesBytes: number;
  daemon: DaemonMemory;
}

export interface DaemonMemory {
  /** Resident memory with one VNI and one peer, bytes. */
  emptyBytes: number;
  /** With all of them, after a garbage collection. */
  fullBytes: number;
  /** The most it ever was. */
  peakBytes: number;
  /** Until every change was acknowledged. */
  seconds: number;
}

const FULL = 1000;
const SHORT = 20;
const LIMIT_MS = 180_000;

export async function measureMemory(isShort: boolean): Promise<MemoryResult> {
  const count = isShort ? SHORT : FULL;
  return {
    vnis: count,
    peers: count,
    tablesBytes: await measure<number>('tables', count),
    daemon: await measure<DaemonMemory>('daemon', count),
  };
}

async function measure<T>(program: string, count: number): Promise<T> {
  const child = join(process.cwd(), `build/bench/memory/${program}.js`);
  const said = await run([process.execPath, '--expose-gc', child, `${count}`, `${count}`], {
    limitMs: LIMIT_MS,
  });
  return JSON.parse(said) as T;
}
