/**
 * Runner of `npm test` with small test files: each kind of failure, in a process with one file and
 * in a process with several. The runner runs in a child process, because it prints TAP.
 */
import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import t, { type Test } from 'tap';

const RUN_TESTS = new URL('../../scripts/run-tests.mjs', import.meta.url).href;

const HEAD = `import t from 'tap';\n`;
const GOOD = `t.test('good', async (t) => t.ok(true));\n`;

/**
 * @returns output of the runner, the numbers of its last line, and the files of the failures above
 * that line
 */
function run(t: Test, lists: Record<string, string>[], timeoutS = 60) {
  const files = Object.entries(Object.assign({}, ...lists) as Record<string, string>);
  const dir = t.testdir(Object.fromEntries(files.map(([name, text]) => [`${name}.test.mjs`, HEAD + text])));
  const paths = lists.map((list) => Object.keys(list).map((name) => join(dir, `${name}.test.mjs`)));
  const program = `
    const { runTests, summarize } = await import('${RUN_TESTS}');
    const results = await runTests(${JSON.stringify(paths)}, { jobs: 3, timeoutS: ${timeoutS} });
    process.exitCode = summarize(results) ? 0 : 1;`;
  const { stdout, status } = spawnSync(process.execPath, ['--input-type=module', '--eval', program], {
    encoding: 'utf8',
  });
  const output = stdout.replaceAll(`${dir}/`, '').replaceAll('.test.mjs', '');
  const [, passed, failed] = /\n(\d+) passed, (\d+) failed\n$/.exec(output) ?? [];
  const failures = output
    .split('\n')
    .slice(-2 - Number(failed), -2)
    .map((line) => /^(?:FAIL|SKIP) (\w+): /.exec(line)?.[1]);
  t.equal(status, failed === '0' ? 0 : 1, 'exit code');
  return { output, passed: Number(passed), failed: Number(failed), failures: new Set(failures) };
}

