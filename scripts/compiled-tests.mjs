/**
 * Lets a test file, and what it imports, run as TypeScript that tsc compiled all at once (test/tsconfig.json), instead
 * of being compiled anew in each process that loads it: that took longer than the tests. Modules keep the addresses of
 * their sources, so paths beside them stay right.
 *
 * Hooks of Node's loader (node:module, register). `run-tests.mjs` names them to every process it starts.
 */
import { existsSync, readFileSync } from 'node:fs';

const ROOT = new URL('../', import.meta.url).href;
const COMPILED = new URL('build/tests/', ROOT);

/** An option of node that registers these hooks, for child processes and threads as well. */
export const NODE_OPTION = `--import=data:text/javascript,import{register}from"node:module";register("${import.meta.url}")`;

/** A module is imported, or started as a thread, by the name that it has once compiled. */
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
