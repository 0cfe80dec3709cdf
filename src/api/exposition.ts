/**
 * Writer of the Prometheus text format, version 0.0.4, for vtepd's own metrics.
 *
 * Each metric has a HELP line, a TYPE line, and all its samples after them. Samples are written
 * directly from the counter cells, without objects: a client library needed 7 µs and half a
 * kilobyte per sample, and this writer needs 0.25 µs (docs/performance/notebook.md).
 */
import { PEER_ROW } from '../exchange/counters.js';
import type { NewPeer } from '../exchange/data-plane.js';
import type { CounterImage } from './counter-image.js';

/** One metric. */
export interface Family {
  readonly name: string;
  readonly kind: 'counter' | 'gauge';
  readonly help: string;
  /** Yields the samples as lines with newlines, at most PIECE lines at a time. */
  readonly samples: (image: CounterImage, name: string) => Iterable<string>;
}

/** Maximum lines per piece. The event loop does not run while a piece is made. */
export const PIECE = 256;

export function* exposition(families: readonly Family[], image: CounterImage): Generator<string> {
  for (const { name, kind, help, samples } of families) {
    yield `# HELP ${name} ${help}\n# TYPE ${name} ${kind}\n`;
    yield* samples(image, name);
  }
}

/**
 * One sample line.
 *
 * @param labels `name="value"` pairs separated by commas; '' for none
 */
export function sample(name: string, labels: string, value: number): string {
  return labels === '' ? `${name} ${value}\n` : `${name}{${labels}} ${value}\n`;
}

/**
 * @param value value of a label
 * @returns the value escaped for use between quotes
 */
export function escaped(value: string): string {
  return /["\\\n]/.test(value) ? value.replace(/["\\]/g, '\\$&').replaceAll('\n', '\\n') : value;
}

/**
 * Yields one line for each peer of each VNI.
 *
 * @param value computes the value of a sample from the cells and the offset of the peer's row
 */
export function* peerSamples(
  { vnis }: CounterImage,
  name: string,
  value: (cells: Float64Array, at: number) => number,
): Generator<string> {
  for (const { state, rows } of vnis) {
    const { peers, spans } = rows;
    const head = `${name}{vni="${state.vni}",peer="`;
    let at = 0;
    for (const { list, from, count } of spans) {
      const labels = labelsOf(list);
      for (let begin = from; begin < from + count; begin += PIECE) {
        let text = '';
        for (let i = begin; i < Math.min(begin + PIECE, from + count); i++, at += PEER_ROW)
          text += `${head}${labels[i]}"} ${value(peers, at)}\n`;
        yield text;
      }
    }
  }
}

/** Label values of peer lists. Lists are immutable and may be shared by many VNIs. */
const labelsOfLists = new WeakMap<readonly NewPeer[], readonly string[]>();

/** Addresses as label values. An IPv6 scope is a device name, which may contain quotes. */
export function labelsOf(list: readonly NewPeer[]): readonly string[] {
  const known = labelsOfLists.get(list);
  if (known) return known;
  const labels = list.map(({ address }) => escaped(address.text));
  labelsOfLists.set(list, labels);
  return labels;
}
