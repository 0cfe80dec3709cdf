/**
 * `npm run check`: format and lint, types of src, test and bench, then the tests that need no root; the import graph is
 * among them. All steps run, whatever becomes of one. The 100,000 random cases of the offloads run in `npm test`.
 */
import { compileTests, runTests, testFiles } from './run-tests.mjs';
import { node, setUp } from './set-up.mjs';

const UNIT_TIMEOUT_S = 240;

setUp();

const succeeds = (...command) => node(...command).status === 0;
const steps = [
  [
    'format and lint',
    () => succeeds('node_modules/@biomejs/biome/bin/biome', 'ci', '--error-on-warnings', '.'),
  ],
  ['types of src and test', compileTests],
  [
    'types of bench',
    () => succeeds('node_modules/typescript/bin/tsc', '-p', 'bench', '--noEmit', '--incremental', 'false'),
  ],
];
const failed = steps.filter(([name, step]) => {
  console.log(`${name}:`);
  return !step();
});
const results = await runTests(testFiles().units, { jobs: 2, timeoutS: UNIT_TIMEOUT_S });
const failures = results.filter((result) => !result.ok && !result.skipped);

for (const [name] of failed) console.log(`FAIL ${name}`);
for (const { file, name } of failures) console.log(`FAIL ${file}: ${name}`);
process.exitCode = failed.length + failures.length === 0 ? 0 : 1;
