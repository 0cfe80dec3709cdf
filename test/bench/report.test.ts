/**
 * From results to verdicts, tables and the page. Results are made up, as files of bench/results are.
 */
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { fillPage, refuseParts, saveDocument } from '../../bench/document.js';
import type { Measurement } from '../../bench/lab/tasks.js';
import { parseOptions } from '../../bench/options.js';
import { sectionsOf } from '../../bench/report.js';
import { emptyResults, type Results } from '../../bench/results.js';
import { barChart } from '../../bench/svg.js';
import { rowsOf } from '../../bench/verdict.js';

const MACHINE = {
  cpu: 'a & b',
  cores: 2,
  kernel: '6.18',
  node: 'v20',
  v8: '11',
  iperf3: '3',
  compiler: 'cc',
  iproute2: '6',
  commit: 'c0ffee',
};

/** TCP ×1 on `device-whole` and round trips: one figure, or null, for each round. */
function resultsOf(figures: Record<string, (number | null)[]>, args: string[] = []): Results {
  const results = emptyResults(parseOptions(args), MACHINE);
  const measured = (figure: number | null): Measurement | null =>
    figure === null ? null : { figures: [figure], cpuPerGbit: 1 / figure };
  const series = Object.entries(figures).map(([key, rounds]) => {
    const [task, competitor] = key.split(': ');
    return { task: task as 'tcp1', competitor, rounds: rounds.map(measured) };
  });
  results.stages.push({ id: 'device-whole', title: 'whole', series, offloads: {}, failures: [] });
  return results;
}

const rowOf = (results: Results, id: string) => rowsOf(results).find((row) => row.id === id);

t.test('a competitor that never gave a figure has failed', async (t) => {
  const row = rowOf(resultsOf({ 'tcp1: kernel': [10, 10], 'tcp1: vtepd': [null, null] }), 'tcp1-whole');
  t.match(row, { verdict: 'failed', judged: undefined, vtepd: undefined, kernel: { median: 10 } });
  t.match(sectionsOf(resultsOf({ 'tcp1: kernel': [null], 'tcp1: vtepd': [1] })), [{}, { body: /failed/ }]);
});

t.test('a round that failed on one side is in no ratio', async (t) => {
  const row = rowOf(resultsOf({ 'tcp1: kernel': [10, 10, null], 'tcp1: vtepd': [6, null, 9] }), 'tcp1-whole');
  t.match(row, { judged: { median: 0.6, min: 0.6, max: 0.6 }, verdict: 'ok', vtepd: { min: 6, max: 9 } });
});

t.test('ratios are taken within a round', async (t) => {
  const row = rowOf(resultsOf({ 'tcp1: kernel': [10, 20, 30], 'tcp1: vtepd': [4, 8, 18] }), 'tcp1-whole');
  t.match(row, { judged: { median: 0.4, min: 0.4, max: 0.6 }, verdict: 'below must' });
  t.match(row?.cpu, { kernel: { median: 1 / 20 }, ratio: { median: 2.5 } }, 'those of CPU too');
});

t.test(
  'a goal that an option alone meets is told from one that is met, and from one that is not',
  async (t) => {
    const verdict = (plain: number, flows: number, args: string[] = []) =>
      rowOf(
        resultsOf({ 'tcp1: kernel': [10], 'tcp1: vtepd': [plain], 'tcp1: vtepd, flows': [flows] }, args),
        'tcp1-whole',
      )?.verdict;
    t.equal(verdict(4, 6), 'ok by option');
    t.equal(verdict(4, 4), 'below must');
    t.equal(verdict(6, 4), 'ok');
    t.equal(verdict(4, 6, ['--only', 'tcp1-whole']), 'below must', 'the option was not measured');
  },
);

t.test('of round trips less is better', async (t) => {
  const verdict = (figure: number) =>
    rowOf(resultsOf({ 'rtt: kernel': [10], 'rtt: vtepd': [figure] }), 'rtt-p50')?.verdict;
  t.equal(verdict(15.1), 'below must');
  t.equal(verdict(15), 'ok');
  t.equal(verdict(9), 'ok');
});

t.test('the best of the other overlays is what counts', async (t) => {
  const figures = { 'tcp1: vtepd': [8], 'tcp1: fastd': [2], 'tcp1: tinc': [1], 'tcp1: kernel': [9] };
  const row = rowOf(resultsOf(figures, ['--peers']), 'peers');
  t.match(row, { against: 'fastd', judged: { median: 4 }, verdict: 'ok' });
});

