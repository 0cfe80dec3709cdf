/**
 * Loader hooks that run tests from the output of tsc (test/tsconfig.json).
 *
 * tsc compiles all files at once; compiling them again in each process and thread would take longer
 * than the tests. Modules keep the URLs of their sources, so that paths relative to them stay
 * correct.
 *
 * `--import` of this file registers the hooks, also in threads and child processes
 * (`run-tests.mjs`, .taprc). The same file, imported with the query `?hooks`, is the module of the
 * hooks.
 */
import { existsSync, readFileSync } from 'node:fs';
import { register } from 'node:module';

const ROOT = new URL('../', import.meta.url).href;
const COMPILED = new URL('build/tests/', ROOT);

if (!import.meta.url.endsWith('?hooks')) register(`${import.meta.url}?hooks`);

/** Maps the compiled name (`.js`) in imports and thread URLs to the source (`.ts`). */
export function resolve(specifier, context, next) {
  const source = specifier.endsWith('.js') ? sourceOf(specifier, context.parentURL) : undefined;
  return source && existsSync(source) ? { url: source.href, shortCircuit: true } : next(specifier, context);
}

function sourceOf(specifier, parent) {
  const isOfSource = specifier.startsWith('.') && isSource(parent);
  if (isOfSource || specifier.startsWith(ROOT)) return new URL(specifier.replace(/js$/, 'ts'), parent);
  return undefined;
}

export function load(url, context, next) {
  if (!isSource(url)) return next(url, context);
  const compiled = new URL(url.slice(ROOT.length).replace(/ts$/, 'js'), COMPILED);
  return { format: 'module', source: readFileSync(compiled), shortCircuit: true };
}

function isSource(url) {
  return url?.startsWith(ROOT) && url.endsWith('.ts') && !url.includes('/node_modules/');
}
