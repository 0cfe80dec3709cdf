/**
 * Results against goals: one row for each cell that was measured. A row knows its figures and its verdict, and nothing
 * of how it is shown.
 */
import { LAB_CELLS, type LabCell } from './cells.js';
import type { StageResult } from './lab/stage.js';
import { lookupName } from './micro/fdb.js';
import { LOOKUP_SIZES, LOOKUP_SUITE } from './micro/micro.js';
import { isWanted } from './options.js';
import type { Results } from './results.js';
import { ratiosOf, type Spread, spreadOf } from './statistics.js';

/** By option: below its must as vtepd comes, above it with an option that has a row of its own. */
export type Verdict = 'ok' | 'ok by option' | 'below must' | 'failed' | '–';

export interface Row {
  /** As `--only` calls it; also what a picture looks for. */
  id: string;
  group: string;
  title: string;
  unit: string;
  /** Who the baseline is, unless it is the kernel. */
  against: string;
  /** Undefined: there is no such thing, or it failed. */
  kernel: Spread | undefined;
  vtepd: Spread | undefined;
  /** What is judged: a ratio within a round, or a figure that needs no baseline. */
  judged: Spread | undefined;
  /** Is `judged` a ratio to the baseline? */
  isRatio: boolean;
  /** Is more better? */
  more: boolean;
  must: number | undefined;
  aim: number | undefined;
  verdict: Verdict;
  /** CPU seconds of the whole box a Gbit. */
  cpu: { kernel: Spread; vtepd: Spread; ratio: Spread } | undefined;
  how: string;
}

/** In the order of the goals. */
export function rowsOf(results: Results): Row[] {
  return [
    ...labRows(results),
    ...copiesRow(results),
    ...fdbRows(results),
    ...memoryRows(results),
    ...heapRows(results),
  ];
}

function labRows(results: Results): Row[] {
  const wanted = LAB_CELLS.filter(({ id, group }) => isWanted(results.options, id, group));
  const rows = wanted.flatMap((cell) => labRow(cell, results));
  const met = rows.filter(({ verdict }) => verdict === 'ok').map(({ id }) => id);
  const byOption = wanted.filter(({ id }) => met.includes(id)).map(({ optionOf }) => optionOf);
  return rows.map((row) =>
    row.verdict === 'below must' && byOption.includes(row.id) ? { ...row, verdict: 'ok by option' } : row,
  );
}

function labRow(cell: LabCell, { stages }: Results): Row[] {
  const stage = stages.find(({ id }) => id === cell.stage);
  const contender = stage && seriesOf(stage, cell, cell.contender);
  if (!stage || !contender) return [];
  const baseline = bestOf(stage, cell);
  const pairs = baseline ? roundsOfBoth(contender, baseline.rounds) : [];
  const [ours, theirs] = [pairs.map(([one]) => one), pairs.map(([, other]) => other)];
  const isThere = pairs.length > 0;
  const judged = isThere
    ? ratiosOf(
        ours.map(({ figure }) => figure),
        theirs.map(({ figure }) => figure),
      )
    : undefined;
  return [
    {
      id: cell.id,
      group: cell.group,
      title: cell.title,
      unit: cell.unit,
      against: baseline && baseline.name !== 'kernel' ? baseline.name : '',
      kernel: figuresOf(baseline?.rounds ?? []),
      vtepd: figuresOf(contender),
      judged,
      isRatio: true,
      more: cell.more,
      must: cell.must,
      aim: cell.aim,
      verdict: verdictOf(judged, cell.more, cell.must),
      cpu: isThere ? cpuOf(ours, theirs) : undefined,
      how: cell.how,
    },
  ];
}

interface Figure {
  figure: number;
  cpu: number | undefined;
}

/** One for each round; undefined where it failed. */
type Rounds = (Figure | undefined)[];

function seriesOf(stage: StageResult, { task, part }: LabCell, competitor: string): Rounds | undefined {
  const series = stage.series.find((one) => one.task === task && one.competitor === competitor);
  return series?.rounds.map((round) =>
    round ? { figure: round.figures[part], cpu: round.cpuPerGbit } : undefined,
  );
}

/** Of several baselines the one with the best median. */
function bestOf(stage: StageResult, cell: LabCell): { name: string; rounds: Rounds } | undefined {
  const there = cell.baselines.flatMap((name) => {
    const rounds = seriesOf(stage, cell, name);
    const figures = rounds && figuresOf(rounds);
    return rounds && figures ? [{ name, rounds, median: figures.median }] : [];
  });
  const sign = cell.more ? -1 : 1;
  return there.sort((one, other) => sign * (one.median - other.median))[0];
}

function figuresOf(rounds: Rounds): Spread | undefined {
  const figures = rounds.flatMap((round) => (round ? [round.figure] : []));
  return figures.length > 0 ? spreadOf(figures) : undefined;
}

function roundsOfBoth(ours: Rounds, theirs: Rounds): [Figure, Figure][] {
  return ours.flatMap((one, round): [Figure, Figure][] => {
    const other = theirs[round];
    return one && other ? [[one, other]] : [];
  });
}

function cpuOf(ours: readonly Figure[], theirs: readonly Figure[]): Row['cpu'] {
  const [own, other] = [ours, theirs].map((side) =>
    side.flatMap(({ cpu }) => (cpu === undefined ? [] : [cpu])),
  );
  if (own.length === 0 || own.length !== other.length) return undefined;
  return { kernel: spreadOf(other), vtepd: spreadOf(own), ratio: ratiosOf(own, other) };
}

