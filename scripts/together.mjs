/**
 * Runs several test files in one process, in sequence.
 *
 * Loading Node, tap and shared modules takes longer than most files. Each file is a subtest named
 * by its path, and imports that subtest as its `t`. `run-tests.mjs` starts this program.
 *
 * The same file is the module of the loader hooks, which run in a separate thread.
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
  // tap derives directory names from the arguments; the length of such names is limited.
  const files = process.argv.splice(2);
  const { default: t } = await import('tap');
  // `await` keeps the files in sequence; the queue of tap overlaps two files after a timeout.
  for (const file of files) {
    const { href } = pathToFileURL(file);
    await t.test(file, async (t) => {
      globalThis.testOfFile.set(href, t);
      await import(href);
    });
  }
}
