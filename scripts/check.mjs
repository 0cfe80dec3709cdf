/**
 * `npm run check`: format and lint, types of src, test and bench, then the tests of single modules.
 *
 * A failed step does not stop the others. Tests that need root or a missing tool are skipped; a
 * skip fails only `npm test`. Tests that measure or take long run only in `npm test`: the 100,000
 * random cases of the offloads, the heap of the hot path.
 */
import { spawn } from 'node:child_process';
import { root, setUp } from './set-up.mjs';

const UNIT_TIMEOUT_S = 900;
/** Processes at once. Some tests mostly wait, so three processes keep two cores busy. */
const UNITS_AT_ONCE = 3;

setUp({ build: false });
// Imported here because it needs a package that setUp installs.
const { runTests, testFiles } = await import('./run-tests.mjs');

const steps = await Promise.all([
  quietly('build', 'scripts/build.mjs'),
  quietly('types of src, test and bench', 'scripts/compile-tests.mjs'),
  quietly('format and lint', 'node_modules/@biomejs/biome/bin/biome', 'ci', '--error-on-warnings', '.'),
]);
for (const { name, ok, output } of steps) if (!ok) console.log(`${name}:\n${output}`);
const results = await runTests(testFiles().units, { jobs: UNITS_AT_ONCE, timeoutS: UNIT_TIMEOUT_S });
const failures = results.filter((result) => !result.ok && !result.skipped);

const failed = steps.filter(({ ok }) => !ok);
for (const { name } of failed) console.log(`FAIL ${name}`);
for (const { file, name } of failures) console.log(`FAIL ${file}: ${name}`);
process.exitCode = failed.length + failures.length === 0 ? 0 : 1;

/** Runs a Node program of this project as a step, and collects its output. */
function quietly(name, ...command) {
  const child = spawn(process.execPath, command, { cwd: root, stdio: ['ignore', 'pipe', 'pipe'] });
  let output = '';
  for (const stream of [child.stdout, child.stderr]) stream.on('data', (text) => (output += text));
  return new Promise((resolve) => child.on('close', (code) => resolve({ name, ok: code === 0, output })));
}
