/**
 * The benchmark: micro-benchmarks of the forwarding, then the lab against kernel vxlan. Prints tables and leaves
 * everything as JSON in bench/results. Started by scripts/bench.mjs in the root of the project.
 */
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { printLab, runLab } from './lab/lab.js';
import { describeMachine } from './machine.js';
import { runMicro } from './micro/micro.js';
import { parseOptions } from './options.js';
import { section } from './table.js';

try {
  await main();
} catch (error) {
  console.error(`bench: ${(error as Error).message}`);
  process.exit(1);
}

async function main(): Promise<void> {
  const options = parseOptions(process.argv.slice(2));
  const machine = await describeMachine();
  section(
    'Machine',
    Object.entries(machine)
      .map(([what, value]) => `${what.padEnd(9)} ${value}`)
      .join('\n'),
  );
  const micro = options.micro ? runMicro(options.short) : undefined;
  const lab = options.lab ? await runLab(options) : undefined;
  if (lab) printLab(lab);
  console.log(`\n${save({ date: new Date().toISOString(), options, machine, micro, lab })}`);
}

/** @returns the file's path from the root. */
function save(results: { date: string; [part: string]: unknown }): string {
  mkdirSync('bench/results', { recursive: true });
  const file = join('bench/results', `${results.date.replace(/[:.]/g, '-')}.json`);
  writeFileSync(file, `${JSON.stringify(results, null, 2)}\n`);
  return file;
}
