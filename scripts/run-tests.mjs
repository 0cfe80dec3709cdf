/**
 * Compiles the tests, runs files of them, many of them in one process, and reads the TAP that node-tap writes there: a line
 * for each test, and the whole of what tap says about one that fails. Counts tests, the `t.test` blocks of a file: not
 * assertions.
 *
 * tap's own runner is left out. It preloads every Node below a test, daemons included, with hooks that take down which
 * modules are loaded: with them a daemon's start takes two thirds more of the processor.
 */
import { spawn } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { createInterface } from 'node:readline';
import { NODE_OPTION } from './compiled-tests.mjs';
import { node, root } from './set-up.mjs';

/**
 * @typedef {{file: string, name: string, ok: boolean, skipped: boolean}} Result
 */

/**
 * All test files, as paths from the root, in the order to run them in: the longest first, so that none runs on when all others
 * are done. Files of a list share a process. Labs have one each; they need root, iproute2 and a kernel with vxlan. Those that
 * depend on having the machine, or a process, for themselves are listed in test/order.json, each with the reason.
 *
 * @returns {Record<'units' | 'labs' | 'labsAlone', string[][]>}
 */
export function testFiles() {
  const { alone, apart, first } = JSON.parse(readFileSync(join(root, 'test/order.json'), 'utf8'));
  const found = readdirSync(join(root, 'test'), { recursive: true })
    .filter((file) => file.endsWith('.test.ts'))
    .map((file) => `test/${file}`)
    .sort();
  const gone = [...first, ...Object.keys(alone), ...Object.keys(apart)].filter(
    (file) => !found.includes(file),
  );
  if (gone.length > 0) throw new Error(`test/order.json: no such file: ${gone.join(', ')}`);
  const files = [...new Set([...first, ...found])];
  const isLab = (file) => file.startsWith('test/lab/') || file.endsWith('.lab.test.ts');
  const each = (some) => some.map((file) => [file]);
  const units = files.filter((file) => !isLab(file));
  return {
    units: [
      ...each(units.filter((file) => file in apart)),
      ...byFolder(units.filter((file) => !(file in apart))),
    ],
    labs: each(files.filter((file) => isLab(file) && !(file in alone))),
    labsAlone: each(files.filter((file) => file in alone)),
  };
}

/** Files of a folder load much the same modules. */
function byFolder(files) {
  const folders = new Map();
  for (const file of files) folders.set(dirname(file), [...(folders.get(dirname(file)) ?? []), file]);
  return [...folders.values()];
}

/** Arguments of node: compiles src, test and bench for `runTests`, and checks their types. With wrong types they run all the same. */
export const COMPILE_TESTS = ['node_modules/typescript/bin/tsc', '-p', 'test', '--sourceRoot', `${root}/`];

/**
 * Compiles what `COMPILE_TESTS` says.
 *
 * @returns {boolean} whether types are right; what is wrong stands on the terminal
 */
export function compileTests() {
  return node(...COMPILE_TESTS).status === 0;
}

/**
 * Runs files in this order. What a file says is shown when it has ended: that of two never mixes.
 *
 * @param {string[][]} lists a process for each
 * @param {{jobs: number, timeoutS: number}} options how many processes at once; the most that one may take
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

/** @returns {Promise<Result[]>} */
async function runProcess(files, timeoutS) {
  // Where a machine has authorities of its own, reading them is half of what each Node starts with; no test goes outside.
  const { NODE_EXTRA_CA_CERTS: _, ...env } = process.env;
  const program = files.length > 1 ? ['scripts/together.mjs', ...files] : files;
  const child = spawn(process.execPath, ['--enable-source-maps', NODE_OPTION, ...program], {
    cwd: root,
    stdio: ['ignore', 'pipe', 'inherit'],
    env: { ...env, TAP_TIMEOUT: String(timeoutS) },
  });
  const exited = new Promise((resolve) => child.on('close', (code) => resolve(code === 0)));
  // tap says at the limit which test it was; who does not end then is ended.
  const limits = ['SIGTERM', 'SIGKILL'].map((signal, i) =>
    setTimeout(() => child.kill(signal), (timeoutS + GRACE_S * (i + 1)) * 1000),
  );
  const follower = files.length > 1 ? new FilesFollower(files) : new FileFollower(files[0]);
  for await (const line of createInterface({ input: child.stdout })) follower.take(line);
  const ok = await exited;
  for (const limit of limits) clearTimeout(limit);
  return follower.end(ok);
}

