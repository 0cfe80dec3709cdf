/**
 * The command line of the benchmark: `npm run bench -- --rounds 3 --seconds 2`.
 */
import { parseArgs } from 'node:util';
import { LAB_CELLS } from './cells.js';

export interface BenchOptions {
  /** Names of cells and groups; undefined: all of them. */
  only: string[] | undefined;
  /** Compare with other userspace overlays too. */
  peers: boolean;
  /** Interleaved rounds of the lab. */
  rounds: number;
  /** Length of one measurement of the lab. */
  seconds: number;
  /** Length of the saturated run in which the heap is watched. */
  heapSeconds: number;
  /** Does it work at all? Figures mean nothing. */
  short: boolean;
  /** Write tables and pictures into docs/performance.md. */
  save: boolean;
  /** Results to show instead of measuring. */
  from: string | undefined;
}

/** Cells outside of the lab's stages. */
const OTHER_CELLS = ['copies', 'fdb', 'memory', 'scrape', 'heap', 'profile', 'micro', 'floods'] as const;
/** Those that run only when they are named: they are about hostile neighbours, not about speed. */
const NAMED_ONLY: readonly string[] = ['floods'] satisfies OtherCell[];
export type OtherCell = (typeof OTHER_CELLS)[number];

/** @throws Error with one line that names the flag, the value and what is allowed. */
export function parseOptions(args: readonly string[]): BenchOptions {
  const { values } = parseArgs({
    args: [...args],
    options: {
      rounds: { type: 'string' },
      seconds: { type: 'string' },
      'heap-seconds': { type: 'string' },
      only: { type: 'string' },
      peers: { type: 'boolean', default: false },
      short: { type: 'boolean', default: false },
      save: { type: 'boolean', default: false },
      from: { type: 'string' },
    },
  });
  const { peers, short, save, from } = values;
  if (save && short) throw new Error('--save --short: figures of a short run mean nothing; leave one out');
  if (save && values.only) throw new Error('--save --only: the pages show all cells; leave one out');
  for (const flag of ['only', 'rounds', 'seconds', 'heap-seconds', 'peers', 'short'] as const)
    if (from !== undefined && values[flag])
      throw new Error(`--from --${flag}: an earlier run is shown as it was; leave one out`);
  const only = values.only === undefined ? undefined : namesOf(values.only);
  return {
    only,
    peers: peers || (only?.includes('peers') ?? false),
    rounds: count('--rounds', values.rounds, short ? 1 : 5),
    seconds: count('--seconds', values.seconds, short ? 1 : 3),
    heapSeconds: count('--heap-seconds', values['heap-seconds'], short ? 2 : 60),
    short,
    save,
    from,
  };
}

/** Whether a cell was asked for: by its own name, its group's, `lab`, or because nothing was named. */
export function isWanted({ only, peers }: BenchOptions, id: string, group = ''): boolean {
  if (group === 'peers' && !peers) return false;
  if (!only) return !NAMED_ONLY.includes(id);
  return only.includes(id) || (group !== '' && (only.includes(group) || only.includes('lab')));
}

/** What `--only` takes. */
export function cellNames(): { groups: string[]; cells: string[] } {
  return {
    groups: ['lab', ...new Set(LAB_CELLS.map(({ group }) => group)), ...OTHER_CELLS],
    cells: LAB_CELLS.map(({ id }) => id),
  };
}

function namesOf(text: string): string[] {
  const { groups, cells } = cellNames();
  const names = text.split(',');
  for (const name of names) {
    if (groups.includes(name) || cells.includes(name)) continue;
    throw new Error(`--only ${name}: one of ${groups.join(', ')}; or of the cells ${cells.join(', ')}`);
  }
  return names;
}

function count(flag: string, text: string | undefined, otherwise: number): number {
  if (text === undefined) return otherwise;
  const value = Number(text);
  if (/^\d+$/.test(text) && value >= 1 && value <= 600) return value;
  throw new Error(`${flag} ${text}: a whole number from 1 to 600`);
}
