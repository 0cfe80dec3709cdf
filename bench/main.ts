/**
 * The benchmark: runs what was asked for, prints tables, leaves everything as JSON in bench/results, and writes
 * docs/performance.md if told to. Started by scripts/bench.mjs in the root of the project.
 *
 * Ends with 1 when something failed to be measured; a cell below its goal is a finding, not a failure.
 */
import { measureCopies } from './copies/copies.js';
import { refuseParts, saveDocument } from './document.js';
import { measureFloods } from './floods/floods.js';
import { measureHeap } from './heap/heap.js';
import { runLab } from './lab/lab.js';
import { describeMachine, isInstalled } from './machine.js';
import { measureMemory } from './memory/memory.js';
import { fdbSize } from './micro/fdb.js';
import { LOOKUP_SIZES, runMicro } from './micro/micro.js';
import { type BenchOptions, isWanted, type OtherCell, parseOptions } from './options.js';
import { measureProfile } from './profile/profile.js';
import { progress, reportFailure } from './progress.js';
import { sectionsOf } from './report.js';
import { emptyResults, failuresOf, loadResults, type Results, saveResults } from './results.js';
import { measureScrapes } from './scrape/scrape.js';
import { section } from './table.js';

/** A second is enough: what is counted is CPU, not time. */
const COPIES_SECONDS = 1;

try {
  await main();
} catch (error) {
  console.error(`bench: ${(error as Error).message}`);
  process.exit(1);
}

async function main(): Promise<void> {
  const options = parseOptions(process.argv.slice(2));
  const results = options.from === undefined ? await measure(options) : loadResults(options.from);
  if (options.save) refuseParts(results);
  progress('');
  for (const { title, body } of sectionsOf(results)) section(title, body);
  if (options.from === undefined) console.log(`\n${saveResults(results)}`);
  if (options.save) for (const file of saveDocument(results)) console.log(file);
  process.exitCode = failuresOf(results).length > 0 ? 1 : 0;
}

async function measure(options: BenchOptions): Promise<Results> {
  const results = emptyResults(options, await describeMachine());
  const { short, rounds, seconds, heapSeconds } = options;
  const lab = await runLab(options);
  Object.assign(results, lab);
  await attempt(results, 'copies', async () => {
    results.copies = await measureCopies({ rounds, seconds: COPIES_SECONDS, short });
  });
  await attempt(results, 'heap', async () => {
    results.heap = await measureHeap(heapSeconds);
  });
  await attempt(results, 'profile', async () => {
    if (isInstalled('perf')) results.profile = await measureProfile(seconds);
    else if (options.only) throw new Error('perf is not installed (Debian: linux-perf)');
  });
  await attempt(results, 'memory', async () => {
    results.memory = await measureMemory(short);
  });
  await attempt(results, 'scrape', async () => {
    results.scrape = await measureScrapes(short);
  });
  await attempt(results, 'floods', async () => {
    results.floods = await measureFloods({ rounds, seconds, short }, (line) => {
      results.failures.push(`floods: ${line}`);
      reportFailure(line);
    });
  });
  const all = isWanted(options, 'micro');
  if (all || isWanted(options, 'fdb')) {
    results.micro = runMicro({ all, short });
    results.fdb = fdbSize(LOOKUP_SIZES[LOOKUP_SIZES.length - 1]);
  }
  return results;
}

/** Does one part if it was asked for. What fails is said, and does not end the others. */
async function attempt(results: Results, id: OtherCell, work: () => Promise<void>): Promise<void> {
  if (!isWanted(results.options, id)) return;
  progress(id);
  try {
    await work();
  } catch (error) {
    results.failures.push(`${id}: ${(error as Error).message}`);
    reportFailure(results.failures.at(-1) ?? id);
  }
}
