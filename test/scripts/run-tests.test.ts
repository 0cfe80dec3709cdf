/**
 * Files that share a process: what becomes of one is told of that one, and a process that ends early fails those it did not
 * come to. Run from a process of its own, as what it says is TAP's kind.
 */
import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import t, { type Test } from 'tap';

const RUN_TESTS = new URL('../../scripts/run-tests.mjs', import.meta.url).href;

const HEAD = `import t from 'tap';\n`;
const GOOD = `${HEAD}t.test('good', async (t) => t.ok(true));\nt.test('plans nothing', (t) => t.plan(0, 'not on this machine'));\n`;
const BAD = `${HEAD}t.test('bad', async (t) => t.ok(false));\nt.test('good all the same', async (t) => t.ok(true));\n`;
const BROKEN = `${HEAD}t.test('never', async (t) => t.ok(true));\nthrow new Error('while it is loaded');\n`;
const GONE = `${HEAD}t.test('ends the process', async () => process.exit(0));\n`;
const LATE = `${HEAD}setTimeout(() => process.exit(3), 100);\nprocess.exitCode = 3;\nt.test('good', async (t) => t.ok(true));\n`;

/** What `runTests` says of such files in one process: `file: name`, and what it was. */
function resultsOf(t: Test, files: Record<string, string>): string[] {
  const dir = t.testdir(
    Object.fromEntries(Object.entries(files).map(([name, text]) => [`${name}.test.mjs`, text])),
  );
  const paths = Object.keys(files).map((name) => join(dir, `${name}.test.mjs`));
  const program = `
    const { runTests } = await import('${RUN_TESTS}');
    const results = await runTests([${JSON.stringify(paths)}], { jobs: 1, timeoutS: 20 });
    console.log(JSON.stringify(results));`;
  const { stdout } = spawnSync(process.execPath, ['--input-type=module', '--eval', program], {
    encoding: 'utf8',
  });
  const results = JSON.parse(stdout.trim().split('\n').at(-1)!) as {
    file: string;
    name: string;
    ok: boolean;
    skipped: boolean;
  }[];
  return results.map(({ file, name, ok, skipped }) => {
    const what = skipped ? 'skipped' : ok ? 'ok' : 'failed';
    return `${file.slice(dir.length + 1).replace('.test.mjs', '')}: ${name}: ${what}`;
  });
}

t.test('one that fails does not touch the next', async (t) => {
  t.same(resultsOf(t, { one: GOOD, two: BAD, three: GOOD }), [
    'one: good: ok',
    'one: plans nothing: skipped',
    'two: bad: failed',
    'two: good all the same: ok',
    'three: good: ok',
    'three: plans nothing: skipped',
  ]);
});

t.test('one that cannot be loaded', async (t) => {
  const results = resultsOf(t, { one: BROKEN, two: GOOD });
  t.ok(
    results.some((line) => /^one: .*: failed$/.test(line)),
    `${results}`,
  );
  t.ok(results.includes('two: good: ok'), 'the next runs');
});

t.test('a process that ends too early fails the file that it was at, and all behind it', async (t) => {
  const failed = resultsOf(t, { one: GOOD, two: GONE, three: GOOD }).filter((line) =>
    line.endsWith(': failed'),
  );
  t.same(
    failed.map((line) => line.split(':')[0]),
    ['two', 'three'],
  );
});

t.test('a process that fails though all tests are well', async (t) => {
  const results = resultsOf(t, { one: GOOD, two: LATE });
  t.same(results.at(-1), 'two: the process: failed');
});
