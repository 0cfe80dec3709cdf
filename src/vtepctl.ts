#!/usr/bin/env node
/** Executable of vtepctl: command line to exit code. */
import { setTimeout } from 'node:timers/promises';
import { TerminalScreen } from './cli/screen.js';
import { vtepctl } from './cli/vtepctl.js';

const CLEAR_LINE = '\r\x1b[K';
const { stdin, stdout, stderr } = process;
const ended = new AbortController();
let lasting = false;

// A reader of the output that has closed its pipe (EPIPE) or terminal (EIO) is not an error.
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
  // Only a terminal can clear a line.
  progress: (line) => void (stderr.isTTY && stderr.write(`${CLEAR_LINE}${line}`)),
  interrupted: () => {
    lasting = true;
    for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) process.once(signal, () => ended.abort());
    return ended.signal;
  },
  sleep: (ms, signal) => setTimeout(ms, undefined, { signal }).catch(() => undefined),
  // Loaded on demand: other commands do not need it.
  doctor: async () => (await import('./doctor/doctor.js')).examine(),
  nowMs: () => Date.now(),
  elapsedMs: () => performance.now(),
});
