/**
 * Horizontal bar charts as SVG text, legible on light and on dark pages.
 *
 *     label    ▇▇▇▇▇▇▇▇├──┤  12.1     a bar to the median, a whisker from minimum to maximum
 *              └──┴──┴──┘             from 0, or from a power of ten
 */
import { type Figures, short } from './figures.js';

const [WIDTH, MARGIN, LEFT, PLOT, TOP, BAR, PITCH, GAP, FOOT] = [920, 20, 350, 480, 70, 12, 15, 10, 34];
/** Colours of the series; the first two are kernel and vtepd. */
const COLOURS = [
  '#afb8c1',
  '#54aeff',
  '#eac54f',
  '#c297ff',
  '#ffa657',
  '#4ac26b',
  '#218bff',
  '#ff8182',
  '#d0d7de',
];
const STYLE = `text { font: 12px system-ui, sans-serif; fill: #768390 } .title { font-size: 15px }
line { stroke: #57606a } .grid { stroke-opacity: 0.3 }
${COLOURS.map((colour, i) => `.s${i} { fill: ${colour} }`).join(' ')}`;

/** @param figures at least one row with a figure, and a scale */
export function barChart({ title, columns, rows, scale }: Figures): string {
  const isStacked = scale === 'stacked';
  const edges = rows.flatMap(({ values }) => {
    const there = values.filter((value) => value !== null);
    if (isStacked) return there.reduce((sum, { median }) => sum + median, 0);
    return there.flatMap(({ min, max }) => [min, max]);
  });
  const { marks, x } = axisOf(edges, scale === 'logarithmic');
  const drawn = [text(MARGIN, 28, title, 'start', 'title')];
  for (const [i, name] of columns.length > 1 ? columns.entries() : [])
    drawn.push(rect(MARGIN + i * 95, 42, 10, i), text(MARGIN + 16 + i * 95, 52, name));
  let bottom = TOP;
  for (const { label, values } of rows) {
    const height = (isStacked ? 1 : values.length) * PITCH;
    drawn.push(text(LEFT - 10, bottom + height / 2 + 3, label, 'end'));
    let from = LEFT;
    for (const [i, value] of values.entries()) {
      if (!value) continue;
      const [y, width] = [isStacked ? bottom : bottom + i * PITCH, x(value.median) - LEFT];
      drawn.push(rect(from, y, width, columns.length === 1 ? 1 : i));
      if (isStacked) from += width;
      else drawn.push(line(x(value.min), y + 6, x(value.max), y + 6));
      if (!isStacked) drawn.push(text(x(value.max) + 6, y + 10, short(value.median)));
    }
    bottom += height + GAP;
  }
  for (const mark of marks)
    drawn.push(line(x(mark), TOP, x(mark), bottom, 'grid'), text(x(mark), bottom + 16, `${mark}`, 'middle'));
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${bottom + FOOT}" role="img">
<title>${escaped(title)}</title>
<style>${STYLE}</style>
${drawn.join('\n')}
</svg>
`;
}

/** Axis from 0, or from a power of ten, to a round number above the largest value. */
function axisOf(values: readonly number[], isLogarithmic: boolean) {
  const largest = Math.max(...values) || 1;
  const power = 10 ** Math.floor(Math.log10(largest / 5));
  const step = power * ([1, 2, 5].find((factor) => factor * power >= largest / 5) ?? 10);
  const first = isLogarithmic ? Math.floor(Math.log10(Math.min(...values))) : 0;
  const place = (value: number) => (isLogarithmic ? Math.log10(value) : value / step) - first;
  const count = Math.max(1, Math.ceil(place(largest) - 1e-9));
  const valueAt = (i: number) => (isLogarithmic ? 10 ** (first + i) : i * step);
  const marks = Array.from({ length: count + 1 }, (_, i) => Number(valueAt(i).toPrecision(6)));
  return { marks, x: (value: number) => LEFT + (place(value) / count) * PLOT };
}

function rect(x: number, y: number, width: number, series: number): string {
  return `<rect class="s${series}" x="${x.toFixed(1)}" y="${y}" width="${width.toFixed(1)}" height="${BAR}"/>`;
}

function line(x1: number, y1: number, x2: number, y2: number, style = ''): string {
  return `<line class="${style}" x1="${x1.toFixed(1)}" y1="${y1}" x2="${x2.toFixed(1)}" y2="${y2}"/>`;
}

function text(x: number, y: number, content: string, anchor = 'start', style = ''): string {
  return `<text class="${style}" x="${x.toFixed(1)}" y="${y}" text-anchor="${anchor}">${escaped(content)}</text>`;
}

function escaped(content: string): string {
  return content.replaceAll('&', '&amp;').replaceAll('<', '&lt;');
}
