/**
 * The C tool `blast`: compiled when the benchmark runs, one process for each end.
 */
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { type Running, run } from '../../test/support/command.js';
import { ADDRESS_B, type Competitor, FLOWS, FLOWS_ADDRESS } from './competitor.js';

const PORT = 9;
/** Start, silence and slack beyond the measured time, ms. */
const MARGIN_MS = 15_000;
const OUTPUT = join(process.cwd(), 'build/blast');

/** @throws Error with the compiler's words. */
export async function compileBlast(): Promise<void> {
  mkdirSync(join(process.cwd(), 'build'), { recursive: true });
  const source = join(process.cwd(), 'bench/lab/blast.c');
  await run(['cc', '-std=gnu11', '-O2', '-Wall', '-Wextra', '-Werror', '-o', OUTPUT, source]);
}

/** What arrived in host b. */
export interface Delivered {
  frames: number;
  /** Of Ethernet frames without FCS. */
  bytes: number;
  /** Frames that arrived with other bytes than were sent. */
  corrupt: number;
  /** From the first arrival to the last. */
  seconds: number;
}

/** Sends as much as the machine takes from a to b. `size`: bytes of the frame, or 'imix' over 64 flows. */
export async function blast(
  { a, b }: Competitor,
  size: number | 'imix',
  seconds: number,
): Promise<Delivered> {
  const counter = b.start([OUTPUT, 'count', `${PORT}`]);
  await counter.says(/listening/);
  const [address, flows] = size === 'imix' ? [FLOWS_ADDRESS, FLOWS] : [ADDRESS_B, 1];
  await a.run([OUTPUT, 'send', address, `${PORT}`, `${seconds}`, `${size}`, `${flows}`], {
    limitMs: seconds * 1000 + MARGIN_MS,
  });
  await counter.exit(seconds * 1000 + MARGIN_MS);
  return report<Delivered>(counter);
}

/** Microseconds from a request of a to b's answer. */
export interface RoundTrips {
  count: number;
  lost: number;
  p50: number;
  p99: number;
  p999: number;
  max: number;
}

/** One 64 byte frame at a time, no other load. */
export async function pingPong({ a, b }: Competitor, seconds: number): Promise<RoundTrips> {
  const pong = b.start([OUTPUT, 'pong', `${PORT}`]);
  await pong.says(/listening/);
  const limitMs = seconds * 1000 + MARGIN_MS;
  try {
    const said = await a.run([OUTPUT, 'ping', ADDRESS_B, `${PORT}`, `${seconds}`, '64'], { limitMs });
    return JSON.parse(said) as RoundTrips;
  } finally {
    await pong.stop();
  }
}

/** The last line of what a process said. @throws Error with its complaint when there is none. */
function report<T>(process: Running): T {
  const line = process.stdout.trim().split('\n').at(-1) ?? '';
  if (!line.startsWith('{')) throw new Error(`${process}: ${process.stderr.trim() || 'said nothing'}`);
  return JSON.parse(line) as T;
}
