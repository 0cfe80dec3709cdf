/**
 * The benchmark program. scripts/bench.mjs starts it in the root of the project.
 *
 * It measures, prints tables, writes all results as JSON to bench/results, and with `--save`
 * updates docs/performance.md. The exit code is 1 if a measurement failed; a figure below its goal
 * is not a failure.
 */
import { measureCopies } from './copies/copies.js';
import { saveDocuments } from './document.js';
import { measureFloods } from './floods/floods.js';
import { measureHeap } from './heap/heap.js';
import { runLab } from './lab/lab.js';
import { measureMemory } from './memory/memory.js';
import { measureMicro } from './micro/micro.js';
import { type BenchOptions, isWanted, type Part, parseOptions, refuseParts } from './options.js';
import { measureProfile } from './profile/profile.js';
import { sectionsOf } from './report.js';
import { emptyResults, loadResults, type Measured, type Results, saveResults } from './results.js';

type Measure = (options: BenchOptions, fail: (line: string) => void) => Promise<Measured>;

/** In the order of a run. */
const PARTS: Readonly<Record<'lab' | Part, Measure>> = {
  lab: runLab,
  copies: measureCopies,
  heap: measureHeap,
  profile: measureProfile,
  memory: measureMemory,
  micro: measureMicro,
  floods: measureFloods,
};

try {
  const options = parseOptions(process.argv.slice(2));
  const results = options.from === undefined ? await measure(options) : loadResults(options.from);
  if (options.save) refuseParts(results.options);
  for (const { title, body } of sectionsOf(results, true)) console.log(`\n${title}\n\n${body}`);
  if (options.from === undefined) console.log(`\n${saveResults(results)}`);
  if (options.save) for (const file of saveDocuments(sectionsOf(results, false))) console.log(file);
  process.exitCode = results.failures.length > 0 ? 1 : 0;
} catch (error) {
  console.error(`bench: ${(error as Error).message}`);
  process.exit(1);
}

async function measure(options: BenchOptions): Promise<Results> {
  const results = await emptyResults(options);
  for (const [name, part] of Object.entries(PARTS)) {
    if (name !== 'lab' && !isWanted(options, name)) continue;
    const fail = (line: string) => {
      results.failures.push(`${name}: ${line}`);
      console.error(`failed: ${name}: ${line}`);
    };
    console.error(name);
    try {
      const { rows = [], figures = [], floods = [], stages = [] } = await part(options, fail);
      results.rows.push(...rows);
      results.figures.push(...figures);
      results.floods.push(...floods);
      results.stages.push(...stages);
    } catch (error) {
      fail((error as Error).message);
    }
  }
  return results;
}
