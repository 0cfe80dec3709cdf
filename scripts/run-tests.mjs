/**
 * Runner of test files. Prints a line per test (a `t.test` block of a file, not an assertion), the
 * comments of tests, such as figures they measure, and the whole TAP of a test that fails.
 *
 * `tap run` is not used. It preloads its module tracking into every Node process that a test
 * starts, including daemons. Each of these starts then costs two thirds more CPU time.
 */
import { spawn } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { Parser } from 'tap-parser';
import { root } from './set-up.mjs';

/**
 * Result of one test; a skipped test is not ok.
 *
 * @typedef {{file: string, name: string, ok: boolean, skipped: boolean}} Result
 */

const NODE_OPTIONS = ['--enable-source-maps', `--import=${new URL('compiled-tests.mjs', import.meta.url)}`];
/**
 * Seconds from the time limit of a process to SIGTERM, and from SIGTERM to SIGKILL. tap itself
 * reports at the time limit.
 */
const GRACE_S = 10;

/**
 * All test files by stage, in the order of test/order.json. Each list is run by one process. Labs
 * need root, iproute2 and a kernel with vxlan.
 *
 * @returns {Record<'units' | 'labs' | 'labsAlone', string[][]>}
 */
export function testFiles() {
  const { alone, apart, first } = JSON.parse(readFileSync(join(root, 'test/order.json'), 'utf8'));
  const found = readdirSync(join(root, 'test'), { recursive: true })
    .filter((file) => file.endsWith('.test.ts'))
    .map((file) => `test/${file}`)
    .sort();
  const missing = [...first, ...Object.keys({ ...alone, ...apart })].filter((file) => !found.includes(file));
  if (missing.length > 0) throw new Error(`test/order.json: no such file: ${missing.join(', ')}`);

  const lists = { units: [], labs: [], labsAlone: [] };
  const folders = {};
  for (const file of new Set([...first, ...found])) {
    if (file in alone) lists.labsAlone.push([file]);
    else if (file.startsWith('test/lab/') || file.endsWith('.lab.test.ts')) lists.labs.push([file]);
    else if (file in apart) lists.units.push([file]);
    else (folders[dirname(file)] ??= []).push(file);
  }
  lists.units.push(...Object.values(folders));
  return lists;
}

/**
 * Runs lists of files in this order. The output of a file is printed when the file has ended.
 *
 * @param {string[][]} lists files of one process each
 * @param {{jobs: number, timeoutS: number}} options processes at once; time limit of one process
 * @returns {Promise<Result[]>}
 */
export async function runTests(lists, { jobs, timeoutS }) {
  const waiting = [...lists];
  const results = [];
  const work = async () => {
    for (let files = waiting.shift(); files; files = waiting.shift())
      results.push(...(await runProcess(files, timeoutS)));
  };
  await Promise.all(Array.from({ length: jobs }, work));
  return results;
}

/**
 * Prints the tests that failed or were skipped, and last the line `N passed, N failed`, in which a
 * skipped test counts as failed.
 *
 * @param {Result[]} results
 * @returns {boolean} true if all passed
 */
export function summarize(results) {
  const failed = results.filter(({ ok }) => !ok);
  for (const { file, name, skipped } of failed) console.log(`${skipped ? 'SKIP' : 'FAIL'} ${file}: ${name}`);
  console.log(`${results.length - failed.length} passed, ${failed.length} failed`);
  return failed.length === 0;
}

/** @returns {Promise<Result[]>} */
async function runProcess(files, timeoutS) {
  // Reading the machine's certificate authorities is half of Node's start-up time, and no test
  // connects to the outside.
  const { NODE_EXTRA_CA_CERTS: _, ...env } = process.env;
  const isShared = files.length > 1;
  const program = isShared ? ['scripts/together.mjs', ...files] : files;
  const child = spawn(process.execPath, [...NODE_OPTIONS, ...program], {
    cwd: root,
    stdio: ['ignore', 'pipe', 'inherit'],
    env: { ...env, TAP_TIMEOUT: String(timeoutS) },
  });
  const limits = ['SIGTERM', 'SIGKILL'].map((signal, i) =>
    setTimeout(() => child.kill(signal), (timeoutS + GRACE_S * (i + 1)) * 1000),
  );
  const closed = new Promise((resolve) => child.on('close', (code, signal) => resolve(signal ?? code)));
  const parser = new Parser();
  const end = isShared ? reportShared(files, parser) : reportOne(files[0], parser);
  child.stdout.setEncoding('utf8').pipe(parser);
  const exit = await closed;
  for (const limit of limits) clearTimeout(limit);
  return end(exit === 0 ? undefined : `the process ended with ${exit}`);
}

