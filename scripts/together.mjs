/**
 * Runs several test files in one process, in sequence: loading Node, tap and shared modules takes
 * longer than most of them. Each file is a subtest named by its path, and imports that subtest as
 * its `t`. Started by `run-tests.mjs`.
 *
 * The same file is the module of the loader hooks, which run in a thread of their own.
 */
import { register } from 'node:module';
import { pathToFileURL } from 'node:url';
import { isMainThread } from 'node:worker_threads';

const SCHEME = 'own-tap:';

export function resolve(specifier, context, next) {
  const isTest = specifier === 'tap' && /\.test\.(ts|mjs)$/.test(context.parentURL ?? '');
  return isTest ? { url: SCHEME + context.parentURL, shortCircuit: true } : next(specifier, context);
}

export function load(url, context, next) {
  if (!url.startsWith(SCHEME)) return next(url, context);
  const source = `export default globalThis.testOfFile.get('${url.slice(SCHEME.length)}');`;
  return { format: 'module', source, shortCircuit: true };
}

if (isMainThread) {
  register(import.meta.url);
  globalThis.testOfFile = new Map();
  // tap derives names of directories from the arguments, and names have a maximum length.
  const files = process.argv.splice(2);
  const { default: t } = await import('tap');
  // In sequence by `await`: tap's own queue overlaps two files after a timeout.
  for (const file of files) {
    const { href } = pathToFileURL(file);
    await t.test(file, async (t) => {
      globalThis.testOfFile.set(href, t);
      await import(href);
    });
  }
}
