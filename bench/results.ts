/**
 * Results of one run, as stored in bench/results. Tables and pictures are made from them alone.
 */
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { cpus, release } from 'node:os';
import { outcome } from '../test/support/command.js';
import type { Figures, Row } from './figures.js';
import type { FloodResult } from './floods/floods.js';
import type { StageResult } from './lab/stage.js';
import type { BenchOptions } from './options.js';

/** Version of the file format, raised with every incompatible change. */
const FORMAT = 2;
const DIRECTORY = 'bench/results';

export type Results = Awaited<ReturnType<typeof emptyResults>>;
/** Results of one part of the benchmark. */
export type Measured = Partial<Pick<Results, 'rows' | 'figures' | 'floods' | 'stages'>>;

export async function emptyResults(options: BenchOptions) {
  const first = async (command: string) =>
    (await outcome(command).catch(() => null))?.stdout.split('\n')[0] ?? 'unknown';
  return {
    format: FORMAT,
    date: new Date().toISOString(),
    options,
    machine: {
      cpu: `${cpus().length} × ${cpus()[0]?.model}`,
      kernel: release(),
      node: process.version,
      iperf3: await first('iperf3 --version'),
      commit: await first('git rev-parse --short HEAD'),
    },
    rows: [] as Row[],
    figures: [] as Figures[],
    floods: [] as FloodResult[],
    /** Every measurement of the lab, and the offloads of its devices. */
    stages: [] as StageResult[],
    /** One line for each measurement that failed. */
    failures: [] as string[],
  };
}

/** @returns path of the file */
export function saveResults(results: Results): string {
  mkdirSync(DIRECTORY, { recursive: true });
  const file = `${DIRECTORY}/${results.date.replace(/[:.]/g, '-')}.json`;
  writeFileSync(file, `${JSON.stringify(results, null, 2)}\n`);
  return file;
}

/** @throws Error for a file without results of this format */
export function loadResults(file: string): Results {
  const results = JSON.parse(readFileSync(file, 'utf8')) as Results;
  if (results.format !== FORMAT) throw new Error(`--from ${file}: not a result file of format ${FORMAT}`);
  return results;
}
