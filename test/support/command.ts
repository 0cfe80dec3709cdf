/**
 * Child processes of the labs.
 *
 * `run` waits for a process and returns its output; `start` leaves the process running and tracks
 * it. Tracked processes are killed when the test process ends, for whatever reason; a lab stops its
 * own processes earlier.
 *
 * All modules of test/support use this one. It knows nothing of namespaces.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { eventually, lastLines } from './wait.js';

const running = new Set<Running>();

export interface RunOptions {
  /** Text for stdin. */
  input?: string;
  /** Time limit of the command, ms; 60,000 by default. */
  limitMs?: number;
  /** Environment variables added to those of this process. */
  env?: Record<string, string>;
}

export interface Outcome {
  /** Exit code; 128 when a signal ended the process. */
  code: number;
  stdout: string;
  stderr: string;
}

/**
 * Splits a command line at white space. Use the array form for an argument that contains a blank.
 */
export function words(command: string | readonly string[]): string[] {
  return typeof command === 'string' ? command.trim().split(/\s+/) : [...command];
}

/**
 * Runs a command to its end.
 *
 * @throws Error with the command and its stderr when the exit code is not 0
 */
export async function run(command: string | readonly string[], options: RunOptions = {}): Promise<string> {
  const { code, stdout, stderr } = await outcome(command, options);
  if (code === 0) return stdout;
  throw new Error(`${words(command).join(' ')}: exit ${code}: ${(stderr || stdout).trim()}`);
}

/**
 * Runs a command to its end and returns its exit code and output.
 *
 * @throws Error when the command cannot be started or exceeds its time limit
 */
export async function outcome(
  command: string | readonly string[],
  options: RunOptions = {},
): Promise<Outcome> {
  const process = start(command, options);
  const code = await process.exit(options.limitMs ?? 60_000);
  return { code, stdout: process.stdout, stderr: process.stderr };
}

/** Starts a command and returns at once. */
export function start(command: string | readonly string[], options: RunOptions = {}): Running {
  return new Running(words(command), options);
}

/** A process started here, with its output so far. */
export class Running {
  stdout = '';
  stderr = '';
  readonly #command: string[];
  readonly #child: ChildProcess;
  readonly #exited: Promise<number>;
  #code: number | undefined;

  constructor(command: string[], options: RunOptions) {
    this.#command = command;
    const stdin = options.input === undefined ? 'ignore' : 'pipe';
    const child = spawn(command[0], command.slice(1), {
      stdio: [stdin, 'pipe', 'pipe'],
      env: { ...process.env, ...options.env },
    });
    this.#child = child;
    running.add(this);
    child.stdin?.on('error', () => {}).end(options.input);
    child.stdout?.setEncoding('utf8').on('data', (text: string) => (this.stdout += text));
    child.stderr?.setEncoding('utf8').on('data', (text: string) => (this.stderr += text));
    this.#exited = new Promise((resolve, reject) => {
      child.on('error', reject);
      child.on('close', (code) => {
        running.delete(this);
        this.#code = code ?? 128;
        resolve(this.#code);
      });
    });
    this.#exited.catch(() => running.delete(this));
  }

  get pid(): number {
    return this.#child.pid ?? -1;
  }

  get alive(): boolean {
    return this.#code === undefined;
  }

  signal(name: NodeJS.Signals): void {
    this.#child.kill(name);
  }

  /**
   * Waits for the process to exit.
   *
   * @returns exit code
   * @throws Error when the process has not exited after `limitMs`; the process is killed
   */
  async exit(limitMs: number): Promise<number> {
    const timer = setTimeout(() => this.signal('SIGKILL'), limitMs);
    const startedMs = Date.now();
    const code = await this.#exited;
    clearTimeout(timer);
    if (code === 128 && Date.now() - startedMs >= limitMs) {
      throw new Error(`${this} did not exit within ${limitMs} ms: ${this.stderr.trim()}`);
    }
    return code;
  }

  /** Sends a signal and waits for the exit code. */
  async stop(name: NodeJS.Signals = 'SIGTERM', limitMs = 5_000): Promise<number> {
    if (this.alive) this.signal(name);
    return this.exit(limitMs);
  }

  /**
   * Waits until stdout or stderr matches.
   *
   * @throws Error when the process exits before a match, or when nothing has matched after
   * `limitMs`
   */
  async untilOutput(pattern: RegExp, limitMs = 30_000): Promise<void> {
    await eventually(
      `${this} to print ${pattern}`,
      () => {
        if (pattern.test(this.stdout) || pattern.test(this.stderr)) return true;
        if (!this.alive)
          throw new Error(`${this} exited with ${this.#code}: ${lastLines(this.stderr || this.stdout)}`);
        return false;
      },
      limitMs,
    );
  }

  toString(): string {
    return this.#command.join(' ');
  }
}

/** Kills all tracked processes without waiting. It runs at the exit of the test process. */
export function killAll(): void {
  for (const process of running) process.signal('SIGKILL');
}
