/**
 * Measured figures: rows of the main table, further tables, medians and spreads.
 */

/** A figure for each round; null where it failed. */
export type Rounds = readonly (number | null)[];

/** A row of the main table. */
export interface Row {
  readonly id: string;
  readonly title: string;
  readonly unit: string;
  readonly vtepd: Rounds;
  /**
   * Figures of the baseline. The goals limit the ratio to the baseline. Without a baseline, the
   * goals limit the figure itself.
   */
  readonly kernel?: Rounds;
  /** CPU seconds of the whole machine per delivered gigabit. */
  readonly cpu?: readonly [kernel: Rounds, vtepd: Rounds];
  /** True if a larger figure is better. */
  readonly more?: boolean;
  readonly must?: number | undefined;
  readonly aim?: number | undefined;
}

export interface Spread {
  readonly median: number;
  readonly min: number;
  readonly max: number;
}

/** A separate table, with a picture if it has a scale. */
export interface Figures {
  /** Name of the marks in a document and of the picture's file. */
  readonly name: string;
  readonly title: string;
  readonly columns: readonly string[];
  readonly rows: readonly { readonly label: string; readonly values: readonly (Spread | null)[] }[];
  /** stacked: the bars of a row are drawn end to end. */
  readonly scale?: 'linear' | 'logarithmic' | 'stacked';
}

/** @returns null if no round has a figure */
export function spreadOf(rounds: Rounds): Spread | null {
  const sorted = rounds.filter((figure) => figure !== null).sort((a, b) => a - b);
  if (sorted.length === 0) return null;
  const [low, high] = [sorted[(sorted.length - 1) >> 1], sorted[sorted.length >> 1]];
  return { median: (low + high) / 2, min: sorted[0], max: sorted[sorted.length - 1] };
}

/** Ratios within a round, in which both sides ran under the same load of the machine. */
export function ratiosOf(rounds: Rounds, baseline: Rounds): Spread | null {
  const ratio = (one: number | null, other?: number | null) => (one !== null && other ? one / other : null);
  return spreadOf(rounds.map((figure, i) => ratio(figure, baseline[i])));
}

/** Three significant digits, without an exponent. */
export function short(value: number): string {
  const digits = value === 0 ? 0 : Math.max(0, 2 - Math.floor(Math.log10(Math.abs(value))));
  return Number.isFinite(value) ? value.toFixed(Math.min(digits, 4)) : '–';
}

/** `14.2 (13.9–14.6)`. */
export function withSpread(spread: Spread | null): string {
  if (!spread) return '–';
  const [median, min, max] = [spread.median, spread.min, spread.max].map(short);
  return min === max ? median : `${median} (${min}–${max})`;
}

/** A Markdown table, '' without rows. @param left indexes of left-aligned columns (text) */
export function table(header: readonly string[], rows: readonly (readonly string[])[], left = [0]): string {
  if (rows.length === 0) return '';
  const widths = header.map((_, i) => Math.max(3, ...[header, ...rows].map((row) => row[i].length)));
  const rule = widths.map((width, i) => `${'-'.repeat(width - 1)}${left.includes(i) ? '-' : ':'}`);
  const pad = (cell: string, i: number) =>
    left.includes(i) ? cell.padEnd(widths[i]) : cell.padStart(widths[i]);
  return [header, rule, ...rows].map((row) => `| ${row.map(pad).join(' | ')} |`).join('\n');
}
