/**
 * Report of the benchmark: measurements become rows, verdicts, tables, pictures and documents.
 */
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { LAB_CELLS } from '../../bench/cells.js';
import { fillPage, saveDocuments } from '../../bench/document.js';
import { type Figures, type Row, ratiosOf, spreadOf } from '../../bench/figures.js';
import { rowOf } from '../../bench/lab/lab.js';
import type { StageResult } from '../../bench/lab/stage.js';
import { parseOptions } from '../../bench/options.js';
import { sectionsOf, verdictOf } from '../../bench/report.js';
import { emptyResults } from '../../bench/results.js';
import { barChart } from '../../bench/svg.js';

/** Row of a cell, from one figure or null per round: `{ 'tcp1: vtepd': [1, null] }`. */
function rowFrom(id: string, figures: Record<string, (number | null)[]>): Row | undefined {
  const series = Object.entries(figures).map(([key, rounds]) => {
    const [task, competitor] = key.split(': ');
    const measured = rounds.map((figure) => figure && { figures: [figure], cpuPerGbit: 1 / figure });
    return { task: task as 'tcp1', competitor, rounds: measured as StageResult['series'][0]['rounds'] };
  });
  const stage = { id: 'device-whole', title: 'whole', series, offloads: {} };
  return rowOf(LAB_CELLS.find((cell) => cell.id === id)!, [stage])[0];
}

async function resultsOf(rows: Row[], figures: Figures[] = []) {
  const empty = await emptyResults(parseOptions([]));
  return { ...empty, rows, figures };
}

t.test('a competitor without any figure has failed', async (t) => {
  const row = rowFrom('tcp1-whole', { 'tcp1: kernel': [10, 10], 'tcp1: vtepd': [null, null] })!;
  t.equal(verdictOf(row), 'failed');
  t.match(sectionsOf(await resultsOf([row]), true)[1], { name: 'cells', body: /\| +10\.0 \| +– .* failed/ });
  t.equal(verdictOf(rowFrom('tcp1-whole', { 'tcp1: kernel': [null], 'tcp1: vtepd': [1] })!), 'failed');
  t.equal(rowFrom('tcp1-whole', {}), undefined, 'the whole stage failed');
});

t.test('a ratio is computed only in a round in which both sides have a figure', async (t) => {
  t.same(ratiosOf([4, 8, 18], [10, 20, 30]), { median: 0.4, min: 0.4, max: 0.6 });
  t.same(ratiosOf([6, null, 9], [10, 10, null]), { median: 0.6, min: 0.6, max: 0.6 });
  t.same(ratiosOf([0], [10]), { median: 0, min: 0, max: 0 });
  t.equal(ratiosOf([1], []), null);
  t.same(spreadOf([4, null, 1, 3, 2]), { median: 2.5, min: 1, max: 4 });
});

t.test('a verdict compares the printed ratio, or the figure without a baseline', async (t) => {
  const verdict = (id: string, task: string, kernel: number, vtepd: number) =>
    verdictOf(rowFrom(id, { [`${task}: kernel`]: [kernel], [`${task}: vtepd`]: [vtepd] })!);
  t.equal(verdict('tcp1-whole', 'tcp1', 1000, 849), 'below must');
  t.equal(verdict('tcp1-whole', 'tcp1', 10_000, 8496), 'ok', 'the ratio is printed as 0.850');
  t.equal(verdict('rtt-p50', 'rtt', 10, 10.1), 'below must', 'round trips: less is better');
  t.equal(verdict('rtt-p50', 'rtt', 10, 9), 'ok');
  const own = { id: 'x', title: 'x', unit: 'MB' };
  t.equal(
    verdictOf({ ...own, vtepd: [161], must: 160 }),
    'below must',
    'without a baseline the figure itself is compared with the goal',
  );
  t.equal(verdictOf({ ...own, vtepd: [161] }), '–');
});

