/**
 * Monitor of a running daemon: memory, descriptors and the identity of the counters, every second.
 */
import { setTimeout as delay } from 'node:timers/promises';
import { Metrics } from '../../test/support/metrics.js';
import { type Host, sizeOf } from './place.js';

const PERIOD_MS = 1000;
/** Share of the run before memory is judged: until then code is compiled and tables grow. */
const WARM_UP = 0.2;

export interface Sample {
  /** Time since the start. */
  atS: number;
  resident: number;
  descriptors: number;
}

export class Watch {
  readonly samples: Sample[] = [];
  scrapes = 0;
  /** Scrapes without answer. */
  failedScrapes = 0;
  /** Number of compared (VNI, direction) pairs; `wrong` lists those that differ. */
  compared = 0;
  readonly wrong: string[] = [];
  readonly #host: Host;

  constructor(host: Host) {
    this.#host = host;
  }

  async run(ended: AbortSignal): Promise<void> {
    const startedMs = performance.now();
    while (!ended.aborted && this.#host.vtepd.process.alive) {
      this.samples.push({ atS: (performance.now() - startedMs) / 1000, ...sizeOf(this.#host) });
      await this.scrape();
      await delay(PERIOD_MS, undefined, { signal: ended }).catch(() => undefined);
    }
  }

  async scrape(): Promise<void> {
    const answer = await this.#host.vtepd.call<string>('GET', '/metrics').catch(() => undefined);
    if (answer?.status !== 200) {
      this.failedScrapes++;
      return;
    }
    this.scrapes++;
    this.#compare(new Metrics(answer.body));
  }

  /**
   * Compares the counters of all VNIs:
   *
   *     tap_rx + replicated + fragments = Σ peer_tx + Σ dropped{encap}
   *     Σ peer_rx = tap_tx + Σ dropped{decap}
   */
  #compare(metrics: Metrics): void {
    for (const vni of metrics.vnis()) {
      const frames = (name: string) => metrics.sum(`vtepd_${name}_total`, { vni });
      const dropped = (direction: string) => metrics.sum('vtepd_dropped_frames_total', { vni, direction });
      const entered = frames('tap_rx_frames') + frames('replicated_frames') + frames('fragments');
      this.#equal(`${vni} encap`, entered, frames('peer_tx_frames') + dropped('encap'));
      this.#equal(`${vni} decap`, frames('peer_rx_frames'), frames('tap_tx_frames') + dropped('decap'));
    }
  }

  #equal(what: string, one: number, other: number): void {
    this.compared++;
    if (one !== other) this.wrong.push(`scrape ${this.scrapes}: VNI ${what}: ${one} is not ${other}`);
  }

  /** Time from the first sample to the last. */
  get lengthS(): number {
    return this.samples[this.samples.length - 1].atS - this.samples[0].atS;
  }

  /** Resident memory after the warm-up, bytes; slope of its fitted line, bytes per second. */
  memory(): { min: number; max: number; slope: number; grown: number } {
    const warm = this.samples.filter(({ atS }) => atS >= this.samples[0].atS + WARM_UP * this.lengthS);
    const sizes = warm.map(({ resident }) => resident);
    const slope = slopeOf(
      warm.map(({ atS }) => atS),
      sizes,
    );
    const lengthS = warm[warm.length - 1].atS - warm[0].atS;
    return { min: Math.min(...sizes), max: Math.max(...sizes), slope, grown: slope * lengthS };
  }
}

/** Slope of the least-squares line through points; 0 for one point. */
export function slopeOf(xs: readonly number[], ys: readonly number[]): number {
  const mean = (values: readonly number[]) => values.reduce((sum, value) => sum + value, 0) / values.length;
  const [x, y] = [mean(xs), mean(ys)];
  const spread = xs.reduce((sum, value) => sum + (value - x) ** 2, 0);
  if (spread === 0) return 0;
  return xs.reduce((sum, value, i) => sum + (value - x) * (ys[i] - y), 0) / spread;
}