const GRACE_S = 10;
const POINT = /^(not )?ok \d+ - (.*?)(?: # (SKIP|TODO)\b.*| # time=([\d.]+)ms.*)?$/;
const INDENT = '    ';
const COMMENT = /^ {4}# (?!Subtest|time=)/;
const PLAN = /^1\.\.\d+/;

/** Reads the TAP of several files: each is a test at the margin, with its own TAP indented before the point. */
class FilesFollower {
  #waiting;
  /** @type {FileFollower | undefined} */
  #file;
  #results = [];
  #allOk = true;

  constructor(files) {
    this.#waiting = [...files];
  }

  take(line) {
    const [isPoint, not] = POINT.exec(line) ?? [];
    if (isPoint) this.#next(not === undefined);
    else if (line.startsWith(INDENT))
      (this.#file ??= new FileFollower(this.#waiting[0])).take(line.slice(INDENT.length));
  }

  /** A file that was not run to its end has failed; if none has, but the process, that counts as one failed test. */
  end(exitedWell) {
    while (this.#waiting.length > 0) this.#next(false);
    if (!exitedWell && this.#allOk)
      this.#results.push({ ...this.#results.at(-1), name: 'the process', ok: false });
    return this.#results;
  }

  #next(ok) {
    const file = this.#file ?? new FileFollower(this.#waiting[0]);
    this.#waiting.shift();
    this.#file = undefined;
    this.#allOk &&= ok;
    this.#results.push(...file.end(ok));
  }
}

/** Reads the TAP of one file: points at the margin are tests. */
class FileFollower {
  #file;
  /** @type {Result[]} */
  #results = [];
  /** What is to be shown of it. */
  #shown = [];
  /** What was said since the last test: shown if the next one fails. */
  #lines = [];
  /** A failure was shown, what follows explains it. */
  #explains = false;
  /** The number of tests was told, which comes last. */
  #isWhole = false;

  constructor(file) {
    this.#file = file;
  }

  take(line) {
    const [isPoint, not, name, directive, timeMs] = POINT.exec(line) ?? [];
    if (isPoint) this.#test(name, not === undefined, directive, timeMs);
    else if (PLAN.test(line)) this.#isWhole = true;
    else if (this.#explains && !/^ *# Subtest/.test(line)) this.#shown.push(line);
    else this.#collect(line);
  }

  /** Shows all of it. A file that fails though all its tests are well counts as one failed test. */
  end(exitedWell) {
    const file = this.#file;
    const ok = exitedWell && this.#isWhole;
    const explained = this.#results.some((result) => !result.ok && !result.skipped);
    if (!ok) this.#shown.push(...this.#lines);
    if (!ok && !explained) this.#results.push({ name: 'the file itself', ok: false, skipped: false });
    console.log([...this.#shown, `${ok ? 'ok  ' : 'FAIL'} ${file}`].join('\n'));
    return this.#results.map((result) => ({ ...result, file }));
  }

  /** A comment of a test, such as a figure it measured, is shown. */
  #collect(line) {
    this.#explains = false;
    if (COMMENT.test(line)) this.#shown.push(line);
    else this.#lines.push(line);
  }

  #test(name, ok, directive, timeMs) {
    if (!ok) this.#shown.push(...this.#lines);
    this.#lines = [];
    this.#explains = !ok;
    const skipped = directive !== undefined;
    this.#results.push({ name, ok: ok && !skipped, skipped });
    this.#shown.push(
      `  ${ok ? (skipped ? 'skip' : 'ok  ') : 'FAIL'} ${name}${timeMs ? ` (${seconds(timeMs)})` : ''}`,
    );
  }
}

function seconds(ms) {
  return `${(Number(ms) / 1000).toFixed(1)} s`;
}
