/**
 * Compiler of src, test and bench to build/tests, where `compiled-tests.mjs` finds them. Exit code
 * 1 with wrong types; the output is written all the same. Part of `npm test` and `npm run check`,
 * and the `before` script of .taprc.
 */
import { node, root } from './set-up.mjs';

process.exitCode =
  node('node_modules/typescript/bin/tsc', '-p', 'test', '--sourceRoot', `${root}/`).status ?? 1;
