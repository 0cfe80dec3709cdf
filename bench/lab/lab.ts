/**
 * The lab: from the cells that are wanted to what each stage has to measure, one stage after the other.
 */
import { LAB_CELLS, type LabCell } from '../cells.js';
import { isInstalled } from '../machine.js';
import { type BenchOptions, isWanted } from '../options.js';
import { reportFailure } from '../progress.js';
import { compileBlast } from './blast.js';
import { OVERLAY_PROGRAMS } from './overlays.js';
import { BASELINE, type Plan, runStage, type StageResult } from './stage.js';
import { STAGES } from './stages.js';
import type { TaskId } from './tasks.js';

const VERIFY_LEN = 64 << 20;
const VERIFY_LEN_SHORT = 4 << 20;

export interface LabResult {
  stages: StageResult[];
  /** Of other overlays that were asked for: those that are not installed. */
  missingPeers: string[];
  /** Why a stage has no figures. */
  failures: string[];
}

export async function runLab(options: BenchOptions): Promise<LabResult> {
  const cells = LAB_CELLS.filter(({ id, group }) => isWanted(options, id, group));
  const missingPeers = Object.keys(OVERLAY_PROGRAMS).filter((name) => !isInstalled(OVERLAY_PROGRAMS[name]));
  const result: LabResult = { stages: [], missingPeers: options.peers ? missingPeers : [], failures: [] };
  if (cells.length === 0) return result;
  await compileBlast();
  for (const stage of STAGES) {
    const plan = planOf(
      cells.filter((cell) => cell.stage === stage.id),
      missingPeers,
    );
    if (plan.size === 0) continue;
    try {
      result.stages.push(await runStage(stage, plan, stageOptions(options)));
    } catch (error) {
      result.failures.push(`${stage.title}: ${(error as Error).message}`);
      reportFailure(result.failures.at(-1) ?? '');
    }
  }
  return result;
}

function stageOptions({ rounds, seconds, short }: BenchOptions) {
  return { rounds, seconds, verifyLen: short ? VERIFY_LEN_SHORT : VERIFY_LEN };
}

/** Each task once for each competitor that some cell compares. The baseline comes first. */
function planOf(cells: readonly LabCell[], missing: readonly string[]): Plan {
  const plan = new Map<TaskId, Set<string>>();
  for (const { task, contender, baselines } of cells) {
    const names = plan.get(task) ?? new Set([BASELINE]);
    for (const name of [...baselines, contender]) if (!missing.includes(name)) names.add(name);
    plan.set(task, names);
  }
  return plan;
}
