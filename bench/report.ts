/**
 * Results as text: the table of goals with its verdicts, CPU, and the smaller tables. What goes to the terminal is
 * Markdown, so it is also what docs/performance.md gets.
 */
import type { CopiesResult } from './copies/copies.js';
import { floodTable } from './floods/report.js';
import type { HeapResult } from './heap/heap.js';
import type { StageResult } from './lab/stage.js';
import type { Machine } from './machine.js';
import type { MicroResult } from './micro/suite.js';
import { profileTable } from './profile/report.js';
import { failuresOf, type Results } from './results.js';
import type { ScrapeResult } from './scrape/scrape.js';
import { type Spread, short, spreadOf, withSpread } from './statistics.js';
import { table } from './table.js';
import { type Row, rowsOf } from './verdict.js';

/** What a section is called in docs/performance.md, its heading, its Markdown. */
export interface Section {
  name: string;
  title: string;
  body: string;
}

/** Only those that have something to show. */
export function sectionsOf(results: Results): Section[] {
  const rows = rowsOf(results);
  const { machine, stages, copies, heap, profile, scrape, micro, floods } = results;
  const sections: Section[] = [{ name: 'machine', title: 'Machine', body: machineList(results, machine) }];
  const add = (name: string, title: string, body: string) => {
    if (body !== '') sections.push({ name, title, body });
  };
  add('goals', 'Against the goals: medians (least–most); ratios within a round', goalTable(rows));
  add('cpu', 'CPU seconds of the whole box per Gbit delivered', cpuTable(rows));
  add('peers', 'TCP ×1 of other userspace overlays', peerTable(results));
  add('copies', 'Head-end replication, ns of CPU a copy', copies ? copiesTable(copies) : '');
  add('heap', 'Heap of the data-plane thread', heap ? heapTable(heap) : '');
  add('profile', 'Where each nanosecond goes', profile ? profileTable(profile) : '');
  add('scrape', 'Reading the counters', scrape ? scrapeTable(scrape) : '');
  add('floods', 'Floods: medians (least–most); ratios within a round', floods ? floodTable(floods) : '');
  add('micro', 'Micro-benchmarks', microTables(micro));
  add('offloads', 'Offloads of host a, by ethtool -k (all of them are in the JSON)', offloadTable(stages));
  add(
    'failures',
    'What failed',
    failuresOf(results)
      .map((line) => `* ${line.replaceAll('\n', ' / ')}`)
      .join('\n'),
  );
  return sections;
}

function machineList({ date, options }: Results, machine: Machine): string {
  const { rounds, seconds } = options;
  const how = `${rounds} rounds of ${seconds} s${options.short ? ', SHORT: the figures mean nothing' : ''}`;
  return Object.entries({ ...machine, date, measured: how })
    .map(([what, value]) => `    ${what.padEnd(9)} ${value}`)
    .join('\n');
}

function goalTable(rows: readonly Row[]): string {
  if (rows.length === 0) return '';
  const header = ['cell', '', 'kernel', 'vtepd', 'ratio', 'must', 'aim', 'verdict', 'how it was measured'];
  return table(header, rows.map(goalLine), [0, 1, 7, 8]);
}

function goalLine(row: Row): string[] {
  const ratio = row.isRatio ? spreadText(row.judged) : '';
  const kernel = row.against === '' ? spreadText(row.kernel) : `${row.against} ${spreadText(row.kernel)}`;
  const limits = [limitText(row, row.must), limitText(row, row.aim)];
  return [row.title, row.unit, kernel, spreadText(row.vtepd), ratio, ...limits, row.verdict, row.how];
}

function limitText({ more, isRatio }: Row, limit: number | undefined): string {
  if (limit === undefined) return '';
  if (limit === 0) return '0';
  return `${more ? '≥' : '≤'} ${limit}${isRatio ? ' ×' : ''}`;
}

function spreadText(spread: Spread | undefined): string {
  return spread ? withSpread(spread) : '–';
}

function cpuTable(rows: readonly Row[]): string {
  const lines = rows.flatMap(({ title, cpu, against }) =>
    cpu && against === '' ? [[title, ...[cpu.kernel, cpu.vtepd, cpu.ratio].map(withSpread)]] : [],
  );
  return lines.length === 0 ? '' : table(['', 'kernel', 'vtepd', 'ratio'], lines);
}

const PEER_STAGE = 'device-whole';
const PEERS = ['kernel', 'vtepd', 'open vswitch', 'fastd', 'tinc'];

