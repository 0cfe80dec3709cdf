/**
 * Compiles the tests, runs files of them through node-tap and follows its output: a line for each test as it ends,
 * and the whole of what tap says about one that fails. Counts tests, the `t.test` blocks of a file: not assertions.
 */
import { spawn } from 'node:child_process';
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { NODE_OPTION } from './compiled-tests.mjs';
import { node, root } from './set-up.mjs';

/**
 * @typedef {{file: string, name: string, ok: boolean, skipped: boolean}} Result
 */

/** All test files, as paths from the root. Labs need root, iproute2 and a kernel with vxlan. */
export function testFiles() {
  const files = readdirSync(join(root, 'test'), { recursive: true })
    .filter((file) => file.endsWith('.test.ts'))
    .map((file) => `test/${file}`)
    .sort();
  const isLab = (file) => file.startsWith('test/lab/') || file.endsWith('.lab.test.ts');
  return { labs: files.filter(isLab), units: files.filter((file) => !isLab(file)) };
}

/**
 * Compiles src and test for `runTests`, and checks their types. With wrong types they run all the same.
 *
 * @returns {boolean} whether types are right; what is wrong stands on the terminal
 */
export function compileTests() {
  return node('node_modules/typescript/bin/tsc', '-p', 'test', '--sourceRoot', `${root}/`).status === 0;
}

/**
 * @param {string[]} files
 * @param {{jobs: number, timeoutS: number}} options how many files at once; the most that one may take
 * @returns {Promise<Result[]>}
 */
export async function runTests(files, { jobs, timeoutS }) {
  const tap = join(root, 'node_modules/tap/dist/esm/run.mjs');
  const flags = ['run', '--reporter=tap', `--jobs=${jobs}`, `--timeout=${timeoutS}`];
  // tap's own compiler is left out.
  flags.push('--test-env=TAP_TYPE_STRIP_ONLY=1', `--node-arg=${NODE_OPTION}`);
  const child = spawn(process.execPath, [tap, ...flags, ...files], {
    cwd: root,
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const exited = new Promise((resolve) => child.on('close', resolve));
  const follower = new Follower();
  for await (const line of createInterface({ input: child.stdout })) follower.take(line);
  const results = follower.results;
  const missed = (await exited) !== 0 && results.every((result) => result.ok || result.skipped);
  return missed ? [...results, { file: '', name: 'tap itself', ok: false, skipped: false }] : results;
}

const POINT = /^( *)(not )?ok \d+ - (.*?)(?: # (SKIP|TODO)\b.*| # time=([\d.]+)ms.*)?$/;
const COMMENT = /^ {8}# (?!Subtest|time=)/;
const FILE_DEPTH = 0;
const TEST_DEPTH = 4;

/** Reads TAP: points indented by four are tests, those at the margin are files. */
class Follower {
  /** @type {Result[]} */
  results = [];
  #ofThisFile = [];
  /** What was said since the last test: shown if the next one fails. */
  #lines = [];
  /** A failure was shown, what follows explains it. */
  #explains = false;

  take(line) {
    const [, indent, not, name, directive, timeMs] = POINT.exec(line) ?? [];
    const depth = indent?.length;
    if (depth === TEST_DEPTH) this.#test(name, not === undefined, directive, timeMs);
    else if (depth === FILE_DEPTH) this.#file(name, not === undefined);
    else if (this.#explains && !/^ *# Subtest/.test(line)) console.log(line);
    else this.#collect(line);
  }

  /** A comment of a test, such as a figure it measured, is shown at once. */
  #collect(line) {
    this.#explains = false;
    if (COMMENT.test(line)) console.log(line.slice(TEST_DEPTH));
    else this.#lines.push(line);
  }

  #test(name, ok, directive, timeMs) {
    if (!ok) console.log(this.#lines.join('\n'));
    this.#lines = [];
    this.#explains = !ok;
    const skipped = directive !== undefined;
    this.#ofThisFile.push({ file: '', name, ok: ok && !skipped, skipped });
    console.log(
      `  ${ok ? (skipped ? 'skip' : 'ok  ') : 'FAIL'} ${name}${timeMs ? ` (${seconds(timeMs)})` : ''}`,
    );
  }

  /** A file that fails though all its tests are well counts as one failed test. */
  #file(file, ok) {
    if (!ok) console.log(this.#lines.join('\n'));
    console.log(`${ok ? 'ok  ' : 'FAIL'} ${file}`);
    const own = this.#ofThisFile.map((result) => ({ ...result, file }));
    const explained = own.some((result) => !result.ok && !result.skipped);
    if (!ok && !explained) own.push({ file, name: 'the file itself', ok: false, skipped: false });
    this.results.push(...own);
    this.#ofThisFile = [];
    this.#lines = [];
    this.#explains = !ok;
  }
}

function seconds(ms) {
  return `${(Number(ms) / 1000).toFixed(1)} s`;
}
