/**
 * A thin form around `benchmark`: cases that do many operations a call, results in nanoseconds an operation.
 */
import Benchmark from 'benchmark';
import { progress } from '../progress.js';

export interface Case {
  name: string;
  /** Operations that one call does. Many, so that the call itself does not count. */
  ops: number;
  /** Returns something that depends on all it did, so that nothing can be left out. */
  run: () => number;
}

export interface MicroResult {
  suite: string;
  name: string;
  nsPerOp: number;
  /** Relative margin of error, per cent, as `benchmark` has it (95 %). */
  errorPercent: number;
  samples: number;
}

/** Where results go; exported, so that the compiler must believe that somebody reads it. */
export let sink = 0;

/** @param maxTimeS most seconds for one case */
export function runSuite(suite: string, cases: readonly Case[], maxTimeS: number): MicroResult[] {
  progress(suite);
  return cases.map((one) => runCase(suite, one, maxTimeS));
}

function runCase(suite: string, { name, ops, run }: Case, maxTime: number): MicroResult {
  const call = () => {
    sink = (sink + run()) | 0;
  };
  const bench = new Benchmark(name, call, { maxTime });
  bench.run({ async: false });
  // The typings know of no error property; a case that throws must not pass as one that is very fast.
  const { error } = bench as unknown as { error?: Error };
  if (error) throw new Error(`${suite}: ${name}: ${error.message}`);
  return {
    suite,
    name,
    nsPerOp: (bench.stats.mean * 1e9) / ops,
    errorPercent: bench.stats.rme,
    samples: bench.stats.sample.length,
  };
}
