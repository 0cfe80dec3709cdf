/**
 * Rounds: in each, every cell measures every competitor, one right after the other, and who begins moves on from
 * round to round. So a machine that slows down or is disturbed meets all of them, and ratios are taken within a
 * round. In every round each competitor also carries a hashed transfer both ways.
 */
import type { BenchOptions } from '../options.js';
import { ratiosOf, type Spread, short, spreadOf, withSpread } from '../statistics.js';
import { section, table } from '../table.js';
import { compileBlast } from './blast.js';
import { CELLS, type Cell, type Row, verifyPayload } from './cells.js';
import {
  assertAlive,
  BASELINES,
  CONTENDERS,
  type Competitor,
  offloadsOf,
  startCompetitors,
} from './competitor.js';

const VERIFY_LEN = 64 << 20;
const VERIFY_LEN_SHORT = 4 << 20;

/** One row of the table: figures and CPU of every round, by competitor. */
export interface RowResult extends Row {
  rounds: Record<string, number[]>;
  cpuPerGbit: Record<string, number[]>;
}

export interface LabResult {
  rows: RowResult[];
  /** Offloads that are on, by competitor and device of host a. */
  offloads: Record<string, Record<string, string[]>>;
  /** Bytes of the hashed transfer, each way, each round. */
  verifiedLen: number;
}

export async function runLab({ rounds, seconds, short }: BenchOptions): Promise<LabResult> {
  await compileBlast();
  const competitors = await startCompetitors();
  const verifiedLen = short ? VERIFY_LEN_SHORT : VERIFY_LEN;
  const offloads: LabResult['offloads'] = {};
  for (const competitor of competitors) offloads[competitor.name] = await offloadsOf(competitor);
  const results = new Map(CELLS.map((cell) => [cell, cell.rows.map(emptyRow)]));
  for (let round = 0; round < rounds; round++) {
    const order = [
      ...competitors.slice(round % competitors.length),
      ...competitors.slice(0, round % competitors.length),
    ];
    for (const competitor of order) await verifyPayload(competitor, verifiedLen);
    for (const [cell, rows] of results) {
      progress(`round ${round + 1} of ${rounds}: ${cell.rows[0].title}`);
      for (const competitor of order) await measureInto(rows, cell, competitor, seconds);
    }
  }
  progress('');
  for (const competitor of competitors) await stop(competitor);
  return { rows: [...results.values()].flat(), offloads, verifiedLen };
}

async function measureInto(
  rows: RowResult[],
  cell: Cell,
  competitor: Competitor,
  seconds: number,
): Promise<void> {
  const { name } = competitor;
  assertAlive(competitor);
  const { figures, cpuPerGbit } = await cell.measure(competitor, seconds);
  rows.forEach((row, i) => {
    (row.rounds[name] ??= []).push(figures[i]);
    if (cpuPerGbit !== undefined) (row.cpuPerGbit[name] ??= []).push(cpuPerGbit);
  });
}

function emptyRow(row: Row): RowResult {
  return { ...row, rounds: {}, cpuPerGbit: {} };
}

async function stop({ a, b, daemons }: Competitor): Promise<void> {
  for (const daemon of daemons) await daemon.stop();
  await a.remove();
  await b.remove();
}

/** One line that is overwritten, on a terminal only. */
function progress(text: string): void {
  if (process.stderr.isTTY) process.stderr.write(`\r\x1b[K${text}`);
}

export function printLab({ rows, offloads, verifiedLen }: LabResult): void {
  const names = [...BASELINES, ...CONTENDERS];
  const spreads = (values: Record<string, number[]>) =>
    names.map((name) => withSpread(spreadOf(values[name])));
  section(
    'Throughput and latency, median (least–most)',
    table(
      ['', 'unit', ...names],
      rows.map((row) => [row.title, row.unit, ...spreads(row.rounds)]),
    ),
  );
  section(
    'Ratios within a round, median (least–most); above 1 is better for throughput, below 1 for round trips',
    table(
      ['', ...CONTENDERS.flatMap((name) => BASELINES.map((baseline) => `${name} / ${baseline}`))],
      rows.map(ratioRow),
    ),
  );
  section(
    'CPU seconds of the whole box per Gbit delivered',
    table(
      ['', ...names],
      rows
        .filter((row) => Object.keys(row.cpuPerGbit).length > 0)
        .map((row) => [row.title, ...names.map((name) => short(spreadOf(row.cpuPerGbit[name]).median))]),
    ),
  );
  section('Offloads of host a, by ethtool -k (all of them are in the JSON)', offloadTable(offloads));
  console.log(
    `\nEvery UDP payload was compared; ${verifiedLen >> 20} MB of TCP were hashed each way in every round.`,
  );
}

function ratioRow({ title, rounds }: RowResult): string[] {
  const ratio = (name: string, baseline: string): Spread => ratiosOf(rounds[name], rounds[baseline]);
  return [
    title,
    ...CONTENDERS.flatMap((name) => BASELINES.map((baseline) => withSpread(ratio(name, baseline)))),
  ];
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

function offloadTable(offloads: LabResult['offloads']): string {
  const rows = Object.entries(offloads).flatMap(([name, devices]) =>
    Object.entries(devices).map(([device, on]) => [
      `${name} ${device}`,
      ...TELLING.map((feature) => (on.includes(feature) ? 'on' : 'off')),
    ]),
  );
  return table(['', ...TELLING], rows);
}