function peerTable({ stages, missingPeers, options }: Results): string {
  if (!options.peers) return '';
  const series = stages.find(({ id }) => id === PEER_STAGE)?.series ?? [];
  const lines = PEERS.map((name) => {
    const found = series.find(({ task, competitor }) => task === 'tcp1' && competitor === name);
    const figures = found?.rounds.flatMap((round) => (round ? [round.figures[0]] : [])) ?? [];
    if (missingPeers.includes(name)) return [name, 'not installed'];
    return [name, figures.length > 0 ? withSpread(spreadOf(figures)) : 'failed'];
  });
  return table(['', 'Gb/s'], lines);
}

function copiesTable({ counts, nsPerCopy }: CopiesResult): string {
  const lines = Object.entries(nsPerCopy).map(([name, figures]) => [
    name,
    ...figures.map((values) => (values.length > 0 ? withSpread(spreadOf(values)) : 'failed')),
  ]);
  return table(['', ...counts.map((count) => `${count} peer${count === 1 ? '' : 's'}`)], lines);
}

function heapTable({ sides }: HeapResult): string {
  const kb = (bytes: number) => `${Math.round(bytes / 1024)} kB`;
  const header = ['', 'frames', 'B/frame', 'live before', 'live after', 'minor GCs', 'major GCs'];
  const lines = sides.map((side) => [
    side.name,
    `${side.frames}`,
    short(side.bytesPerFrame),
    kb(side.liveBefore),
    kb(side.liveAfter),
    `${side.scavenges}`,
    `${side.major}`,
  ]);
  const trace = sides.map(({ name, lines: said }) => `${name}:\n${shortened(said).join('\n')}`).join('\n');
  return `${table(header, lines)}\n\nThe trace; "testing" marks the collections that the benchmark asked for:\n\n${indented(trace)}`;
}

function scrapeTable(scrapes: readonly ScrapeResult[]): string {
  const header = ['', 'ms', 'CPU ms', 'longest pause, ms', 'MB of text', 'MB of memory meanwhile'];
  const mb = (bytes: number) => short(bytes / 1e6);
  const lines = scrapes.flatMap(({ vnis, pairs, metrics, counters }) =>
    Object.entries({ '/metrics': metrics, '/v1/counters': counters }).map(([path, read]) => [
      `${path}, ${pairs} pairs in ${vnis} VNI${vnis === 1 ? '' : 's'}`,
      ...[read.ms, read.cpuMs, read.pauseMs].map(short),
      mb(read.bytes),
      mb(read.extraBytes),
    ]),
  );
  return table(header, lines);
}

/** The JSON has all of them. */
const TRACE_LINES = 20;

function shortened(lines: readonly string[]): readonly string[] {
  const left = lines.length - 2 * TRACE_LINES;
  if (left <= 0) return lines;
  return [...lines.slice(0, TRACE_LINES), `… ${left} more …`, ...lines.slice(-TRACE_LINES)];
}

function indented(text: string): string {
  return text.replaceAll(/^/gm, '    ');
}

function microTables(micro: readonly MicroResult[]): string {
  const suites = new Set(micro.map(({ suite }) => suite));
  return [...suites]
    .map((suite) => {
      const lines = micro
        .filter((result) => result.suite === suite)
        .map(({ name, nsPerOp, errorPercent }) => [
          name,
          short(nsPerOp),
          short(1000 / nsPerOp),
          `±${short(errorPercent)} %`,
        ]);
      return table([suite, 'ns', 'M/s', 'error'], lines);
    })
    .join('\n\n');
}

/** What decides how large the frames are that cross the veth, and who sums them. */
const TELLING = [
  'tcp-segmentation-offload',
  'tx-udp-segmentation',
  'tx-udp_tnl-segmentation',
  'tx-udp_tnl-csum-segmentation',
  'generic-segmentation-offload',
  'generic-receive-offload',
  'tx-checksumming',
];

function offloadTable(stages: readonly StageResult[]): string {
  const lines = stages.flatMap(({ id, offloads }) =>
    Object.entries(offloads).flatMap(([name, devices]) =>
      Object.entries(devices).map(([device, on]) => [
        `${id}: ${name}: ${device}`,
        ...TELLING.map((feature) => (on.includes(feature) ? 'on' : 'off')),
      ]),
    ),
  );
  return lines.length === 0 ? '' : table(['', ...TELLING], lines);
}