/** Text that follows the good test of a file, and the expected output of the runner. */
const FAILURES: Record<string, [text: string, expected: RegExp]> = {
  assertion: [
    `t.test('bad', async (t) => t.equal(1, 2, 'one is two'));`,
    /not ok 1 - one is two.* {2}FAIL bad .*FAIL assertion\n/s,
  ],
  nested: [
    `t.test('bad', (t) => t.test('in', async (t) => t.fail('deep')));`,
    /not ok 1 - deep.*FAIL nested\n/s,
  ],
  skip: [`t.test('lab', { skip: 'no tool' }, async () => {});`, /# SKIP no tool\n {2}skip lab\n/],
  skipInside: [
    `t.test('lab', async (t) => t.pass('it', { skip: 'no root' }));`,
    /# SKIP no root.* {2}skip lab/s,
  ],
  emptyPlan: [`t.test('lab', (t) => t.plan(0, 'not here'));`, /# SKIP not here\n {2}skip lab/],
  todo: [`t.test('later', { todo: true }, async (t) => t.fail());`, / {2}FAIL later.*FAIL todo\n/s],
  todoInside: [
    `t.test('later', async (t) => t.fail('it', { todo: true }));`,
    / {2}FAIL later.*FAIL todoInside\n/s,
  ],
  teardown: [
    `t.test('lab', async (t) => { t.teardown(() => { throw new Error('left behind'); }); t.ok(true); });`,
    /left behind.*FAIL teardown\n/s,
  ],
  fileTeardown: [`t.teardown(() => { throw new Error('left behind'); });`, /FAIL fileTeardown/],
  plan: [`t.plan(3);`, /FAIL plan/],
  error: [`throw new Error('broken');`, /broken.*FAIL error/s],
  bailOut: [`t.test('lab', async (t) => t.bailout('no kernel'));`, /FAIL bailOut: bailed out: no kernel\n/],
  exit: [`t.test('gone', () => process.exit(0));`, /FAIL exit/],
  exitOutside: [
    `setTimeout(() => process.exit(0)); t.test('gone', () => new Promise(() => {}));`,
    /FAIL exitOutside/,
  ],
  killed: [
    `t.test('gone', () => process.kill(process.pid, 'SIGKILL'));`,
    /FAIL killed: the process ended with SIGKILL\n/,
  ],
  exitCode: [`process.on('exit', () => process.exit(3));`, /FAIL exitCode: the process ended with 3\n/],
};

t.test('each kind of failure is counted and explained', async (t) => {
  const lists = Object.entries(FAILURES).map(([name, [text]]) => ({ [name]: `${GOOD}${text}` }));
  const { output, failures } = run(t, lists);
  for (const [name, [, expected]] of Object.entries(FAILURES)) {
    t.match(output, expected, name);
    t.ok(failures.has(name), `${name} is counted`);
  }
});

t.test('a file without tests is a failure', async (t) => {
  const { output, failures } = run(t, [{ empty: '', gone: 'process.exit(0);' }, { alone: '' }]);
  t.match(output, /FAIL alone: ran no test\n/);
  t.same([...failures].sort(), ['alone', 'empty', 'gone']);
});

t.test('a test that hangs fails at the time limit', async (t) => {
  const hangs = `setInterval(() => {}, 1000); t.test('hangs', () => new Promise(() => {}));`;
  const { output, failures } = run(t, [{ x: `${GOOD}${hangs}` }], 2);
  t.match(output, /timeout!.*FAIL x/s);
  t.same([...failures], ['x']);
});

t.test('the runner prints a line for each passed test, and the figures that it measured', async (t) => {
  const measures = `t.test('fast', async (t) => { t.comment('3.5 Gb/s'); t.ok(true); });`;
  const { output, passed } = run(t, [{ x: GOOD + measures }]);
  t.equal(passed, 2);
  t.match(
    output,
    /^ {2}ok {3}good \(.* s\)\n {4}# 3\.5 Gb\/s\n {2}ok {3}fast \(.* s\)\nok {3}x\n2 passed, 0 failed\n$/,
  );
});

t.test('each file of a process has its own `t`', async (t) => {
  const bad = `t.plan(2); t.test('bad', async (t) => t.ok(false));\n${GOOD}`;
  const { output, passed, failed } = run(t, [{ one: `t.plan(1);${GOOD}`, two: bad, three: GOOD }]);
  t.same([passed, failed], [3, 1]);
  t.match(output, /ok {3}one\n.*FAIL two\n.*ok {3}three\nFAIL two: bad\n/s);
});

t.test('an error in one file of a process does not affect the others', async (t) => {
  const { passed, failures } = run(t, [{ one: `throw new Error('broken');`, two: GOOD }]);
  t.equal(passed, 1);
  t.same([...failures], ['one']);
});

t.test('a test that blocks beyond its limit does not affect the next files', async (t) => {
  const block = 'Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 1000);';
  const slow = `t.test('slow', { timeout: 500 }, async (t) => { ${block} t.ok(true); });`;
  const { passed, failures } = run(t, [{ one: slow, two: GOOD, three: GOOD, four: GOOD }]);
  t.equal(passed, 3);
  t.same([...failures], ['one']);
});

t.test('files that a process did not start or finish before its end count as failed', async (t) => {
  const gone = `t.test('gone', () => process.exit(0));`;
  const { passed, failures } = run(t, [{ one: GOOD, two: gone, three: GOOD }]);
  t.equal(passed, 1);
  t.same([...failures], ['two', 'three']);
});

t.test('a process with several files fails if its exit code is not 0', async (t) => {
  const { output, passed } = run(t, [
    { one: GOOD, two: `process.on('exit', () => process.exit(3));\n${GOOD}` },
  ]);
  t.equal(passed, 2);
  t.match(output, /FAIL two: .*ended with 3\n2 passed, 1 failed\n$/);
});
