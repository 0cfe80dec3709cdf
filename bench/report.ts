/**
 * Results as sections of Markdown, for the terminal and the documents, with their pictures.
 */
import { type Figures, type Row, ratiosOf, type Spread, spreadOf, table, withSpread } from './figures.js';
import { floodTable } from './floods/report.js';
import type { Results } from './results.js';

export interface Section {
  /** Name of the marks in a document. */
  readonly name: string;
  readonly title: string;
  /** Markdown; '' without figures. */
  readonly body: string;
  readonly pictures: readonly Figures[];
}

const HOW = 'medians (least–most), ratios within a round';

/** @param withGoals adds must, aim and verdict to the main table */
export function sectionsOf(results: Results, withGoals: boolean): Section[] {
  const { rows, floods, options, date } = results;
  const about = { ...results.machine, date, measured: `${options.rounds} rounds of ${options.seconds} s` };
  const machine = Object.entries(about).map(([name, value]) => `    ${name.padEnd(9)} ${value}`);
  const failures = results.failures.map((line) => `* ${line.replaceAll('\n', ' / ')}`);
  const section = (name: string, title: string, body: string, pictures: Figures[] = []) =>
    ({ name, title, body, pictures }) satisfies Section;
  return [
    section('machine', 'Machine', machine.join('\n')),
    section('cells', `The lab: ${HOW}`, cellTable(rows.filter(isOfLab), withGoals), picturesOf(rows)),
    section(
      'costs',
      `Costs: ${HOW}`,
      cellTable(
        rows.filter((row) => !isOfLab(row)),
        withGoals,
      ),
    ),
    ...results.figures.map((figures) => {
      const lines = figures.rows.map(({ label, values }) => [label, ...values.map(withSpread)]);
      const body = table(['', ...figures.columns], lines);
      return section(figures.name, figures.title, body, figures.scale ? [figures] : []);
    }),
    section('floods', `Floods: ${HOW}`, floodTable(floods)),
    section('failures', 'Failed', failures.join('\n')),
  ].filter(({ body }) => body !== '');
}

function isOfLab({ cpu }: Row): boolean {
  return cpu !== undefined;
}

function cellTable(rows: readonly Row[], withGoals: boolean): string {
  const header = ['cell', '', 'kernel', 'vtepd', 'ratio', 'CPU, ratio', 'must', 'aim', 'verdict'];
  const lines = rows.map((row) => {
    const { title, unit, kernel = [], vtepd, must, aim } = row;
    const limits = [must, aim].map((limit) =>
      limit === undefined ? '' : `${row.more ? '≥' : '≤'} ${limit}`,
    );
    const figures = [spreadOf(kernel), spreadOf(vtepd), ratioOf(row), cpuOf(row)];
    return [title, unit, ...figures.map(withSpread), ...limits, verdictOf(row)];
  });
  const shown = (line: string[]) => (withGoals ? line : line.slice(0, 6));
  return table(shown(header), lines.map(shown), [0, 1, 8]);
}

function ratioOf({ vtepd, kernel }: Row): Spread | null {
  return ratiosOf(vtepd, kernel ?? []);
}

function cpuOf({ cpu }: Row): Spread | null {
  return cpu ? ratiosOf(cpu[1], cpu[0]) : null;
}

export function verdictOf(row: Row): 'ok' | 'below must' | 'failed' | '–' {
  const { kernel, vtepd, more, must } = row;
  const judged = kernel ? ratioOf(row) : spreadOf(vtepd);
  if (!judged) return 'failed';
  if (must === undefined) return '–';
  // Compares the printed value: a ratio printed as 1.00 is not below 1.
  const value = Number(judged.median.toPrecision(3));
  return (more ? value >= must : value <= must) ? 'ok' : 'below must';
}

/** Pictures of the main table. Rows whose baseline is not the kernel (overlays) are omitted. */
function picturesOf(all: readonly Row[]): Figures[] {
  const rows = all.filter(({ kernel, id }) => kernel && id !== 'peers');
  const picture = (title: string, some: Row[], columns: string[], pick: (row: Row) => (Spread | null)[]) => ({
    title,
    columns,
    rows: some.map((row) => ({ label: row.title, values: pick(row) })),
  });
  const both = ({ kernel = [], vtepd }: Row) => [spreadOf(kernel), spreadOf(vtepd)];
  const [fast, tcp, trips] = [
    rows.filter(({ more }) => more),
    rows.filter(({ unit }) => unit === 'Gb/s'),
    rows.filter(({ unit }) => unit === 'µs'),
  ];
  const throughput = picture('Throughput, ratio to kernel vxlan', fast, ['vtepd'], (row) => [ratioOf(row)]);
  const gbps = picture('TCP, Gb/s delivered', tcp, ['kernel', 'vtepd'], both);
  const roundTrips = picture('Round trip, µs', trips, ['kernel', 'vtepd'], both);
  const cpu = picture('CPU of the box per Gbit, ratio to kernel vxlan', tcp, ['vtepd'], (row) => [
    cpuOf(row),
  ]);
  const pictures: Figures[] = [
    { ...throughput, name: 'throughput', scale: 'linear' },
    { ...gbps, name: 'tcp', scale: 'linear' },
    { ...roundTrips, name: 'round-trips', scale: 'logarithmic' },
    { ...cpu, name: 'cpu', scale: 'linear' },
  ];
  return pictures.filter(({ rows: { length } }) => length > 0);
}
