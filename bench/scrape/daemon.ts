/**
 * Configures a data plane without a kernel, lets every pair have counted something, and prints what reading it takes, as one line of
 * JSON: `daemon.js VNIS PEERS`. A program of its own, run by scrape.ts.
 */
import { join } from 'node:path';
import type { Readable } from 'node:stream';
import type * as countersModule from '../../src/api/counters.js';
import type { StatusInfo } from '../../src/api/deps.js';
import type * as metricsModule from '../../src/api/metrics.js';
import type * as textStreamModule from '../../src/api/text-stream.js';
import type { Handle } from '../../src/controller/handle.js';
import { P_LAST_SEEN_MS, P_TX_FRAMES } from '../../src/exchange/counters.js';
import { addVni, peerOf, residentBytes, startHandle } from '../memory/plane.js';
import { spreadOf } from '../statistics.js';
import type { ReadResult, ScrapeResult } from './scrape.js';

const ROUNDS = 7;
/** Rounds of a million pairs take seconds. */
const FEW_ROUNDS = 3;
const MANY_PAIRS = 500_000;
const SAMPLE_MS = 1;

const STATUS: StatusInfo = {
  version: 'bench',
  startedAtMs: 0,
  uptimeS: 60,
  epochMs: (ms) => ms,
  underlay: { local: [], device: '', port: 4789, io: 'batch', offloads: [] },
  warnings: [],
  pathMtu: () => 1500,
};

const [vnis, peers] = process.argv.slice(2).map(Number);
console.log(JSON.stringify(await measure()));

async function measure(): Promise<ScrapeResult> {
  const dist = join(process.cwd(), 'dist/api');
  const { createMetrics } = (await import(join(dist, 'metrics.js'))) as typeof metricsModule;
  const { countersText } = (await import(join(dist, 'counters.js'))) as typeof countersModule;
  const { textStream } = (await import(join(dist, 'text-stream.js'))) as typeof textStreamModule;
  const handle = await configure();
  count(handle);
  const { scrape } = createMetrics({ dataPlane: handle, status: () => STATUS });
  const metrics = await measureReads(() => scrape('bench'));
  const counters = await measureReads(() => textStream(countersText(handle, STATUS)));
  await handle.stop();
  return { vnis, pairs: vnis * peers, metrics, counters };
}

async function configure(): Promise<Handle> {
  const handle = await startHandle();
  const list = Array.from({ length: peers }, (_, i) => peerOf(i));
  for (let vni = 0; vni < vnis; vni++) {
    await addVni(handle, vni);
    await handle.addPeers(vni, list);
  }
  return handle;
}

/** What a worker would have counted: numbers of many digits, as after some days. */
function count(handle: Handle): void {
  const [counters] = handle.counters;
  for (const { vni } of handle.vnis()) {
    for (const { peerIdx } of handle.peers(vni)) {
      const base = counters.peerBase(peerIdx);
      for (let cell = P_TX_FRAMES; cell < P_LAST_SEEN_MS; cell++)
        counters.cells[base + cell] = 1e9 * cell + peerIdx;
      counters.cells[base + P_LAST_SEEN_MS] = 1_780_000_000_123 + peerIdx;
    }
  }
}

async function measureReads(open: () => Readable): Promise<ReadResult> {
  await read(open());
  const before = residentBytes();
  const rounds = [];
  for (let round = 0; round < (vnis * peers >= MANY_PAIRS ? FEW_ROUNDS : ROUNDS); round++)
    rounds.push(await read(open()));
  return {
    ms: spreadOf(rounds.map(({ ms }) => ms)).median,
    cpuMs: spreadOf(rounds.map(({ cpuMs }) => cpuMs)).median,
    pauseMs: Math.max(...rounds.map(({ pauseMs }) => pauseMs)),
    bytes: rounds[0].bytes,
    extraBytes: Math.max(0, ...rounds.map(({ residentMax }) => residentMax - before)),
  };
}

/** Reads to the end, and watches meanwhile how long the event loop lets a timer wait. */
async function read(stream: Readable) {
  let pauseMs = 0;
  let residentMax = 0;
  const startedMs = performance.now();
  const cpu = process.cpuUsage();
  let lastMs = startedMs;
  const timer = setInterval(() => {
    pauseMs = Math.max(pauseMs, performance.now() - lastMs - SAMPLE_MS);
    lastMs = performance.now();
    residentMax = Math.max(residentMax, process.memoryUsage.rss());
  }, SAMPLE_MS);
  let bytes = 0;
  for await (const chunk of stream) bytes += chunk.length;
  clearInterval(timer);
  const ms = performance.now() - startedMs;
  const { user, system } = process.cpuUsage(cpu);
  residentMax = Math.max(residentMax, process.memoryUsage.rss());
  return { ms, cpuMs: (user + system) / 1000, pauseMs, residentMax, bytes };
}
