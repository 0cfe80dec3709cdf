/** Runs vtepctl in this process and collects its output. */
import { Writable } from 'node:stream';
import type { Environment } from '../../src/cli/environment.js';
import type { Screen } from '../../src/cli/screen.js';
import { vtepctl } from '../../src/cli/vtepctl.js';

export interface Result {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

export interface Options {
  readonly env?: Record<string, string>;
  readonly nowMs?: () => number;
  readonly elapsedMs?: () => number;
  readonly doctor?: Environment['doctor'];
  readonly progress?: Environment['progress'];
  readonly screen?: Screen;
  readonly isTerminal?: boolean;
  /** Signals Ctrl-C. */
  readonly interrupt?: AbortSignal;
  /** Called at each write with the whole stdout so far. */
  readonly onStdout?: (text: string) => void;
  /** Called for each pause instead of sleeping. */
  readonly onSleep?: (ms: number) => void;
}

/** @param line arguments, separated by blanks */
export async function runVtepctl(line: string, options: Options = {}): Promise<Result> {
  const out: Buffer[] = [];
  let stderr = '';
  const write = (bytes: Buffer) => {
    out.push(bytes);
    options.onStdout?.(Buffer.concat(out).toString('latin1'));
  };
  const stream = new Writable({
    write(chunk: Buffer, _encoding, done) {
      write(chunk);
      done();
    },
  });
  const code = await vtepctl(line.split(' ').filter(Boolean), {
    env: options.env ?? {},
    stdout: (text) => write(Buffer.from(text)),
    stderr: (text) => (stderr += text),
    output: { stream, isTerminal: options.isTerminal ?? false },
    screen: options.screen,
    progress: options.progress ?? (() => {}),
    interrupted: () => options.interrupt ?? new AbortController().signal,
    sleep: async (ms) => {
      options.onSleep?.(ms);
      await new Promise(setImmediate);
    },
    doctor: options.doctor ?? (async () => []),
    nowMs: options.nowMs ?? (() => Date.now()),
    elapsedMs: options.elapsedMs ?? (() => performance.now()),
  });
  return { code, stdout: Buffer.concat(out).toString('latin1'), stderr };
}
