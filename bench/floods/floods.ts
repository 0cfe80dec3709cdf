/**
 * Floods: effect of a hostile sender on a known flow of another peer in another VNI.
 *
 * A peer, a stranger or a VM sends as fast as it can. Measured are the throughput and round trips
 * of the known flow, the loss of FDB entries of other peers, and the growth of the daemon's memory.
 *
 * The baseline is measured immediately before the flood, with the same daemons. It is the known
 * flow while the same sender sends to a UDP port of the same host, where a plain socket reads and
 * discards. The baseline contains the cost of sender and kernel without vtepd, because the sender
 * shares the cores with all other processes. The known flow has the direction of the flood, unless
 * `isAgainst` is set: toward near for floods from the underlay, from near for floods of a VM.
 */
import { join } from 'node:path';
import type { Namespace } from '../../test/support/netns.js';
import { compileTool, type Ends, pingPong } from '../lab/blast.js';
import { TASKS } from '../lab/tasks.js';
import type { BenchOptions } from '../options.js';
import type { Measured } from '../results.js';
import { FLOODS, type FloodKind, SINK_PORT } from './kinds.js';
import { entriesOfFar, entriesWhenQuiet, makePlace, type Place } from './place.js';

/** The known flow. */
export interface Flow {
  /** TCP payload, Gb/s; 0 when nothing passed. */
  gbps: number;
  /** Round trips of 64 byte frames, µs; null when no request was answered. */
  p50: number | null;
  max: number | null;
  /** Requests without an answer within 200 ms. */
  lost: number;
}

export interface FloodRound {
  /** The known flow: without a flood, during the flood of the plain socket, and of vtepd. */
  quiet: Flow;
  socket: Flow;
  vtepd: Flow;
  /** Frames per second that the flood sent. */
  rates: { socket: number; vtepd: number };
  /** FDB entries of other peers; null when the daemon did not answer. */
  entriesBefore: number;
  entriesAfter: number | null;
  /** Resident memory of the daemon, bytes; null when it has ended. */
  residentBefore: number;
  residentAfter: number | null;
}

export interface FloodResult {
  id: string;
  title: string;
  rounds: FloodRound[];
}

const OUTPUT = join(process.cwd(), 'build/flood');
/** Time to start iperf3 and blast. A flood lasts two measurements and this time. */
const FLOOD_EXTRA_S = 2;
const MARGIN_MS = 20_000;
/** Floods of a short run: one that a host sends, one that a VM sends. */
const SHORT = ['one-mac', 'storm'];
const NOTHING: Flow = { gbps: 0, p50: null, max: null, lost: 0 };

/** @param fail receives a line for each round that could not be measured */
export async function measureFloods(
  { rounds, seconds, short }: BenchOptions,
  fail: (line: string) => void,
): Promise<Measured> {
  await compileTool('blast');
  await compileTool('flood');
  const results = FLOODS.filter(({ id }) => !short || SHORT.includes(id)).map(
    (kind): [FloodKind, FloodResult] => [kind, { id: kind.id, title: kind.title, rounds: [] }],
  );
  for (let round = 0; round < rounds; round++) {
    for (const [kind, result] of results) {
      console.error(`floods: ${kind.title}: round ${round + 1} of ${rounds}`);
      try {
        result.rounds.push(await measureRound(kind, seconds));
      } catch (error) {
        fail(`${kind.title}: ${(error as Error).message}`);
      }
    }
  }
  return { floods: results.map(([, result]) => result) };
}

async function measureRound(kind: FloodKind, seconds: number): Promise<FloodRound> {
  const place = await makePlace(kind);
  try {
    const { near, far } = place;
    const isOutward = (kind.from === 'vm') !== (kind.isAgainst ?? false);
    const ends = isOutward ? { a: near, b: far } : { a: far, b: near };
    const quiet = await measureFlow(ends, seconds);
    const socket = await besideSocket(place, kind, ends, seconds);
    if (socket.flow.gbps === 0) throw new Error('the known flow did not pass beside the plain socket');
    const entriesBefore = await entriesOfFar(place.vtepd);
    const residentBefore = await place.vtepd.residentBytes();
    const vtepd = await beside(senderOf(place, kind), kind.flood, ends, seconds);
    const entriesAfter = (await entriesWhenQuiet(place.vtepd)) ?? null;
    const residentAfter = await place.vtepd.residentBytes().catch(() => null);
    return {
      quiet,
      socket: socket.flow,
      vtepd: vtepd.flow,
      rates: { socket: socket.rate, vtepd: vtepd.rate },
      entriesBefore,
      entriesAfter,
      residentBefore,
      residentAfter,
    };
  } finally {
    await place.remove();
  }
}

function senderOf({ hostile, vm }: Place, { from }: FloodKind): Namespace {
  return from === 'vm' && vm ? vm : hostile;
}

async function besideSocket(place: Place, kind: FloodKind, ends: Ends, seconds: number) {
  const sink = place.near.host.start([OUTPUT, 'sink', SINK_PORT]);
  try {
    await sink.untilOutput(/listening/);
    return await beside(senderOf(place, kind), kind.baseline(place.bridgeMac), ends, seconds);
  } finally {
    await sink.stop('SIGKILL');
  }
}

/** Measures the known flow during a flood. The flood starts earlier and ends later. */
async function beside(
  from: Namespace,
  args: readonly string[],
  ends: Ends,
  seconds: number,
): Promise<{ flow: Flow; rate: number }> {
  const floodS = 2 * seconds + FLOOD_EXTRA_S;
  const flood = from.start([OUTPUT, ...args, `${floodS}`]);
  try {
    const flow = await measureFlow(ends, seconds);
    const code = await flood.exit(floodS * 1000 + MARGIN_MS);
    if (code !== 0) throw new Error(flood.stderr.trim() || `${flood}: exit ${code}`);
    const sent = JSON.parse(flood.stdout) as { sent: number; seconds: number };
    return { flow, rate: sent.sent / sent.seconds };
  } finally {
    await flood.stop('SIGKILL');
  }
}

/** Measures the known flow. A flow that does not pass is a result, not an error. */
async function measureFlow(ends: Ends, seconds: number): Promise<Flow> {
  const pair = { name: 'floods', ...ends, daemons: [], vtepds: [] };
  const context = { seconds, halfLoad: 0, scraped: [] };
  const gbps = await TASKS.tcp1(pair, context).then(({ figures }) => figures[0], nothing(0));
  const trips = await pingPong(ends, seconds).catch(nothing(undefined));
  if (!trips) return { ...NOTHING, gbps };
  return { gbps, p50: trips.p50, max: trips.max, lost: trips.lost };
}

function nothing<T>(value: T): (error: Error) => T {
  return (error) => {
    console.error(`failed: ${error.message.split('\n')[0]}`);
    return value;
  };
}
