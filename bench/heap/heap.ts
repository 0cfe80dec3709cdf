/**
 * Heap growth of the data-plane thread per frame.
 *
 * vtepd runs on both sides, saturated, half of the time with TCP ×4 and half of it with 64-byte
 * frames. `probe.mjs` measures the heap before and after this traffic; `--trace-gc` reports the
 * collections in between.
 *
 * The first sample is discarded. A full collection, and the first request to a thread, make V8
 * compile some code again. Until V8 has compiled that code, the code boxes each double, which
 * allocates bytes that frames do not cause.
 */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Metrics } from '../../test/support/metrics.js';
import type { Vtepd } from '../../test/support/vtepd.js';
import { eventually } from '../../test/support/wait.js';
import type { Row } from '../figures.js';
import { compileTool } from '../lab/blast.js';
import type { Pair } from '../lab/competitors.js';
import { scratchDirectory } from '../lab/scratch.js';
import { makeSites, removeSites, type Site } from '../lab/site.js';
import { STAGES } from '../lab/stages.js';
import { TASKS } from '../lab/tasks.js';
import { startVtepd, VNI } from '../lab/vteps.js';
import type { BenchOptions } from '../options.js';
import type { Measured } from '../results.js';
import { collectionsBetween } from './trace.js';

/** Smaller figures are housekeeping, which allocates a few bytes per second. */
const BYTES_PER_FRAME_MUST = 0.05;
const WARM_UP_S = 4;
/** One sample after each warm-up, and one at the end. */
const SAMPLES = 3;
const PROBE = join(process.cwd(), 'bench/heap/probe.mjs');

export async function measureHeap({ heapSeconds }: BenchOptions): Promise<Measured> {
  const stage = STAGES.find(({ id }) => id === 'device-whole');
  if (!stage) throw new Error('no stage device-whole');
  await compileTool('blast');
  const [a, b] = await makeSites(stage);
  try {
    const sides = [await Side.start('sending', a, b), await Side.start('receiving', b, a)];
    const pair = { name: 'vtepd', a, b, daemons: [], vtepds: [] };
    await eventually('a ping', async () => (await a.user.outcome(`ping -c 1 -W 1 ${b.address}`)).code === 0);
    for (const length of [WARM_UP_S, WARM_UP_S, heapSeconds]) {
      await saturate(pair, length);
      for (const side of sides) await side.sample();
    }
    return { rows: await Promise.all(sides.map((side) => side.row())) };
  } finally {
    await removeSites([a, b]);
  }
}

async function saturate(pair: Pair, seconds: number): Promise<void> {
  const context = { seconds: Math.max(1, Math.round(seconds / 2)), halfLoad: 0, scraped: [] };
  await TASKS.tcp4(pair, context);
  await TASKS.udp64(pair, context);
}

/** A daemon with the probe loaded. */
class Side {
  readonly #name: string;
  readonly #vtepd: Vtepd;
  readonly #file: string;
  readonly #frames: number[] = [];

  private constructor(name: string, vtepd: Vtepd, file: string) {
    this.#name = name;
    this.#vtepd = vtepd;
    this.#file = file;
  }

  static async start(name: string, { host, address }: Site, peer: Site): Promise<Side> {
    const file = join(scratchDirectory('heap'), 'samples');
    const vtepd = startVtepd(host, {
      flags: `--peer ${peer.underlay} --address ${address}/24`,
      nodeFlags: ['--expose-gc', '--trace-gc', '--import', PROBE],
      env: { BENCH_HEAP_FILE: file },
    });
    await vtepd.ready();
    return new Side(name, vtepd, file);
  }

  /** Makes the probe take a sample: sends a request to the data-plane thread. */
  async sample(): Promise<void> {
    this.#frames.push(framesOf(await this.#vtepd.metrics()));
    await this.#vtepd.get(`/v1/vnis/${VNI}/fdb?limit=1`);
  }

  /** Ends the daemon, because its trace is complete only then. */
  async row(): Promise<Row> {
    await this.#vtepd.stop();
    const collections = collectionsBetween(this.#vtepd.process.stdout);
    const text = readFileSync(this.#file, 'utf8').trim();
    const samples = text.split('\n').map((line) => JSON.parse(line) as { before: number; after: number });
    if (!collections || samples.length !== SAMPLES)
      throw new Error(`${this.#name}: ${samples.length} samples in the trace, not ${SAMPLES}`);
    const [first, last] = samples.slice(-2);
    const frames = this.#frames[SAMPLES - 1] - this.#frames[SAMPLES - 2];
    const { scavenges, major, freedBytes } = collections;
    return {
      id: `heap-${this.#name}`,
      title: `heap, ${this.#name} (${major} major, ${scavenges} minor GCs)`,
      unit: 'B a frame',
      vtepd: [(last.before - first.after + freedBytes) / frames],
      must: BYTES_PER_FRAME_MUST,
    };
  }
}

function framesOf(metrics: Metrics): number {
  return metrics.sum('vtepd_tap_rx_frames_total') + metrics.sum('vtepd_tap_tx_frames_total');
}
