/**
 * How much memory a large configuration takes: 1,000 VNIs with 1,000 peers each and an empty FDB. Measured in a
 * process of its own, as resident memory: the main thread's side, the worker and every table of the built daemon, with
 * memory ports. What is missing are the TAP devices, which are the kernel's memory, and the API.
 */
import { join } from 'node:path';
import { run } from '../../test/support/command.js';

export interface MemoryResult {
  vnis: number;
  /** In each VNI. */
  peers: number;
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
  const count = `${isShort ? SHORT : FULL}`;
  const child = join(process.cwd(), 'build/bench/memory/configuration.js');
  const said = await run([process.execPath, '--expose-gc', child, count, count], { limitMs: LIMIT_MS });
  return JSON.parse(said) as MemoryResult;
}
