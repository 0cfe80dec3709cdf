/**
 * The command line of the benchmark: `npm run bench -- --rounds 3 --seconds 2`.
 */
import { parseArgs } from 'node:util';

export interface BenchOptions {
  micro: boolean;
  lab: boolean;
  /** Interleaved rounds of the lab. */
  rounds: number;
  /** Length of one measurement of the lab. */
  seconds: number;
  /** Does it work at all? Figures mean nothing. */
  short: boolean;
}

/** @throws Error with one line that names the flag, the value and what is allowed. */
export function parseOptions(args: readonly string[]): BenchOptions {
  const { values } = parseArgs({
    args: [...args],
    options: {
      rounds: { type: 'string' },
      seconds: { type: 'string' },
      only: { type: 'string' },
      short: { type: 'boolean', default: false },
    },
  });
  const { only, short } = values;
  if (only !== undefined && only !== 'micro' && only !== 'lab') {
    throw new Error(`--only ${only}: micro or lab`);
  }
  return {
    micro: only !== 'lab',
    lab: only !== 'micro',
    rounds: count('--rounds', values.rounds, short ? 1 : 5),
    seconds: count('--seconds', values.seconds, short ? 1 : 4),
    short,
  };
}

function count(flag: string, text: string | undefined, otherwise: number): number {
  if (text === undefined) return otherwise;
  const value = Number(text);
  if (/^\d+$/.test(text) && value >= 1 && value <= 600) return value;
  throw new Error(`${flag} ${text}: a whole number from 1 to 600`);
}
