/**
 * Everything that one run of the benchmark found, as bench/results has it. Tables and pictures are made from this
 * alone: `--from FILE` makes them again.
 */
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { CopiesResult } from './copies/copies.js';
import type { FloodResult } from './floods/floods.js';
import type { HeapResult } from './heap/heap.js';
import type { StageResult } from './lab/stage.js';
import type { Machine } from './machine.js';
import type { MemoryResult } from './memory/memory.js';
import type { FdbSize } from './micro/fdb.js';
import type { MicroResult } from './micro/suite.js';
import type { BenchOptions } from './options.js';
import type { ProfileResult } from './profile/profile.js';
import type { ScrapeResult } from './scrape/scrape.js';

/** Raised whenever a reader of older files would misread them. */
const FORMAT = 1;
const DIRECTORY = 'bench/results';

export interface Results {
  format: number;
  date: string;
  options: BenchOptions;
  machine: Machine;
  stages: StageResult[];
  /** Programs of other overlays that were asked for and are not installed. */
  missingPeers: string[];
  micro: MicroResult[];
  fdb?: FdbSize;
  memory?: MemoryResult;
  copies?: CopiesResult;
  heap?: HeapResult;
  profile?: ProfileResult;
  scrape?: ScrapeResult[];
  floods?: FloodResult[];
  /** What did not work outside of the stages, one line each. */
  failures: string[];
}

export function emptyResults(options: BenchOptions, machine: Machine): Results {
  const date = new Date().toISOString();
  return { format: FORMAT, date, options, machine, stages: [], missingPeers: [], micro: [], failures: [] };
}

/** All that failed, wherever. */
export function failuresOf({ stages, copies, failures }: Results): string[] {
  return [...stages.flatMap((stage) => stage.failures), ...(copies?.failures ?? []), ...failures];
}

/** @returns the file's path from the root. */
export function saveResults(results: Results): string {
  mkdirSync(DIRECTORY, { recursive: true });
  const file = join(DIRECTORY, `${results.date.replace(/[:.]/g, '-')}.json`);
  writeFileSync(file, `${JSON.stringify(results, null, 2)}\n`);
  return file;
}

/** @throws Error with one line for people */
export function loadResults(file: string): Results {
  let results: Partial<Results>;
  try {
    results = JSON.parse(readFileSync(file, 'utf8'));
  } catch (error) {
    throw new Error(`--from ${file}: ${(error as Error).message}; name a file of ${DIRECTORY}`);
  }
  if (results?.format === FORMAT) return results as Results;
  throw new Error(`--from ${file}: no results of this version of the benchmark; run it again`);
}
