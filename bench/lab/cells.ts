/**
 * What is measured of each competitor, one after the other. A cell brings one or more rows of the table.
 */
import { join } from 'node:path';
import { boxCpuSeconds } from '../machine.js';
import { blast, pingPong } from './blast.js';
import { ADDRESS_A, ADDRESS_B, type Competitor } from './competitor.js';

export interface Row {
  title: string;
  unit: string;
}

export interface Measurement {
  /** One figure for each row of the cell. */
  figures: number[];
  /** CPU seconds of the whole box for each gigabit of delivered frames or TCP payload. */
  cpuPerGbit?: number;
}

export interface Cell {
  rows: readonly Row[];
  measure(competitor: Competitor, seconds: number): Promise<Measurement>;
}

const IPERF_MARGIN_MS = 15_000;

export const CELLS: readonly Cell[] = [
  tcpCell(1),
  tcpCell(4),
  framesCell('UDP, 64 B, one flow', 64),
  framesCell('UDP, 1400 B, one flow', 1400),
  framesCell('UDP, IMIX, 64 flows', 'imix'),
  {
    rows: ['p50', 'p99', 'p99.9'].map((part) => ({ title: `round trip ${part}`, unit: 'µs' })),
    async measure(competitor, seconds) {
      const { count, p50, p99, p999 } = await pingPong(competitor, seconds);
      if (count === 0) throw new Error(`${competitor.name}: no answer to any request`);
      return { figures: [p50, p99, p999] };
    },
  },
];

function tcpCell(streams: number): Cell {
  return {
    rows: [{ title: `TCP ×${streams}`, unit: 'Gb/s' }],
    async measure({ a, b }, seconds) {
      const server = b.start('iperf3 --server --one-off --forceflush');
      await server.says(/listening/i);
      const before = boxCpuSeconds();
      const text = await a.run(
        `iperf3 --client ${ADDRESS_B} --time ${seconds} --parallel ${streams} --json`,
        {
          limitMs: seconds * 1000 + IPERF_MARGIN_MS,
        },
      );
      const cpu = boxCpuSeconds() - before;
      await server.exit(IPERF_MARGIN_MS);
      const { bytes, bits_per_second: rate } = JSON.parse(text).end.sum_received;
      return { figures: [rate / 1e9], cpuPerGbit: cpu / ((bytes * 8) / 1e9) };
    },
  };
}

function framesCell(title: string, size: number | 'imix'): Cell {
  return {
    rows: [{ title, unit: 'k frames/s' }],
    async measure(competitor, seconds) {
      const before = boxCpuSeconds();
      const { frames, bytes, corrupt, seconds: took } = await blast(competitor, size, seconds);
      const cpu = boxCpuSeconds() - before;
      if (corrupt > 0) throw new Error(`${competitor.name}: ${corrupt} of ${frames} frames arrived corrupt`);
      if (frames < 2) throw new Error(`${competitor.name}: ${title}: no frame arrived`);
      return { figures: [frames / took / 1000], cpuPerGbit: cpu / ((bytes * 8) / 1e9) };
    },
  };
}

/** Bytes of TCP, both ways, hashed at both ends. @throws Error when they differ. */
export async function verifyPayload(competitor: Competitor, bytes: number): Promise<void> {
  const { name, a, b } = competitor;
  const tool = join(process.cwd(), 'test/support/tools/transfer.mjs');
  for (const [from, to, address] of [
    [a, b, ADDRESS_B],
    [b, a, ADDRESS_A],
  ] as const) {
    const receiver = to.start([process.execPath, tool, 'receive', '7000']);
    await receiver.says(/listening/);
    const said = await from.run([process.execPath, tool, 'send', address, '7000', `${bytes}`]);
    await receiver.exit(IPERF_MARGIN_MS);
    const [sent, received] = [said, receiver.stdout].map((text) => text.trim().split('\n').at(-1));
    if (sent !== received || !sent?.startsWith(`${bytes} `)) {
      throw new Error(`${name}: sent ${sent}, received ${received}: the payload did not arrive intact`);
    }
  }
}
