/**
 * A chart of horizontal bars as SVG text, by hand. It brings its own background and knows both colour schemes, so that
 * it can be read wherever a page shows it.
 *
 *     title
 *     label of a group   ▇▇▇▇▇▇▇▇├──┤      12.1      bars from 0, whiskers from least to most
 *                        ▇▇▇▇▇▇ ┆ ┆                  ticks of the group: must, aim
 *                        └──┴──┴──┘
 */
import { short } from './statistics.js';

export interface Bar {
  /** Series; its colour is its place in `Chart.series`. */
  name: string;
  value: number;
  min: number;
  max: number;
}

export interface Group {
  label: string;
  bars: readonly Bar[];
  /** Values that the group is measured by, with the name that the legend explains. */
  ticks?: readonly { value: number; kind: 'must' | 'aim' }[];
}

export interface Chart {
  title: string;
  /** Under the title: unit, what is better. */
  subtitle: string;
  series: readonly string[];
  groups: readonly Group[];
  /** A line across all groups, where both would be equal. */
  reference?: number;
  /** The axis has powers of ten, and bars begin at one. */
  logarithmic?: boolean;
  /** The bars of a group are parts of one, end to end. */
  stacked?: boolean;
}

const WIDTH = 920;
const MARGIN = 20;
const LABEL_WIDTH = 330;
const VALUE_WIDTH = 70;
const PLOT_X = MARGIN + LABEL_WIDTH;
const PLOT_WIDTH = WIDTH - PLOT_X - VALUE_WIDTH - MARGIN;
const HEAD_HEIGHT = 84;
const BAR_HEIGHT = 12;
const BAR_PITCH = 15;
const GROUP_GAP = 10;
const FOOT_HEIGHT = 34;
const TICKS = 5;

const STYLE = `
text { font: 12px system-ui, -apple-system, "Segoe UI", sans-serif; fill: #1f2328 }
.title { font-size: 15px; font-weight: 600 }
.muted { fill: #59636e }
.ground { fill: #ffffff; stroke: #d1d9e0 }
.grid { stroke: #d1d9e0 }
.whisker, .reference { stroke: #1f2328 }
.reference { stroke-dasharray: 2 3 }
.must { stroke: #cf222e; stroke-width: 2 }
.aim { stroke: #1a7f37; stroke-width: 2 }
.s0 { fill: #8c959f } .s1 { fill: #0969da } .s2 { fill: #bf8700 } .s3 { fill: #8250df } .s4 { fill: #bc4c00 }
.s5 { fill: #1a7f37 } .s6 { fill: #54aeff } .s7 { fill: #cf222e } .s8 { fill: #d0d7de }
@media (prefers-color-scheme: dark) {
  text { fill: #e6edf3 }
  .muted { fill: #9198a1 }
  .ground { fill: #0d1117; stroke: #3d444d }
  .grid { stroke: #3d444d }
  .whisker, .reference { stroke: #e6edf3 }
  .must { stroke: #ff7b72 } .aim { stroke: #3fb950 }
  .s0 { fill: #6e7681 } .s1 { fill: #4493f8 } .s2 { fill: #d29922 } .s3 { fill: #ab7df8 } .s4 { fill: #f0883e }
  .s5 { fill: #3fb950 } .s6 { fill: #80ccff } .s7 { fill: #ff7b72 } .s8 { fill: #30363d }
}`;

