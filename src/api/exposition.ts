/**
 * The text format of Prometheus (version 0.0.4), as far as vtepd's own metrics need it: HELP and TYPE, then all samples of the
 * metric. Samples are written straight from the cells of the counters, not from objects: a client library took 7 µs and half a
 * kilobyte for each, this takes a quarter of a microsecond (docs/performance/notebook.md).
 */
import { PEER_ROW } from '../exchange/counters.js';
import type { NewPeer } from '../exchange/data-plane.js';
import type { CounterImage } from './counter-image.js';

/** One metric. */
export interface Family {
  readonly name: string;
  readonly kind: 'counter' | 'gauge';
  readonly help: string;
  /** Its samples, lines with their ends. A piece holds PIECE lines at most. */
  readonly samples: (image: CounterImage, name: string) => Iterable<string>;
}

/** Lines made without a pause. */
export const PIECE = 256;

export function* exposition(families: readonly Family[], image: CounterImage): Generator<string> {
  for (const { name, kind, help, samples } of families) {
    yield `# HELP ${name} ${help}\n# TYPE ${name} ${kind}\n`;
    yield* samples(image, name);
  }
}

/** One line. @param labels `name="value"`, with commas between; '' none */
export function sample(name: string, labels: string, value: number): string {
  return labels === '' ? `${name} ${value}\n` : `${name}{${labels}} ${value}\n`;
}

/** @param value of a label @returns as it stands between quotes */
export function escaped(value: string): string {
  return /["\\\n]/.test(value) ? value.replace(/["\\]/g, '\\$&').replaceAll('\n', '\\n') : value;
}

/** A line for each peer of each VNI: what `value` makes of the cells that begin at its row. */
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

/** Lists of peers never change, and one may serve many VNIs. */
const labelsOfLists = new WeakMap<readonly NewPeer[], readonly string[]>();

/** Addresses as labels. A scope is the name of a device, which may have quotes in it. */
export function labelsOf(list: readonly NewPeer[]): readonly string[] {
  const known = labelsOfLists.get(list);
  if (known) return known;
  const labels = list.map(({ address }) => escaped(address.text));
  labelsOfLists.set(list, labels);
  return labels;
}
