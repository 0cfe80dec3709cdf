/**
 * `npm run build`: TypeScript to dist/, then the man pages, then the native shim.
 *
 * A step runs only if its inputs have changed since its last success. A step prints only errors.
 * The build needs the packages of package.json; the shim also needs a C compiler, make and python3
 * (node-gyp).
 */
import { spawnSync } from 'node:child_process';
import {
  accessSync,
  chmodSync,
  constants,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { delimiter, dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const at = (...parts) => join(root, ...parts);

// The shim is built even if TypeScript fails, so that one run reports all errors.
const failures = [buildTypeScript() ?? (await buildManual()), buildShim()].filter(
  (failure) => failure !== undefined,
);
for (const failure of failures) process.stderr.write(`build: ${failure}\n`);
process.exitCode = failures.length > 0 ? 1 : 0;

/** @returns error message; undefined on success */
function buildTypeScript() {
  const inputs = [...filesUnder('src', '.ts'), 'tsconfig.json', 'node_modules/typescript/package.json'];
  const executables = inputs.map(outputOf).filter((file) => /^dist\/vtep(d|ctl)\.js$/.test(file));
  const stamp = at('dist', '.built');
  const state = fingerprint(inputs);
  const lost = executables.some((file) => !existsSync(at(file)));
  if (sameAs(stamp, state) && !lost) return undefined;

  // The output of a module that was deleted from src is deleted too, because imports of that module
  // would otherwise still work. tsc does not notice deleted output files, so its record of written
  // files is deleted with them.
  if (lost || vanishedSince(stamp)) rmSync(at('dist'), { recursive: true, force: true });
  const tsc = at('node_modules/typescript/bin/tsc');
  const failure = run('tsc', [tsc, '--project', root, '--pretty', String(Boolean(process.stderr.isTTY))]);
  if (failure !== undefined) return failure;
  for (const file of executables) chmodSync(at(file), 0o755);
  writeFileSync(stamp, state);
  return undefined;
}

/**
 * Builds the man pages to dist/man: the text of docs/man with flags and commands of the programs.
 *
 * @returns error message; undefined on success
 */
async function buildManual() {
  const prose = filesUnder('docs/man', '.mdoc');
  const stamp = at('dist/man', '.built');
  const state = `${fingerprint([...prose, 'package.json', 'scripts/manual.mjs'])}${readFileSync(at('dist', '.built'), 'utf8')}`;
  if (sameAs(stamp, state)) return undefined;

  try {
    const { manualPage, PAGES } = await import('./manual.mjs');
    mkdirSync(at('dist/man'), { recursive: true });
    for (const page of PAGES) {
      const text = readFileSync(at('docs/man', `${page}.mdoc`), 'utf8');
      writeFileSync(at('dist/man', page), manualPage(page, text));
    }
  } catch (error) {
    return `man pages: ${error.message}`;
  }
  writeFileSync(stamp, state);
  return undefined;
}

function outputOf(source) {
  return source.replace(/^src\/(.*)\.ts$/, 'dist/$1.js');
}

/** @returns error message; undefined on success */
function buildShim() {
  const inputs = [
    ...readdirSync(at('native-shims'))
      .filter((name) => /\.(c|h|gyp)$/.test(name))
      .map((name) => join('native-shims', name)),
    'node_modules/node-gyp/package.json',
  ];
  const output = at('native-shims/build/Release/vtepd_shim.node');
  const stamp = at('native-shims/build/.built');
  const state = `node ${process.version} ${process.arch}\n${fingerprint(inputs)}`;
  if (sameAs(stamp, state) && existsSync(output)) return undefined;

  const missing = [['cc', 'gcc', 'clang'], ['make'], ['python3']].filter((names) => !names.some(onPath));
  if (missing.length > 0) return `not found in PATH: ${missing.map(([name]) => name).join(', ')}`;
  const prefix = dirname(dirname(process.execPath));
  const headers = existsSync(join(prefix, 'include/node/node_api.h')) ? [`--nodedir=${prefix}`] : [];
  const gyp = at('node_modules/node-gyp/bin/node-gyp.js');
  const failure = run('node-gyp', [gyp, 'configure', 'build', '--directory', at('native-shims'), ...headers]);
  if (failure === undefined) writeFileSync(stamp, state);
  return failure;
}

/** Paths relative to the root of the project, sorted. */
function filesUnder(folder, extension) {
  return readdirSync(at(folder), { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile() && entry.name.endsWith(extension))
    .map((entry) => join(entry.parentPath ?? entry.path, entry.name).slice(root.length + 1))
    .sort();
}

/** One line per file: path, mtime, size. Added and removed files change the fingerprint too. */
function fingerprint(files) {
  return files
    .map((file) => [file, statSync(at(file), { throwIfNoEntry: false })])
    .map(([file, stat]) => `${file} ${stat?.mtimeMs} ${stat?.size}\n`)
    .join('');
}

function vanishedSince(stamp) {
  if (!existsSync(stamp)) return false;
  const files = readFileSync(stamp, 'utf8')
    .split('\n')
    .map((line) => line.split(' ')[0]);
  return files.some((file) => file !== '' && !existsSync(at(file)));
}

function sameAs(stamp, state) {
  return existsSync(stamp) && readFileSync(stamp, 'utf8') === state;
}

function onPath(name) {
  return (process.env.PATH ?? '').split(delimiter).some((folder) => isExecutable(join(folder, name)));
}

function isExecutable(path) {
  try {
    accessSync(path, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}

/**
 * Runs a Node program and prints its output only if it fails.
 *
 * @returns error message; undefined on success
 */
function run(name, args) {
  const { status, stdout, stderr, error } = spawnSync(process.execPath, args, {
    cwd: root,
    encoding: 'utf8',
  });
  if (status === 0) return undefined;
  process.stderr.write(`${stdout ?? ''}${stderr ?? ''}`);
  return `${name} failed${error ? `: ${error.message}` : ', see its output above'}`;
}