function verdictOf(judged: Spread | undefined, more: boolean, must: number | undefined): Verdict {
  if (!judged) return 'failed';
  if (must === undefined) return '–';
  // As it is printed: what reads 1.00 is not below 1.0.
  const value = Number(judged.median.toPrecision(3));
  return (more ? value >= must : value <= must) ? 'ok' : 'below must';
}

/** A row without a baseline in the same unit. */
function ownRow(row: Pick<Row, 'id' | 'title' | 'unit' | 'how'> & Partial<Row>): Row {
  const full = {
    group: row.id,
    against: '',
    kernel: undefined,
    vtepd: undefined,
    judged: row.vtepd,
    isRatio: false,
    more: false,
    must: undefined,
    aim: undefined,
    cpu: undefined,
    ...row,
  };
  return { ...full, verdict: row.verdict ?? verdictOf(full.judged, full.more, full.must) };
}

/** A tenth more still counts as flat. */
const FLAT = 1.1;

function copiesRow({ copies }: Results): Row[] {
  if (!copies) return [];
  const { counts, nsPerCopy } = copies;
  const most = counts.length - 1;
  const spread = (values: number[]) => (values.length > 0 ? spreadOf(values) : undefined);
  return [
    ownRow({
      id: 'copies',
      title: `head-end replication, a copy to ${counts[most]} peers (ratio: worst step of ${counts.join(', ')})`,
      unit: 'ns',
      kernel: spread(nsPerCopy.kernel[most]),
      vtepd: spread(nsPerCopy.vtepd[most]),
      judged: worstStep(nsPerCopy.vtepd),
      isRatio: true,
      must: FLAT,
      how: 'CPU of sender and VTEP, 200,000 copies/s of 64 B into a device that throws away',
    }),
  ];
}

/**
 * By how much a copy gets dearer at most from one number of peers to the next, in each round: flat or falling means
 * that it never does.
 *
 * @param figures by number of peers, then by round
 * @returns undefined unless every number of peers was measured in every round
 */
function worstStep(figures: readonly (readonly number[])[]): Spread | undefined {
  const [first, ...others] = figures;
  if (first.length === 0 || others.some(({ length }) => length !== first.length)) return undefined;
  return spreadOf(
    first.map((_, round) => Math.max(...others.map((next, i) => next[round] / figures[i][round]))),
  );
}

function fdbRows({ fdb, micro }: Results): Row[] {
  const lookup = (entries: number) =>
    micro.find(({ suite, name }) => suite === LOOKUP_SUITE && name === lookupName(entries))?.nsPerOp;
  const [few, many] = [lookup(LOOKUP_SIZES[0]), lookup(LOOKUP_SIZES[LOOKUP_SIZES.length - 1])];
  const rows: Row[] = [];
  if (fdb) {
    const vtepd = spreadOf([fdb.bytesPerEntry]);
    const how = 'slots of the table over its entries';
    rows.push(ownRow({ id: 'fdb-bytes', title: 'FDB, an entry of 1 M', unit: 'B', vtepd, must: 32, how }));
  }
  if (few !== undefined && many !== undefined) {
    rows.push(
      ownRow({
        id: 'fdb-lookup',
        title: 'FDB, lookup among 1 M (ratio: to 1 k)',
        unit: 'ns',
        vtepd: spreadOf([many]),
        judged: spreadOf([many / few]),
        isRatio: true,
        must: 4,
        how: 'micro-benchmark, in an order that no cache foresees',
      }),
    );
  }
  return rows;
}

const MB = 1 << 20;

function memoryRows({ memory }: Results): Row[] {
  if (!memory) return [];
  const { vnis, peers, tablesBytes, daemon } = memory;
  const row = (id: string, title: string, bytes: number, how: string) => {
    const size = { group: 'memory', unit: 'MB', vtepd: spreadOf([bytes / MB]), must: 256, aim: 128 };
    return ownRow({ ...size, id, title: `memory, ${vnis} VNIs × ${peers} peers, ${title}`, how });
  };
  const peak = `resident; peak ${Math.round(daemon.peakBytes / MB)} MB; memory ports, no API`;
  return [
    row('memory-tables', 'tables', tablesBytes, 'resident, what the tables that forward add; empty FDB'),
    row('memory-daemon', 'both threads', daemon.fullBytes, peak),
  ];
}

/** A frame of which less than this stays is one that allocates nothing: housekeeping has a few bytes a second. */
const NOTHING_BYTES = 0.05;

function heapRows({ heap }: Results): Row[] {
  if (!heap) return [];
  return heap.sides.map(({ name, bytesPerFrame, scavenges, major, liveBefore, liveAfter, frames }) => {
    const grown = Math.round((liveAfter - liveBefore) / 1024);
    const isFine = Math.abs(bytesPerFrame) < NOTHING_BYTES && major === 0;
    return ownRow({
      id: `heap-${name}`,
      group: 'heap',
      title: `heap, data-plane thread that is ${name}`,
      unit: 'B/frame',
      vtepd: spreadOf([Math.max(0, bytesPerFrame)]),
      must: 0,
      verdict: isFine ? 'ok' : 'below must',
      how: `${heap.seconds} s saturated, ${(frames / 1e6).toFixed(1)} M frames: ${major} major, ${scavenges} minor GCs, live heap ${grown >= 0 ? '+' : ''}${grown} kB`,
    });
  });
}
