/**
 * `npm run check`: format and lint, types of src, test and bench, then the tests that need no root; the import graph is
 * among them. All steps run, whatever becomes of one. The 100,000 random cases of the offloads run in `npm test`.
 */
import { spawn } from 'node:child_process';
import { compileTests, runTests, testFiles } from './run-tests.mjs';
import { root, setUp } from './set-up.mjs';

const UNIT_TIMEOUT_S = 240;

setUp();

// Side by side with the compiler, whose work the tests wait for.
const beside = [
  ['format and lint', quietly('node_modules/@biomejs/biome/bin/biome', 'ci', '--error-on-warnings', '.')],
  [
    'types of bench',
    quietly('node_modules/typescript/bin/tsc', '-p', 'bench', '--noEmit', '--incremental', 'false'),
  ],
];
const steps = [['types of src and test', compileTests()]];
for (const [name, running] of beside) {
  const { ok, output } = await running;
  if (!ok) console.log(`${name}:\n${output}`);
  steps.push([name, ok]);
}
const results = await runTests(testFiles().units, { jobs: 2, timeoutS: UNIT_TIMEOUT_S });
const failures = results.filter((result) => !result.ok && !result.skipped);

const failed = steps.filter(([, ok]) => !ok);
for (const [name] of failed) console.log(`FAIL ${name}`);
for (const { file, name } of failures) console.log(`FAIL ${file}: ${name}`);
process.exitCode = failed.length + failures.length === 0 ? 0 : 1;

/** Runs a Node program of this project, and gives what it said. */
function quietly(...command) {
  const child = spawn(process.execPath, command, { cwd: root, stdio: ['ignore', 'pipe', 'pipe'] });
  let output = '';
  for (const stream of [child.stdout, child.stderr]) stream.on('data', (text) => (output += text));
  return new Promise((resolve) => child.on('close', (code) => resolve({ ok: code === 0, output })));
}