/** @param chart groups and bars: at least one of each */
export function barChart(chart: Chart): string {
  const scale = scaleOf(chart);
  let y = HEAD_HEIGHT;
  const body = chart.groups.map((group) => {
    const drawn = drawGroup(chart, group, scale, y);
    y += groupHeight(chart, group) + GROUP_GAP;
    return drawn;
  });
  const height = y + FOOT_HEIGHT;
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${height}" width="${WIDTH}" height="${height}" role="img">
<title>${escaped(chart.title)}</title>
<style>${STYLE}
</style>
<rect class="ground" x="0.5" y="0.5" width="${WIDTH - 1}" height="${height - 1}" rx="6"/>
${text(MARGIN, 28, chart.title, 'title')}
${text(MARGIN, 47, chart.subtitle, 'muted')}
${legend(chart)}
${axis(scale, y)}
${body.join('\n')}
</svg>
`;
}

/** Values to pixels, up to a round number above the largest. */
interface Scale {
  /** What the axis is labelled with. */
  marks: number[];
  x(value: number): number;
}

function scaleOf({ groups, reference = 0, logarithmic = false, stacked = false }: Chart): Scale {
  const values = groups.flatMap(({ bars, ticks = [] }) => [
    ...(stacked ? [sumOf(bars)] : bars.flatMap(({ min, max }) => [min, max])),
    ...ticks.map(({ value }) => value),
  ]);
  const largest = Math.max(reference, ...values) || 1;
  return logarithmic ? decades(Math.min(...values), largest) : linear(largest);
}

function sumOf(bars: readonly Bar[]): number {
  return bars.reduce((sum, { value }) => sum + value, 0);
}

function linear(largest: number): Scale {
  const step = roundStep(largest / TICKS);
  const count = Math.ceil(largest / step - 1e-9);
  const marks = Array.from({ length: count + 1 }, (_, i) => Number((i * step).toPrecision(6)));
  return { marks, x: (value) => PLOT_X + (value / marks[count]) * PLOT_WIDTH };
}

/** @param least above 0 */
function decades(least: number, largest: number): Scale {
  const first = Math.floor(Math.log10(least));
  const last = Math.max(first + 1, Math.ceil(Math.log10(largest)));
  const marks = Array.from({ length: last - first + 1 }, (_, i) => 10 ** (first + i));
  return { marks, x: (value) => PLOT_X + ((Math.log10(value) - first) / (last - first)) * PLOT_WIDTH };
}

/** 1, 2 or 5 times a power of ten, not below `least`. */
function roundStep(least: number): number {
  const power = 10 ** Math.floor(Math.log10(least));
  const factor = [1, 2, 5].find((one) => one * power >= least) ?? 10;
  return factor * power;
}

function axis({ marks, x }: Scale, bottom: number): string {
  return marks
    .map((mark) => {
      const at = x(mark);
      return (
        line(at, HEAD_HEIGHT - 6, at, bottom, 'grid') + text(at, bottom + 16, `${mark}`, 'muted', 'middle')
      );
    })
    .join('\n');
}

function legend({ series, groups, reference }: Chart): string {
  const drawn = new Set(groups.flatMap(({ bars }) => bars.map(({ name }) => name)));
  const entries = series
    .map((name, i) => ({ name, mark: (x: number) => rect(x, 58, 10, 10, `s${i}`) }))
    .filter(({ name }) => drawn.has(name));
  for (const kind of ['must', 'aim'] as const) {
    const isUsed = groups.some(({ ticks = [] }) => ticks.some((tick) => tick.kind === kind));
    if (isUsed) entries.push({ name: kind, mark: (x) => line(x + 5, 57, x + 5, 69, kind) });
  }
  if (reference !== undefined) {
    entries.push({ name: 'equal', mark: (x) => line(x + 5, 57, x + 5, 69, 'reference') });
  }
  let x = MARGIN;
  return entries
    .map(({ name, mark }) => {
      const entry = mark(x) + text(x + 16, 67, name);
      x += 40 + name.length * 7;
      return entry;
    })
    .join('\n');
}

function drawGroup(chart: Chart, group: Group, scale: Scale, y: number): string {
  const height = groupHeight(chart, group);
  const label = text(PLOT_X - 10, y + height / 2 + 3, group.label, '', 'end');
  const bars = chart.stacked
    ? [drawStack(chart, group.bars, scale, y)]
    : group.bars.map((bar, i) => drawBar(chart, bar, scale, y + i * BAR_PITCH));
  const ticks = (group.ticks ?? []).map(({ value, kind }) =>
    line(scale.x(value), y - 3, scale.x(value), y + height + 1, kind),
  );
  const { reference } = chart;
  if (reference !== undefined) {
    ticks.push(line(scale.x(reference), y - 5, scale.x(reference), y + height + 5, 'reference'));
  }
  return [label, ...bars, ...ticks].join('\n');
}

function drawBar({ series }: Chart, { name, value, min, max }: Bar, { x }: Scale, y: number): string {
  const middle = y + BAR_HEIGHT / 2;
  const whisker = max > min ? line(x(min), middle, x(max), middle, 'whisker') : '';
  const end = Math.max(x(value), x(max));
  return (
    rect(PLOT_X, y, Math.max(1, x(value) - PLOT_X), BAR_HEIGHT, `s${series.indexOf(name)}`) +
    whisker +
    text(end + 6, y + 10, short(value), 'muted')
  );
}

function drawStack({ series }: Chart, bars: readonly Bar[], { x }: Scale, y: number): string {
  let from = 0;
  return bars
    .map(({ name, value }) => {
      const begin = x(from);
      from += value;
      return rect(begin, y, x(from) - begin, BAR_HEIGHT, `s${series.indexOf(name)}`);
    })
    .join('');
}

function groupHeight({ stacked }: Chart, { bars }: Group): number {
  return stacked ? BAR_HEIGHT : bars.length * BAR_PITCH - (BAR_PITCH - BAR_HEIGHT);
}

function rect(x: number, y: number, width: number, height: number, style: string): string {
  return `<rect class="${style}" x="${round(x)}" y="${round(y)}" width="${round(width)}" height="${height}"/>`;
}

function line(x1: number, y1: number, x2: number, y2: number, style: string): string {
  return `<line class="${style}" x1="${round(x1)}" y1="${round(y1)}" x2="${round(x2)}" y2="${round(y2)}"/>`;
}

function text(x: number, y: number, content: string, style = '', anchor = 'start'): string {
  return `<text class="${style}" x="${round(x)}" y="${round(y)}" text-anchor="${anchor}">${escaped(content)}</text>`;
}

function round(value: number): number {
  return Math.round(value * 10) / 10;
}

function escaped(content: string): string {
  return content.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;');
}
