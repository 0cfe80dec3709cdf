/**
 * Runs several test files in one process, one after the other: loading Node, tap and the modules that they share takes longer
 * than most of them. Each is a subtest with the name of its file, and has it as its `t`: what a file sets or tears down by
 * that is its own. `run-tests.mjs` starts this.
 */
import { register } from 'node:module';
import { pathToFileURL } from 'node:url';
import { OWN_TAP } from './own-tap.mjs';

register('./own-tap.mjs', import.meta.url);
globalThis[OWN_TAP] = new Map();

// tap names folders after what a process was started with, and they have a limit: it sees nothing of the files.
const files = process.argv.splice(2);
const { default: t } = await import('tap');
for (const file of files) {
  const { href } = pathToFileURL(file);
  t.test(file, async (t) => {
    globalThis[OWN_TAP].set(href, t);
    await import(href);
  });
}
