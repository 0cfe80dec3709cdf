/**
 * `npm run fuzz`: coverage-guided fuzzing of the C shim with libFuzzer.
 *
 * Each target of native-shims/test/fuzz/ is built with the address and undefined-behaviour
 * sanitizers, and runs on its corpus and then on mutations of it.
 *
 *     npm run fuzz -- [--seconds N] [--only TARGET,…] [--corpus]
 *
 *     --seconds N      run time of each target (default 60)
 *     --only TARGETS   targets to run, separated by commas
 *     --corpus         write the inputs that today's coverage needs, the shortest first, back to
 *                      native-shims/test/fuzz/corpus/
 *
 * Prints one line per target; the exit code is 1 if a target failed. A failed input is written to
 * build/fuzz/ and printed as a line for the corpus.
 */
import { spawnSync } from 'node:child_process';
import { mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { root, setUp } from './set-up.mjs';

const SHIM = join(root, 'native-shims');
const TARGETS = join(SHIM, 'test/fuzz');
const OUT = join(root, 'build/fuzz');

/** Sources that the targets link: those without N-API. */
const SOURCES = [
  'tap',
  'tap_write',
  'udp',
  'send',
  'outbox',
  'path_errors',
  'segment',
  'tunnel',
  'coalesce',
  'checksum',
];

const FLAGS = ['-std=gnu11', '-g', '-O2', '-D_GNU_SOURCE', '-Wall', '-Wextra', '-Werror'];
const CLANG_FLAGS = ['-Wno-gnu-variable-sized-type-not-at-end', '-fno-sanitize-recover=undefined'];
const SANITIZERS = '-fsanitize=address,undefined';

/** Longest input, bytes. */
const INPUT_LEN = 600;
/** Longest corpus file of a target in the repository, characters. */
const CORPUS_LEN = 3000;

const { values } = parseArgs({
  options: {
    seconds: { type: 'string', default: '60' },
    only: { type: 'string', default: '' },
    corpus: { type: 'boolean', default: false },
  },
});
const seconds = Number(values.seconds);
if (!Number.isInteger(seconds) || seconds < 1)
  giveUp(`--seconds ${values.seconds}: must be a whole number of at least 1`);

const all = readdirSync(TARGETS)
  .filter((file) => file.endsWith('.c') && file !== 'replay.c')
  .map((file) => file.slice(0, -'.c'.length));
const targets = values.only === '' ? all : values.only.split(',');
for (const target of targets)
  if (!all.includes(target)) giveUp(`--only ${target}: no such target; targets: ${all.join(', ')}`);

setUp({ tools: ['clang'], build: false });
rmSync(join(OUT, 'objects'), { recursive: true, force: true });
mkdirSync(join(OUT, 'objects'), { recursive: true });
for (const name of SOURCES)
  clang([...FLAGS, `${SANITIZERS},fuzzer-no-link`, '-c', join(SHIM, `${name}.c`), '-o', object(name)]);

let failed = 0;
for (const target of targets) failed += fuzz(target) ? 0 : 1;
process.exitCode = failed === 0 ? 0 : 1;

/** Builds and runs a target. @returns true on success */
function fuzz(target) {
  const source = join(TARGETS, `${target}.c`);
  const program = join(OUT, target);
  const folders = { found: join(OUT, 'found', target), seeds: join(OUT, 'seeds', target) };
  clang([
    ...FLAGS,
    `${SANITIZERS},fuzzer`,
    ...wrapFlags(source),
    source,
    ...SOURCES.map(object),
    '-o',
    program,
  ]);
  mkdirSync(folders.found, { recursive: true });
  unpack(target, folders.seeds);
  const { status, output } = run(program, [
    `-max_total_time=${seconds}`,
    `-max_len=${INPUT_LEN}`,
    '-timeout=20',
    '-print_final_stats=1',
    '-len_control=20',
    `-artifact_prefix=${OUT}/${target}-`,
    folders.found,
    folders.seeds,
  ]);
  const ok = status === 0;
  console.log(`${ok ? 'ok  ' : 'FAIL'} ${target}: ${summary(output)}`);
  if (!ok) report(output);
  if (ok && values.corpus) pack(target, program, folders);
  return ok;
}

/** Linker flags for the system calls that a target replaces; its first comment lists them. */
function wrapFlags(source) {
  const names = /^ \* WRAP (.*)$/m.exec(readFileSync(source, 'utf8'))?.[1].split(' ') ?? [];
  return names.map((name) => `-Wl,--wrap=${name}`);
}

function summary(output) {
  const last = output.match(/^#\d+\s.*cov: \d+ ft: \d+/gm)?.at(-1) ?? '';
  const [, edges = '0', features = '0'] = /cov: (\d+) ft: (\d+)/.exec(last) ?? [];
  const runs = /number_of_executed_units: (\d+)/.exec(output)?.[1] ?? /^#(\d+)/.exec(last)?.[1] ?? '0';
  return `${Number(runs).toLocaleString('en')} executions in ${seconds} s, ${edges} edges, ${features} features`;
}

/** Prints the output of libFuzzer and the sanitizers, and the input as a line for the corpus. */
function report(output) {
  const lines = output.split('\n').filter((line) => !/^#\d+|^INFO|^\tNEW_FUNC|^\s*$/.test(line));
  console.log(lines.slice(0, 40).join('\n'));
  const file = /Test unit written to (\S+)/.exec(output)?.[1];
  if (file !== undefined) console.log(`input: ${readFileSync(file).toString('hex')}`);
}

/** Writes the corpus of the repository to one file per input. */
function unpack(target, folder) {
  rmSync(folder, { recursive: true, force: true });
  mkdirSync(folder, { recursive: true });
  for (const [number, line] of corpusOf(target).entries())
    writeFileSync(join(folder, `${number}`), Buffer.from(line, 'hex'));
}

function corpusOf(target) {
  try {
    return readFileSync(corpusFile(target), 'utf8').split('\n').filter(Boolean);
  } catch {
    return [];
  }
}

/** Writes the inputs that add coverage to the corpus file, the shortest first, up to CORPUS_LEN. */
function pack(target, program, folders) {
  const merged = join(OUT, 'merged', target);
  rmSync(merged, { recursive: true, force: true });
  mkdirSync(merged, { recursive: true });
  const { status } = run(program, ['-merge=1', '-use_counters=0', merged, folders.found, folders.seeds]);
  if (status !== 0) giveUp(`${target}: libFuzzer cannot merge the corpus`);
  const inputs = readdirSync(merged).map((file) => readFileSync(join(merged, file)).toString('hex'));
  inputs.sort((a, b) => a.length - b.length || (a < b ? -1 : 1));
  let length = 0;
  const kept = inputs.filter((input) => input !== '' && (length += input.length + 1) <= CORPUS_LEN);
  mkdirSync(join(TARGETS, 'corpus'), { recursive: true });
  writeFileSync(corpusFile(target), `${kept.join('\n')}\n`);
  console.log(`     ${kept.length} of ${inputs.length} inputs kept`);
}

function corpusFile(target) {
  return join(TARGETS, `corpus/${target}.txt`);
}

function object(name) {
  return join(OUT, `objects/${name}.o`);
}

function run(program, args) {
  const { status, stdout, stderr } = spawnSync(program, args, { encoding: 'utf8', maxBuffer: 1 << 28 });
  return { status, output: stdout + stderr };
}

function clang(args) {
  const { status } = spawnSync('clang', [...CLANG_FLAGS, ...args], { stdio: 'inherit' });
  if (status !== 0)
    giveUp('cannot compile with clang and libFuzzer (Debian packages: clang, libclang-rt-14-dev)');
}

function giveUp(line) {
  console.error(line);
  process.exit(1);
}