t.test('a copy that gets dearer at any step is not flat', async (t) => {
  const rowWith = (vtepd: number[][]) => {
    const copies = { counts: [1, 8, 64], nsPerCopy: { kernel: [[1], [1], [1]], vtepd }, failures: [] };
    return rowOf({ ...resultsOf({}), copies }, 'copies');
  };
  t.match(rowWith([[900], [100], [200]]), { judged: { median: 2 }, verdict: 'below must' });
  t.match(rowWith([[900], [100], []]), { judged: undefined, verdict: 'failed' }, 'one was not measured');
  t.match(rowWith([[900], [100], [100]]), { judged: { median: 1 }, verdict: 'ok' });
});

t.test('the page shows whole runs only', async (t) => {
  t.throws(() => refuseParts(resultsOf({}, ['--short'])), {
    message: /^--save: the run of \S+ was a short one/,
  });
  t.throws(() => refuseParts(resultsOf({}, ['--only', 'tcp,micro'])), {
    message: /--only tcp,micro; the page/,
  });
  t.doesNotThrow(() => refuseParts(resultsOf({}, ['--rounds', '1'])));
});

t.test('a page without marks, or with half of one, is left alone', async (t) => {
  t.throws(() => fillPage('# nothing', [], []), { message: /0 sections begin/ });
  t.throws(() => fillPage('<!-- bench:goals -->\n', [], []), {
    message: /1 sections begin .* 0 of them end/,
  });
});

t.test('a page gets its tables and pictures, and keeps the rest', async (t) => {
  const root = t.testdir({ docs: {} });
  const marks = (name: string) => `<!-- bench:${name} -->\nold\n<!-- /bench:${name} -->`;
  writeFileSync(
    join(root, 'docs/performance.md'),
    `before\n${marks('goals')}\nbetween\n${marks('heap')}\nend\n`,
  );
  mkdirSync(join(root, 'docs/performance'));
  writeFileSync(join(root, 'docs/performance/gone.svg'), '');
  const written = saveDocument(resultsOf({ 'tcp1: kernel': [10], 'tcp1: vtepd': [6] }), root);
  t.same(written, [
    'docs/performance.md',
    'docs/performance/throughput-ratios.svg',
    'docs/performance/tcp.svg',
    'docs/performance/cpu.svg',
  ]);
  const page = readFileSync(join(root, 'docs/performance.md'), 'utf8');
  t.match(
    page,
    /^before\n<!-- bench:goals -->\n\n\| cell [\s\S]*\| 0\.600 \|[\s\S]*<!-- \/bench:goals -->\nbetween\n/,
  );
  t.match(page, /\n!\[TCP, Gb\/s delivered\]\(performance\/tcp\.svg\)\n/);
  t.match(page, /<!-- bench:heap -->\n\n\*Not measured in this run\.\*\n\n<!-- \/bench:heap -->\nend\n$/);
  t.notMatch(page, /old/);
  t.throws(() => readFileSync(join(root, 'docs/performance/gone.svg')), { code: 'ENOENT' });
});

t.test('a chart', async (t) => {
  const bar = { name: 'vtepd', value: 40, min: 20, max: 50 };
  const chart = {
    title: 'a < b & c',
    subtitle: '',
    series: ['vtepd'],
    groups: [{ label: 'g', bars: [bar] }],
  };
  const svg = barChart(chart);
  t.match(svg, /a &lt; b &amp; c/, 'words are escaped');
  t.notMatch(svg, /NaN|undefined/);
  t.match(svg, /prefers-color-scheme: dark/, 'both colour schemes');
  // 40 of an axis that ends at 50: four fifths of 480 pixels.
  t.match(svg, /<rect class="s0" x="350" y="84" width="384" height="12"\/>/);
  // 40 on an axis of powers of ten from 10 to 100: log10(4) of it.
  t.match(barChart({ ...chart, logarithmic: true }), /<rect class="s0" x="350" y="84" width="289" /);
  const other = { ...bar, name: 'other', value: 10 };
  const groups = [{ label: 'g', bars: [bar, other] }];
  // End to end, and the axis ends at their sum: the second begins after 384 pixels.
  t.match(
    barChart({ ...chart, series: ['vtepd', 'other'], groups, stacked: true }),
    /<rect class="s0" x="350" y="84" width="384" height="12"\/><rect class="s1" x="734" y="84" width="96" /,
  );
});
