/**
 * Command line of the benchmark; scripts/bench.mjs describes the flags.
 */
import { parseArgs } from 'node:util';
import { LAB_CELLS } from './cells.js';

export type BenchOptions = ReturnType<typeof parseOptions>;

/** Groups of measurements that do not belong to the lab. */
const PARTS = ['copies', 'heap', 'profile', 'memory', 'micro', 'floods'] as const;
export type Part = (typeof PARTS)[number];
const NAMES = [
  'lab',
  ...new Set(LAB_CELLS.map(({ group }) => group)),
  ...PARTS,
  ...LAB_CELLS.map(({ id }) => id),
];

/** @throws Error with one line that names the flag, the value and what is allowed */
export function parseOptions(args: readonly string[]) {
  const [text, flag] = [{ type: 'string' }, { type: 'boolean' }] as const;
  const numbers = { rounds: text, seconds: text, 'heap-seconds': text };
  const { values } = parseArgs({
    args: [...args],
    options: { ...numbers, only: text, from: text, peers: flag, short: flag, save: flag },
  });
  const { short = false, save = false, from, ...others } = values;
  const [other] = Object.keys(short ? { short, ...others } : others);
  if (from !== undefined && other !== undefined) throw new Error(`--from --${other}: cannot be combined`);
  const only = values.only?.split(',');
  const unknown = only?.find((name) => !NAMES.includes(name));
  if (unknown !== undefined) throw new Error(`--only ${unknown}: one of ${NAMES.join(', ')}`);
  const count = (name: keyof typeof numbers, otherwise: number): number => {
    const value = Number(values[name] ?? otherwise);
    if (Number.isInteger(value) && value >= 1 && value <= 600) return value;
    throw new Error(`--${name} ${values[name]}: a whole number from 1 to 600`);
  };
  const [rounds, seconds] = [count('rounds', short ? 1 : 5), count('seconds', short ? 1 : 3)];
  const heapSeconds = count('heap-seconds', short ? 2 : 60);
  const peers = values.peers ?? only?.includes('peers') ?? false;
  if (save) refuseParts({ short, only });
  return { only, peers, rounds, seconds, heapSeconds, short, save, from };
}

/** @throws Error for a partial run, which the documents must not show */
export function refuseParts({ short, only }: { short: boolean; only: string[] | undefined }): void {
  if (short || only) throw new Error('--save: needs whole runs, without --only and --short');
}

/** @returns true if `--only` names the measurement, its group or `lab`, or is absent */
export function isWanted({ only, peers }: BenchOptions, id: string, group = ''): boolean {
  if (group === 'peers' && !peers) return false;
  // Floods run only by name: they do not measure speed.
  if (!only) return id !== 'floods';
  return only.includes(id) || (group !== '' && (only.includes(group) || only.includes('lab')));
}
