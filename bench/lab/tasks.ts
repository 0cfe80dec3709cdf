/**
 * Measurements of a competitor: traffic from user a to user b, with verified payload.
 */
import { join } from 'node:path';
import type { Vtepd } from '../../test/support/vtepd.js';
import { boxCpuSeconds } from '../cpu.js';
import { blast, pingPong, pingPongUnderLoad, type RoundTrips } from './blast.js';
import type { Pair } from './competitors.js';
import { whileScraped } from './scraped.js';
import type { Site } from './site.js';

export interface Measurement {
  /** One figure, or three for a round trip: p50, p99, p99.9. */
  figures: number[];
  /** CPU seconds of the whole machine per gigabit of delivered frames or TCP payload. */
  cpuPerGbit?: number;
}

export interface TaskContext {
  /** Length of one measurement. */
  seconds: number;
  /** 1400-byte frames per second: half of what kernel vxlan delivered on this stage. */
  halfLoad: number;
  /**
   * Daemons that are read during the scraped round trips of every competitor, because the readers
   * share the cores with the competitor.
   */
  scraped: readonly Vtepd[];
}

/** @throws Error when the payload does not arrive or arrives changed */
export type Task = (pair: Pair, context: TaskContext) => Promise<Measurement>;

export type TaskId = 'tcp1' | 'tcp4' | 'udp64' | 'udp1400' | 'imix' | 'rtt' | 'rttLoaded' | 'rttScraped';

/** Indexes of the percentiles of a round trip in `figures`. */
export const P50 = 0;
export const P99 = 1;
export const P999 = 2;

export const TASKS: Readonly<Record<TaskId, Task>> = {
  tcp1: tcp(1),
  tcp4: tcp(4),
  udp64: frames(64),
  udp1400: frames(1400),
  imix: frames('imix'),
  rtt: async (pair, { seconds }) => parts(await pingPong(pair, seconds)),
  rttLoaded: async (pair, { seconds, halfLoad }) => {
    if (halfLoad === 0) throw new Error('half load is unknown, because the calibration failed');
    return parts(await pingPongUnderLoad(pair, seconds, halfLoad));
  },
  rttScraped: async (pair, { seconds, scraped }) =>
    parts(await whileScraped(scraped, () => pingPong(pair, seconds))),
};

const IPERF_MARGIN_MS = 15_000;
const CALIBRATION_S = 1;

/** @returns half of the 1400-byte frames per second that a competitor delivers */
export async function halfLoadOf(pair: Pair): Promise<number> {
  const delivered = await blast(pair, { size: 1400, seconds: CALIBRATION_S });
  return delivered.frames / delivered.seconds / 2;
}

/** Received TCP payload, Gb/s. */
function tcp(streams: number): Task {
  return async ({ a, b }, { seconds }) => {
    const server = b.user.start('iperf3 --server --one-off --forceflush');
    try {
      await server.untilOutput(/listening/i);
      const before = boxCpuSeconds();
      const client = `iperf3 --client ${b.address} --time ${seconds} --parallel ${streams} --json`;
      const text = await a.user.run(client, { limitMs: seconds * 1000 + IPERF_MARGIN_MS });
      const cpu = boxCpuSeconds() - before;
      const { bytes, bits_per_second: rate } = JSON.parse(text).end.sum_received;
      return { figures: [rate / 1e9], cpuPerGbit: cpu / ((bytes * 8) / 1e9) };
    } finally {
      await server.stop('SIGKILL');
    }
  };
}

/** Received frames, thousands per second. */
function frames(size: number | 'imix'): Task {
  return async (pair, { seconds }) => {
    const before = boxCpuSeconds();
    const delivered = await blast(pair, { size, seconds });
    const cpu = boxCpuSeconds() - before;
    return {
      figures: [delivered.frames / delivered.seconds / 1000],
      cpuPerGbit: cpu / ((delivered.bytes * 8) / 1e9),
    };
  };
}

function parts({ p50, p99, p999 }: RoundTrips): Measurement {
  return { figures: [p50, p99, p999] };
}

/** Sends bytes by TCP in both directions, hashed at both ends. @throws Error when hashes differ */
export async function verifyPayload({ a, b }: Pair, bytes: number): Promise<void> {
  await verifyOneWay(a, b, bytes);
  await verifyOneWay(b, a, bytes);
}

async function verifyOneWay(from: Site, to: Site, bytes: number): Promise<void> {
  const tool = join(process.cwd(), 'test/support/tools/transfer.mjs');
  const receiver = to.user.start([process.execPath, tool, 'receive', '7000']);
  try {
    await receiver.untilOutput(/listening/);
    const output = await from.user.run([process.execPath, tool, 'send', to.address, '7000', `${bytes}`]);
    await receiver.exit(IPERF_MARGIN_MS);
    const [sent, received] = [output, receiver.stdout].map((text) => text.trim().split('\n').at(-1));
    if (sent !== received || !sent?.startsWith(`${bytes} `)) {
      throw new Error(`sent ${sent}, received ${received}: the payload did not arrive intact`);
    }
  } finally {
    await receiver.stop('SIGKILL');
  }
}
