#!/usr/bin/env node
/** The executable: argv → call → exit code. */
import { vtepctl } from './cli/vtepctl.js';
import { examine } from './doctor/doctor.js';

const CLEAR_LINE = '\r\x1b[K';

process.exitCode = await vtepctl(process.argv.slice(2), {
  env: process.env,
  stdout: (text) => process.stdout.write(text),
  stderr: (text) => process.stderr.write(text),
  // Only a terminal can take back a line.
  progress: (line) => void (process.stderr.isTTY && process.stderr.write(`${CLEAR_LINE}${line}`)),
  doctor: () => examine(),
  nowMs: () => Date.now(),
});