/** @returns {(failure?: string) => Result[]} ends the report; failure: error of the process */
function reportOne(file, parser) {
  const report = new Report(parser);
  return (failure) => report.end(file, failure);
}

/**
 * Variant of `reportOne` for files that are subtests of one process. The test point that closes a subtest
 * names its file. tap repeats that point after some timeouts: only the first one counts.
 */
function reportShared(files, parser) {
  const waiting = new Set(files);
  const results = [];
  let report;
  const end = (file, failure) => {
    if (waiting.delete(file)) results.push(...(report ?? new Report()).end(file, failure));
    report = undefined;
  };
  parser.on('child', (child) => (report = new Report(child)));
  parser.on('assert', ({ name, ok }) => end(name, ok ? undefined : 'failed outside of its tests'));
  return (failure) => {
    for (const file of waiting) end(file, failure ?? 'did not run');
    const isExplained = failure === undefined || results.some(({ ok, skipped }) => !ok && !skipped);
    return isExplained ? results : [...results, fileFailure(files.at(-1), failure)];
  };
}

/** The tests of one file. */
class Report {
  /** @type {Omit<Result, 'file'>[]} */
  #results = [];
  #shown = [];
  /** TAP since the last test. */
  #lines = [];
  /**
   * State of the assertions of the current test at any depth: failed or marked `todo`, skipped.
   */
  #inside = { failed: false, skipped: false };
  /** tap-parser's summary of the file. */
  #summary = { ok: false, count: 0, bailout: false, plan: undefined };

  /** @param parser undefined: the file did not start */
  constructor(parser) {
    parser?.on('line', (line) => this.#lines.push(line.trimEnd()));
    parser?.on('assert', (point) => this.#test(point));
    parser?.on('child', (child) => this.#watch(child));
    parser?.on('complete', (summary) => (this.#summary = summary));
  }

  /** Prints the file. A failure that no failed test explains counts as one failed test. */
  end(file, failure) {
    const { ok, count, bailout, plan } = this.#summary;
    const explained = this.#results.some((result) => !result.ok && !result.skipped);
    const isWhole = plan?.end === count;
    if (bailout) failure = `bailed out: ${bailout}`;
    else if (explained && isWhole) failure = undefined;
    else if (failure === undefined && count === 0) failure = 'ran no test';
    else if (failure === undefined && !ok) failure = 'its plan does not match its tests';
    if (failure) this.#shown.push(...this.#lines);
    const mark = failure || explained ? 'FAIL' : 'ok  ';
    console.log([...this.#shown, `${mark} ${file}${failure ? `: ${failure}` : ''}`].join('\n'));
    const own = failure && !explained ? [fileFailure(file, failure)] : [];
    return [...this.#results.map((result) => ({ file, ...result })), ...own];
  }

  #watch(child) {
    child.on('assert', (point) => this.#noticeInside(point));
    child.on('comment', (text) => this.#comment(text.trim()));
    child.on('child', (grandchild) => this.#watch(grandchild));
  }

  #noticeInside({ ok, skip, todo }) {
    if (!ok || todo) this.#inside.failed = true;
    if (skip) this.#inside.skipped = true;
  }

  /** Shows a comment of a test. Comments that tap itself adds are not shown. */
  #comment(text) {
    if (!/^# (Subtest|time=)/.test(text)) this.#shown.push(`    ${text}`);
  }

  #test(point) {
    this.#noticeInside(point);
    const { failed, skipped: isSkipped } = this.#inside;
    this.#inside = { failed: false, skipped: false };
    const skipped = isSkipped && !failed;
    const mark = failed ? 'FAIL' : skipped ? 'skip' : 'ok  ';
    const time = point.time === null ? '' : ` (${(point.time / 1000).toFixed(1)} s)`;
    if (failed || skipped) this.#shown.push(...this.#lines);
    this.#lines = [];
    this.#shown.push(`  ${mark} ${point.name}${time}`);
    this.#results.push({ name: point.name, ok: !failed && !skipped, skipped });
  }
}

/** @returns {Result} */
function fileFailure(file, failure) {
  return { file, name: `(file) ${failure}`, ok: false, skipped: false };
}
