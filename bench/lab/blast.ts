/**
 * Interface to the C tool `blast`, which runs as one process per end.
 */
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { type Running, run } from '../../test/support/command.js';
import type { Namespace } from '../../test/support/netns.js';
import { FLOWS, FLOWS_ADDRESS, type Site } from './site.js';

/** UDP ports in the overlay. */
const PORT = 9;
const LOAD_PORT = 10;
const VXLAN_PORT = 4789;
/** Limit of a process beyond the measured time (start, silence, slack), ms. */
const MARGIN_MS = 15_000;
/** Time without a frame that ends `count`, ms. */
const SILENCE_MS = 500;
export const BLAST = join(process.cwd(), 'build/blast');
const SOURCES = { blast: 'bench/lab/blast.c', flood: 'bench/floods/flood.c' } as const;

/** The sender and the receiver. */
export interface Ends {
  readonly a: Site;
  readonly b: Site;
}

/** Compiles a C tool to build/. @throws Error with the compiler's messages */
export async function compileTool(name: keyof typeof SOURCES): Promise<void> {
  mkdirSync('build', { recursive: true });
  await run(['cc', '-std=gnu11', '-O2', '-Wall', '-Wextra', '-Werror', '-o', `build/${name}`, SOURCES[name]]);
}

/** Frames that arrived at user b. */
export interface Delivered {
  frames: number;
  /** Bytes of Ethernet frames without FCS. */
  bytes: number;
  /** Frames that arrived with a changed payload. */
  corrupt: number;
  /** Time from the first arrival to the last. */
  seconds: number;
}

export interface Load {
  /** Bytes of the frame, or 'imix' over 64 flows. */
  size: number | 'imix';
  /** Frames per second; 0: as many as possible. */
  rate?: number;
  seconds: number;
}

/** Sends from a to b. @throws Error when no frame or a corrupt frame arrives */
export async function blast({ a, b }: Ends, load: Load, port = PORT): Promise<Delivered> {
  const counter = b.user.start([BLAST, 'count', `${port}`, `${SILENCE_MS}`]);
  try {
    await counter.untilOutput(/listening/);
    const [address, flows] = load.size === 'imix' ? [FLOWS_ADDRESS, FLOWS] : [b.address, 1];
    await send(a.user, address, load, { flows, port });
    await counter.exit(load.seconds * 1000 + MARGIN_MS);
    return intact(report<Delivered>(counter));
  } finally {
    await counter.stop('SIGKILL');
  }
}

function intact(delivered: Delivered): Delivered {
  const { frames, corrupt } = delivered;
  if (corrupt > 0) throw new Error(`${corrupt} of ${frames} frames arrived corrupt`);
  if (frames < 2) throw new Error('no frame arrived');
  return delivered;
}

/** Report of a sender. */
export interface Sent {
  /** Frames. */
  sent: number;
  /** CPU time of the process, ns; contains the network stack below its system calls. */
  cpuNs: number;
}

/** Sends without counting arrivals. */
export async function send(
  from: Namespace,
  address: string,
  { size, rate = 0, seconds }: Load,
  { flows = 1, port = PORT } = {},
): Promise<Sent> {
  const args = [address, port, seconds, size, flows, Math.round(rate)].map(String);
  const output = await from.run([BLAST, 'send', ...args], { limitMs: seconds * 1000 + MARGIN_MS });
  return JSON.parse(output) as Sent;
}

/** Round trips: time from a request of a to the answer of b, µs. */
export interface RoundTrips {
  count: number;
  lost: number;
  p50: number;
  p99: number;
  p999: number;
  max: number;
}

/** Measures round trips of one 64-byte frame at a time. @throws Error if no request is answered */
export async function pingPong({ a, b }: Ends, seconds: number): Promise<RoundTrips> {
  const pong = b.user.start([BLAST, 'pong', `${PORT}`]);
  try {
    await pong.untilOutput(/listening/);
    const limitMs = seconds * 1000 + MARGIN_MS;
    const output = await a.user.run([BLAST, 'ping', b.address, `${PORT}`, `${seconds}`, '64'], { limitMs });
    const roundTrips = JSON.parse(output) as RoundTrips;
    if (roundTrips.count === 0) throw new Error('no request was answered');
    return roundTrips;
  } finally {
    await pong.stop('SIGKILL');
  }
}

/** Variant of `pingPong` while 1400-byte frames flow from a to b. @param rate frames per second */
export async function pingPongUnderLoad(ends: Ends, seconds: number, rate: number): Promise<RoundTrips> {
  // The load begins before the first request and ends after the last.
  const load = blast(ends, { size: 1400, rate, seconds: seconds + 1 }, LOAD_PORT);
  const [, roundTrips] = await Promise.all([load, pingPong(ends, seconds)]);
  return roundTrips;
}

/** Sends `count` VXLAN datagrams, each with another inner source MAC, from a host to a VTEP. */
export async function learn(from: Namespace, to: string, vni: number, count: number): Promise<void> {
  await from.run([BLAST, 'learn', to, `${VXLAN_PORT}`, `${vni}`, `${count}`]);
}

/** The JSON in the last line of a process. @throws Error with stderr when there is none */
function report<T>(process: Running): T {
  const line = process.stdout.trim().split('\n').at(-1) ?? '';
  if (!line.startsWith('{')) throw new Error(`${process}: ${process.stderr.trim() || 'no output'}`);
  return JSON.parse(line) as T;
}
