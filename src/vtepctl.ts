#!/usr/bin/env node
/** The executable: argv → call → exit code. */
import { setTimeout } from 'node:timers/promises';
import { TerminalScreen } from './cli/screen.js';
import { vtepctl } from './cli/vtepctl.js';

const CLEAR_LINE = '\r\x1b[K';
const { stdin, stdout, stderr } = process;
const ended = new AbortController();
let lasting = false;

// Who reads our output has gone (EPIPE), or the terminal has (EIO): no fault of ours, and nobody to tell.
stdout.on('error', () => {
  ended.abort();
  if (!lasting) process.exit();
});

process.exitCode = await vtepctl(process.argv.slice(2), {
  env: process.env,
  stdout: (text) => stdout.write(text),
  stderr: (text) => stderr.write(text),
  output: { stream: stdout, isTerminal: stdout.isTTY === true },
  screen: stdin.isTTY && stdout.isTTY ? new TerminalScreen(stdin, stdout) : undefined,
  // Only a terminal can take back a line.
  progress: (line) => void (stderr.isTTY && stderr.write(`${CLEAR_LINE}${line}`)),
  interrupted: () => {
    lasting = true;
    for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) process.once(signal, () => ended.abort());
    return ended.signal;
  },
  sleep: (ms, signal) => setTimeout(ms, undefined, { signal }).catch(() => undefined),
  // Loads what only it needs.
  doctor: async () => (await import('./doctor/doctor.js')).examine(),
  nowMs: () => Date.now(),
  elapsedMs: () => performance.now(),
});
