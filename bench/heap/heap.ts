/**
 * Does the data-plane thread leave its heap alone? vtepd on both sides under as much traffic as the machine takes: half
 * of the time TCP ×4, half of it 64 byte frames. Its heap is measured before and after (`probe.mjs`), and V8 says
 * what it collected in between (`--trace-gc`).
 *
 * The first sample is thrown away: a full collection, and the first request that a thread takes, make V8 compile some of its
 * code anew, and what is not compiled yet boxes each double. That would be counted as the frames'.
 */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Metrics } from '../../test/support/metrics.js';
import type { Vtepd } from '../../test/support/vtepd.js';
import { eventually } from '../../test/support/wait.js';
import { compileBlast } from '../lab/blast.js';
import type { Pair } from '../lab/competitors.js';
import { scratchDirectory } from '../lab/scratch.js';
import { makeSites, removeSites, type Site } from '../lab/site.js';
import { STAGES } from '../lab/stages.js';
import { TASKS } from '../lab/tasks.js';
import { startVtepd, VNI } from '../lab/vteps.js';
import { type Collections, collectionsBetween } from './trace.js';

export interface HeapResult {
  /** Length of the saturated run. */
  seconds: number;
  /** The side that sends, then the one that receives. */
  sides: HeapSide[];
}

export interface HeapSide extends Collections {
  name: string;
  /** Frames as on the wire that passed meanwhile, both ways. */
  frames: number;
  /** Live heap after a full collection, bytes. */
  liveBefore: number;
  liveAfter: number;
  /** Everything that was allocated meanwhile, by frame. */
  bytesPerFrame: number;
}

const WARM_UP_S = 4;
/** After each warm-up, and at the end. */
const SAMPLES = 3;
const PROBE = join(process.cwd(), 'bench/heap/probe.mjs');

export async function measureHeap(seconds: number): Promise<HeapResult> {
  const stage = STAGES.find(({ id }) => id === 'device-whole');
  if (!stage) throw new Error('there is no stage device-whole');
  await compileBlast();
  const [a, b] = await makeSites(stage);
  try {
    const sides = [await Side.start('sending', a, b), await Side.start('receiving', b, a)];
    const pair = { name: 'vtepd', a, b, daemons: [], vtepds: [] };
    await eventually('a ping', async () => (await a.user.outcome(`ping -c 1 -W 1 ${b.address}`)).code === 0);
    for (const length of [WARM_UP_S, WARM_UP_S, seconds]) {
      await saturate(pair, length);
      for (const side of sides) await side.sample();
    }
    return { seconds, sides: await Promise.all(sides.map((side) => side.result())) };
  } finally {
    await removeSites([a, b]);
  }
}

async function saturate(pair: Pair, seconds: number): Promise<void> {
  const context = { seconds: Math.max(1, Math.round(seconds / 2)), halfLoad: 0, scraped: [] };
  await TASKS.tcp4(pair, context);
  await TASKS.udp64(pair, context);
}

/** A daemon with a probe in it. */
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

  /** Makes the thread take a request. */
  async sample(): Promise<void> {
    this.#frames.push(framesOf(await this.#vtepd.metrics()));
    await this.#vtepd.get(`/v1/vnis/${VNI}/fdb?limit=1`);
  }

  /** Ends the daemon: only then all of its trace has been written. */
  async result(): Promise<HeapSide> {
    await this.#vtepd.stop();
    const collections = collectionsBetween(this.#vtepd.process.stdout);
    const samples = readFileSync(this.#file, 'utf8')
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line));
    if (!collections || samples.length !== SAMPLES) {
      throw new Error(
        `the trace of the ${this.#name} daemon shows ${samples.length} samples, not ${SAMPLES}`,
      );
    }
    const [first, last] = samples.slice(-2) as { before: number; after: number }[];
    const frames = this.#frames[SAMPLES - 1] - this.#frames[SAMPLES - 2];
    return {
      ...collections,
      name: this.#name,
      frames,
      liveBefore: first.after,
      liveAfter: last.after,
      bytesPerFrame: (last.before - first.after + collections.freedBytes) / frames,
    };
  }
}

function framesOf(metrics: Metrics): number {
  return metrics.sum('vtepd_tap_rx_frames_total') + metrics.sum('vtepd_tap_tx_frames_total');
}
