/**
 * `npm run check`: format and lint, types of src, test and bench, then the tests that need no root; the import graph is
 * among them. All steps run, whatever becomes of one.
 */
import { runTests, testFiles } from './run-tests.mjs';
import { node, setUp } from './set-up.mjs';

const UNIT_TIMEOUT_S = 240;

setUp();

const steps = [
  ['format and lint', 'node_modules/@biomejs/biome/bin/biome', 'ci', '--error-on-warnings', '.'],
  ['types of src', 'node_modules/typescript/bin/tsc', '--noEmit', '--incremental', 'false'],
  ['types of test', 'node_modules/typescript/bin/tsc', '-p', 'test'],
  ['types of bench', 'node_modules/typescript/bin/tsc', '-p', 'bench', '--noEmit', '--incremental', 'false'],
];
const failed = steps.filter(([name, ...command]) => {
  console.log(`${name}:`);
  return node(...command).status !== 0;
});
const results = await runTests(testFiles().units, { jobs: 2, timeoutS: UNIT_TIMEOUT_S });
const failures = results.filter((result) => !result.ok && !result.skipped);

for (const [name] of failed) console.log(`FAIL ${name}`);
for (const { file, name } of failures) console.log(`FAIL ${file}: ${name}`);
process.exitCode = failed.length + failures.length === 0 ? 0 : 1;
