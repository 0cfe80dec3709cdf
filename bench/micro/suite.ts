/**
 * Wrapper of `benchmark`: many operations per call, results in nanoseconds per operation.
 */
import Benchmark from 'benchmark';
import type { Figures, Spread } from '../figures.js';

export interface Case {
  name: string;
  /** Operations per call: many, so that the cost of the call is negligible. */
  ops: number;
  /** Returns a number that depends on all operations, so that V8 cannot eliminate any. */
  run: () => number;
}

/** Exported, so that V8 cannot prove that the results are unused. */
export let sink = 0;

/** @param maxTimeS time limit of a case, seconds @returns mean and its 95 % margin of error, ns */
export function runSuite(
  suite: Pick<Figures, 'name' | 'title' | 'scale'>,
  cases: readonly Case[],
  maxTimeS: number,
): Figures {
  console.error(suite.title);
  return {
    ...suite,
    columns: ['ns'],
    rows: cases.map((one) => ({ label: one.name, values: [runCase(one, maxTimeS)] })),
  };
}

function runCase({ name, ops, run }: Case, maxTime: number): Spread {
  const call = () => {
    sink = (sink + run()) | 0;
  };
  const bench = new Benchmark(name, call, { maxTime });
  bench.run({ async: false });
  // The typings lack the error property; a case that throws must not count as fast.
  const { error } = bench as unknown as { error?: Error };
  if (error) throw new Error(`${name}: ${error.message}`);
  const { mean, moe } = bench.stats;
  const ns = (seconds: number) => (seconds * 1e9) / ops;
  return { median: ns(mean), min: ns(mean - moe), max: ns(mean + moe) };
}
