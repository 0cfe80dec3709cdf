/**
 * Samples of threads by `perf` of the operating system, driven by the CPU clock.
 *
 * A sample has the whole stack in the kernel, and only the leaf in user space. User-space stacks
 * cannot be unwound here, and perf would then lose the leaf too. Symbols of compiled JavaScript
 * come from the map that node writes with --perf-basic-prof.
 */
import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { run } from '../../test/support/command.js';
import { scratchDirectory } from '../lab/scratch.js';
import { type Kind, momentOf, PARTS, type Part } from './parts.js';

/** Samples per second of a busy thread: not a multiple of the kernel's tick. */
const FREQUENCY = 1999;
const MARGIN_MS = 60_000;

/** Number of samples by part and kind. */
export type Counts = Record<Part, Record<Kind, number>>;

/** @returns counts by thread id */
export async function sampleThreads(pids: readonly number[], seconds: number): Promise<Map<number, Counts>> {
  const file = join(scratchDirectory('perf'), 'data');
  const limitMs = seconds * 1000 + MARGIN_MS;
  const what = `-e cpu-clock -F ${FREQUENCY} -g --kernel-callchains`;
  await run(`perf record -q ${what} -p ${pids.join(',')} -o ${file} -- sleep ${seconds}`, { limitMs });
  const stacks = await run(`perf script -i ${file} -F tid,ip,sym,dso`, { limitMs });
  const leaves = await run(`perf script -i ${file} -F tid,ip,sym,dso -G`, { limitMs });
  rmSync(file);
  return countsOf(stacks, leaves);
}

const THREAD = /^\s*(\d+)\s*/;

/**
 * @param stacks samples: a line with the thread, then its kernel stack if it was in the kernel
 * @param leaves the same samples, one line each: the thread and the leaf
 * @returns counts by thread id
 */
export function countsOf(stacks: string, leaves: string): Map<number, Counts> {
  const samples = stacks.split(/^(?=\s*\d+ *$)/m).filter((text) => THREAD.test(text));
  const leafLines = leaves.split('\n').filter((line) => line.trim() !== '');
  const counts = new Map<number, Counts>();
  for (const [i, sample] of samples.entries()) {
    const [head, ...stack] = sample.split('\n').filter((line) => line.trim() !== '');
    const { part, kind } = momentOf(stack.length > 0 ? stack : [leafLines[i].replace(THREAD, '')]);
    const thread = Number.parseInt(head, 10);
    const own = counts.get(thread) ?? noCounts();
    own[part][kind]++;
    counts.set(thread, own);
  }
  return counts;
}

export function noCounts(): Counts {
  return Object.fromEntries(PARTS.map((part) => [part, { copy: 0, deliver: 0, own: 0 }])) as Counts;
}

/** Total number of samples. */
export function totalOf(counts: Counts): number {
  return PARTS.reduce((sum, part) => sum + partTotal(counts, part), 0);
}

export function partTotal(counts: Counts, part: Part): number {
  const { copy, deliver, own } = counts[part];
  return copy + deliver + own;
}
