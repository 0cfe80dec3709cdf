/**
 * The lab: runs the stages in sequence, with the tasks and competitors of the selected cells.
 */
import { LAB_CELLS, type LabCell, OVERLAYS } from '../cells.js';
import { type Figures, type Row, spreadOf } from '../figures.js';
import { type BenchOptions, isWanted } from '../options.js';
import type { Measured } from '../results.js';
import { compileTool } from './blast.js';
import { isInstalled } from './overlays.js';
import { BASELINE, type Plan, runStage, type StageResult } from './stage.js';
import { STAGES } from './stages.js';
import type { TaskId } from './tasks.js';

/** @param fail receives a line for each measurement that failed */
export async function runLab(options: BenchOptions, fail: (line: string) => void): Promise<Measured> {
  const cells = LAB_CELLS.filter(({ id, group }) => isWanted(options, id, group));
  if (cells.length === 0) return {};
  await compileTool('blast');
  const stages: StageResult[] = [];
  for (const stage of STAGES) {
    const plan = planOf(cells.filter((cell) => cell.stage === stage.id));
    if (plan.size === 0) continue;
    const report = (line: string) => fail(`${stage.title}: ${line}`);
    await runStage(stage, plan, options, report).then(
      (result) => stages.push(result),
      (error: Error) => report(error.message),
    );
  }
  const figures = options.peers ? [overlayFigures(stages)] : [];
  return { stages, rows: cells.flatMap((cell) => rowOf(cell, stages)), figures };
}

/** Plan of the cells: the competitors of each task, baseline first, without missing overlays. */
function planOf(cells: readonly LabCell[]): Plan {
  const plan = new Map<TaskId, Set<string>>();
  for (const { task, contender, baselines } of cells) {
    const names = plan.get(task) ?? new Set([BASELINE]);
    const isThere = (name: string) => !OVERLAYS.includes(name) || isInstalled(name);
    for (const name of [...baselines, contender].filter(isThere)) names.add(name);
    plan.set(task, names);
  }
  return plan;
}

/** @returns the row of a cell; none when the whole stage failed */
export function rowOf(cell: LabCell, stages: readonly StageResult[]): Row[] {
  const { id, title, unit, more, must, aim } = cell;
  const series = stages.find((stage) => stage.id === cell.stage)?.series ?? [];
  const roundsOf = (name: string) =>
    series.find(({ task, competitor }) => task === cell.task && competitor === name)?.rounds ?? [];
  const figures = (name: string) => roundsOf(name).map((round) => round?.figures[cell.part] ?? null);
  const cpu = (name: string) => roundsOf(name).map((round) => round?.cpuPerGbit ?? null);
  const median = (name: string) => spreadOf(figures(name))?.median ?? 0;
  const [baseline] = [...cell.baselines].sort((one, other) => median(other) - median(one));
  if (roundsOf(cell.contender).length === 0) return [];
  const [kernel, vtepd] = [figures(baseline), figures(cell.contender)];
  return [{ id, title, unit, more, must, aim, kernel, vtepd, cpu: [cpu(baseline), cpu(cell.contender)] }];
}

function overlayFigures(stages: readonly StageResult[]): Figures {
  const series = stages.find(({ id }) => id === 'device-whole')?.series ?? [];
  const rows = series
    .filter(
      ({ task, competitor }) => task === 'tcp1' && ['kernel', 'vtepd', ...OVERLAYS].includes(competitor),
    )
    .map(({ competitor, rounds }) => ({
      label: competitor,
      values: [spreadOf(rounds.map((round) => round?.figures[0] ?? null))],
    }));
  const title = 'TCP ×1 of userspace overlays without cipher, Gb/s';
  return { name: 'peers', title, columns: ['Gb/s'], rows, scale: 'linear' };
}
