#!/usr/bin/env node
/** The executable: argv → call → exit code. */
import { vtepctl } from './cli/vtepctl.js';

process.exitCode = await vtepctl(process.argv.slice(2), {
  env: process.env,
  stdout: (text) => process.stdout.write(text),
  stderr: (text) => process.stderr.write(text),
  nowMs: () => Date.now(),
});
