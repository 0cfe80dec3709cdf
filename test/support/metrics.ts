/** Parser of the Prometheus text that vtepd serves, and checks of the counter identity. */
import type { Test } from 'tap';

export interface Sample {
  name: string;
  labels: Record<string, string>;
  value: number;
}

/** One scrape. */
export class Metrics {
  readonly samples: readonly Sample[];

  constructor(text: string) {
    this.samples = text
      .split('\n')
      .filter((line) => line !== '' && !line.startsWith('#'))
      .map(parseSample);
  }

  /** Sum of a metric over all samples with these labels. */
  sum(name: string, labels: Record<string, string | number> = {}): number {
    return this.#matching(name, labels).reduce((total, sample) => total + sample.value, 0);
  }

  has(name: string, labels: Record<string, string | number> = {}): boolean {
    return this.#matching(name, labels).length > 0;
  }

  /** Dropped frames by reason; `vni` '' selects drops without a VNI. Zeros are left out. */
  drops(direction: 'encap' | 'decap', vni?: number | ''): Record<string, number> {
    const labels = vni === undefined ? { direction } : { direction, vni };
    const drops: Record<string, number> = {};
    for (const { labels: own, value } of this.#matching('vtepd_dropped_frames_total', labels)) {
      if (value > 0) drops[own.reason] = (drops[own.reason] ?? 0) + value;
    }
    return drops;
  }

  vnis(): string[] {
    return this.#matching('vtepd_tap_rx_frames_total', {}).map((sample) => sample.labels.vni);
  }

  #matching(name: string, labels: Record<string, string | number>): Sample[] {
    return this.samples.filter(
      (sample) =>
        sample.name === name &&
        Object.entries(labels).every(([key, value]) => sample.labels[key] === String(value)),
    );
  }
}

/**
 * Asserts the counter identity for every VNI, exactly:
 *
 *     tap_rx + replicated + fragments = Σ peer_tx + Σ dropped{encap}
 *     Σ peer_rx = tap_tx + Σ dropped{decap}
 *
 * @param who name of the daemon in messages
 */
export function assertIdentity(t: Test, metrics: Metrics, who = 'vtepd'): void {
  const vnis = metrics.vnis();
  t.not(vnis.length, 0, `${who}: metrics contain a VNI`);
  for (const vni of vnis) {
    const frames = (name: string) => metrics.sum(`vtepd_${name}_total`, { vni });
    const dropped = (direction: string) => metrics.sum('vtepd_dropped_frames_total', { vni, direction });
    t.equal(
      frames('peer_tx_frames') + dropped('encap'),
      frames('tap_rx_frames') + frames('replicated_frames') + frames('fragments'),
      `${who}: each frame that entered VNI ${vni} was sent or dropped with a reason`,
    );
    t.equal(
      frames('tap_tx_frames') + dropped('decap'),
      frames('peer_rx_frames'),
      `${who}: each frame that VNI ${vni} received was delivered or dropped with a reason`,
    );
  }
}

/**
 * Asserts the identity, and that no frame was dropped.
 *
 * @param droppedBefore frames dropped in decap before the test, by reason; these drops are expected
 */
export function assertNothingLost(
  t: Test,
  metrics: Metrics,
  droppedBefore: Record<string, number> = {},
): void {
  t.same(metrics.drops('encap'), {}, 'no frame was dropped in encap');
  t.same(metrics.drops('decap'), droppedBefore, 'no other frame was dropped in decap');
  assertIdentity(t, metrics);
}

const SAMPLE = /^([a-zA-Z_:][\w:]*)(?:\{(.*)\})? (\S+)$/;
const LABEL = /([a-zA-Z_]\w*)="((?:[^"\\]|\\.)*)"/g;

function parseSample(line: string): Sample {
  const match = SAMPLE.exec(line);
  if (match === null) throw new Error(`not a line of the Prometheus text format: ${line}`);
  const [, name, labels = '', value] = match;
  return {
    name,
    labels: Object.fromEntries([...labels.matchAll(LABEL)].map(([, key, text]) => [key, text])),
    value: Number(value),
  };
}
