/**
 * Compiles src, test and bench to build/tests, from where `compiled-tests.mjs` loads them.
 *
 * Type errors give exit code 1, but the output is still written. Part of `npm test` and
 * `npm run check`, and the `before` script of .taprc.
 */
import { node, root } from './set-up.mjs';

process.exitCode =
  node('node_modules/typescript/bin/tsc', '-p', 'test', '--sourceRoot', `${root}/`).status ?? 1;
