/**
 * One stage: its competitors side by side, measured in rounds.
 *
 * In each round every task measures all competitors in direct sequence, and the order rotates from
 * round to round. A slowdown of the machine then affects all competitors, and ratios are taken
 * within a round. In every round each competitor also carries a hashed transfer in both directions.
 *
 * A failure is reported, leaves a gap in the figures, and does not end the stage.
 */
import type { Vtepd } from '../../test/support/vtepd.js';
import { Competitor, type Pair } from './competitors.js';
import { offloadsOf, type Stage } from './site.js';
import {
  halfLoadOf,
  type Measurement,
  TASKS,
  type TaskContext,
  type TaskId,
  verifyPayload,
} from './tasks.js';

/** Tasks of a stage, and the competitors of each task. */
export type Plan = ReadonlyMap<TaskId, ReadonlySet<string>>;

/** Figures of one task and one competitor. */
export interface Series {
  task: TaskId;
  competitor: string;
  /** One for each round; null where it failed. */
  rounds: (Measurement | null)[];
}

export interface StageResult {
  id: string;
  title: string;
  series: Series[];
  /** Offloads that are on, by competitor and device of host a. */
  offloads: Record<string, Record<string, string[]>>;
}

export interface StageOptions {
  rounds: number;
  seconds: number;
  /** True for a hashed transfer of VERIFY_LEN_SHORT bytes. */
  short: boolean;
}

/** Bytes of the hashed transfer in each direction. */
const VERIFY_LEN = 64 << 20;
const VERIFY_LEN_SHORT = 4 << 20;

/** The competitor with which the others are compared. Every plan contains this competitor. */
export const BASELINE = 'kernel';
/** The competitor with a full FDB that is read every second. */
const SCRAPED = 'vtepd, scraped';

/** @param fail receives a line for each measurement that failed */
export async function runStage(
  stage: Stage,
  plan: Plan,
  options: StageOptions,
  fail: (line: string) => void,
): Promise<StageResult> {
  const run = new StageRun(stage, plan, options, fail);
  try {
    return await run.run();
  } finally {
    await run.remove();
  }
}

class StageRun {
  readonly #options: StageOptions;
  readonly #stage: Stage;
  readonly #plan: Plan;
  readonly #competitors: Competitor[];
  readonly #result: StageResult;
  readonly #report: (line: string) => void;

  constructor(stage: Stage, plan: Plan, options: StageOptions, report: (line: string) => void) {
    this.#report = report;
    this.#stage = stage;
    this.#plan = plan;
    this.#options = options;
    const names = new Set([...plan.values()].flatMap((competitors) => [...competitors]));
    this.#competitors = [...names].map((name) => new Competitor(name, stage));
    const series = [...plan].flatMap(([task, competitors]) =>
      [...competitors].map((competitor): Series => ({ task, competitor, rounds: [] })),
    );
    this.#result = { id: stage.id, title: stage.title, series, offloads: {} };
  }

  async run(): Promise<StageResult> {
    const { rounds, seconds } = this.#options;
    for (const competitor of this.#competitors) {
      await this.#attempt(competitor, 'start', async ({ a }) => {
        this.#result.offloads[competitor.name] = await offloadsOf(a);
      });
    }
    const context = { seconds, halfLoad: await this.#calibrate(), scraped: await this.#scraped() };
    for (let round = 0; round < rounds; round++) {
      console.error(`${this.#stage.title}: round ${round + 1} of ${rounds}`);
      await this.#round(round, context);
    }
    return this.#result;
  }

  async remove(): Promise<void> {
    for (const competitor of this.#competitors) await competitor.remove();
  }

  async #round(round: number, context: TaskContext): Promise<void> {
    const order = rotated(this.#competitors, round);
    for (const competitor of order) {
      await this.#attempt(competitor, 'hashed transfer', (pair) =>
        verifyPayload(pair, this.#options.short ? VERIFY_LEN_SHORT : VERIFY_LEN),
      );
    }
    for (const [task, names] of this.#plan) {
      for (const competitor of order.filter(({ name }) => names.has(name))) {
        const measured = await this.#attempt(competitor, task, (pair) => TASKS[task](pair, context));
        this.#seriesOf(task, competitor.name).rounds.push(measured ?? null);
      }
    }
  }

  /** Half load, frames per second; 0 when no task needs it or the calibration failed. */
  async #calibrate(): Promise<number> {
    const baseline = this.#competitors.find(({ name }) => name === BASELINE);
    if (!this.#plan.has('rttLoaded') || !baseline) return 0;
    return (await this.#attempt(baseline, 'calibration', halfLoadOf)) ?? 0;
  }

  /** Daemons that are read during scraped round trips. */
  async #scraped(): Promise<readonly Vtepd[]> {
    const watched = this.#competitors.find(({ name }) => name === SCRAPED);
    if (!this.#plan.has('rttScraped') || !watched) return [];
    return (await this.#attempt(watched, 'readers', async ({ vtepds }) => vtepds)) ?? [];
  }

  /** @returns undefined when it failed */
  async #attempt<T>(
    competitor: Competitor,
    what: string,
    work: (pair: Pair) => Promise<T>,
  ): Promise<T | undefined> {
    try {
      return await work(await competitor.ready((output) => this.#fail(competitor, output)));
    } catch (error) {
      this.#fail(competitor, `${what}: ${(error as Error).message}`);
      return undefined;
    }
  }

  #fail({ name }: Competitor, why: string): void {
    this.#report(`${name}: ${why}`);
  }

  #seriesOf(task: TaskId, competitor: string): Series {
    const found = this.#result.series.find((one) => one.task === task && one.competitor === competitor);
    if (!found) throw new Error(`${task} of ${competitor} is not planned`);
    return found;
  }
}

function rotated<T>(items: readonly T[], by: number): T[] {
  const first = by % items.length;
  return [...items.slice(first), ...items.slice(0, first)];
}