t.test('the fastest of the other overlays is the baseline', async (t) => {
  const figures = { 'tcp1: vtepd': [80], 'tcp1: fastd': [4], 'tcp1: tinc': [2], 'tcp1: kernel': [90] };
  t.match(rowFrom('peers', figures), { kernel: [4], vtepd: [80], cpu: [[1 / 4], [1 / 80]] });
});

t.test('a document without marks, or with an unclosed mark, is refused', async (t) => {
  t.throws(() => fillPage('# nothing', [], 'x.md'), { message: 'x.md: 0 marks, 0 with an end' });
  t.throws(() => fillPage('<!-- bench:cells -->\n', [], 'x.md'), { message: 'x.md: 1 marks, 0 with an end' });
});

t.test('documents get tables and pictures between their marks, and keep their text', async (t) => {
  const root = t.testdir({ docs: { performance: { 'gone.svg': '' } } });
  const marks = (name: string) => `<!-- bench:${name} -->\nold\n<!-- /bench:${name} -->`;
  const [page, notebook] = ['docs/performance.md', 'docs/performance/notebook.md'];
  writeFileSync(join(root, page), `before\n${marks('cells')}\nbetween\n${marks('copies')}\nend\n`);
  writeFileSync(join(root, notebook), marks('peers'));
  const row = rowFrom('tcp1-whole', { 'tcp1: kernel': [10], 'tcp1: vtepd': [6] })!;
  const values = [spreadOf([1])];
  const peers: Figures = {
    name: 'peers',
    title: 'P',
    columns: ['Gb/s'],
    rows: [{ label: 'x', values }],
    scale: 'linear',
  };
  const written = saveDocuments(sectionsOf(await resultsOf([row], [peers]), false), root);
  const pictures = ['throughput.svg', 'tcp.svg', 'cpu.svg', 'peers.svg'];
  t.same(written, [page, notebook, ...pictures.map((name) => `docs/performance/${name}`)]);
  t.same(readdirSync(join(root, 'docs/performance')).sort(), [...pictures, 'notebook.md'].sort());
  const [text, notes] = [page, notebook].map((file) => readFileSync(join(root, file), 'utf8'));
  t.match(
    text,
    /^before\n<!-- bench:cells -->\n\n\| cell [\s\S]*\| 0\.600 \|[\s\S]*<!-- \/bench:cells -->\nbetween\n/,
  );
  t.notMatch(text, /verdict|old/, 'goals are shown only on the terminal');
  t.match(text, '\n![TCP, Gb/s delivered](performance/tcp.svg)\n');
  t.match(
    text,
    /<!-- bench:copies -->\n\*?.*Not measured in this run\.\*\n\n<!-- \/bench:copies -->\nend\n$/s,
  );
  t.match(notes, '\n![P](peers.svg)\n');
});

t.test('a chart has escaped text, and bars to scale', async (t) => {
  const bar = { median: 40, min: 20, max: 50 };
  const chart = {
    name: 'n',
    title: 'a < b & c',
    columns: ['kernel'],
    rows: [{ label: 'g', values: [bar, null] }],
  };
  const svg = barChart({ ...chart, scale: 'linear' });
  t.match(svg, 'a &lt; b &amp; c');
  t.notMatch(svg, /NaN|undefined/);
  // Value 40 on an axis that ends at 50: four fifths of 480 pixels.
  t.match(svg, '<rect class="s1" x="350.0" y="70" width="384.0" height="12"/>');
  // Value 40 on an axis from 10 to 100: log10(4) of 480 pixels.
  t.match(barChart({ ...chart, scale: 'logarithmic' }), '<rect class="s1" x="350.0" y="70" width="289.0" ');
  const rows = [{ label: 'g', values: [bar, { median: 10, min: 10, max: 10 }] }];
  // The bars are drawn end to end on an axis that ends at their sum.
  const stacked = barChart({ ...chart, columns: ['a', 'b'], rows, scale: 'stacked' });
  t.match(
    stacked,
    /<rect class="s0" x="350.0" y="70" width="384.0" height="12"\/>\n<rect class="s1" x="734.0" /,
  );
});
