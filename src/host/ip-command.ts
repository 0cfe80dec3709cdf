/**
 * Runs ip(8) of iproute2 and parses its JSON output.
 *
 * vtepd uses ip(8) instead of netlink, because administrators can repeat each command by hand.
 * ip(8) runs at start, stop and changes only, and costs some milliseconds per call. A child process
 * inherits ambient capabilities, but not file capabilities (capabilities(7)). This module does not
 * interpret the commands.
 *
 * Commands of one kind that are requested at the same time share one process (`ip -batch`), so the
 * set-up of a hundred VNIs needs as many processes as that of one. Each command still has its own
 * result or error. A caller that needs an order among commands awaits each result.
 */
import { type ExecFileException, execFile } from 'node:child_process';
import { HostError, NEEDS_RIGHTS } from './host-error.js';

/** Maximum output, bytes: a machine with thousands of containers has a long list of links. */
const MAX_OUTPUT_LEN = 64 * 1024 * 1024;
/**
 * Netlink replies at once; a call that lasts this long waits for a lock that another process holds.
 */
const TIMEOUT_MS = 10_000;
/** Additional time limit per command of a batch, ms. */
const TIMEOUT_EACH_MS = 100;

const INSTALL = 'install iproute2';

/** The device of `ip … dev NAME` does not exist. */
export class NoSuchDeviceError extends HostError {}

/** The kernel has no route to the destination of `ip route get`. */
export class NoRouteError extends HostError {}

interface Command {
  readonly args: readonly string[];
  readonly resolve: (objects: unknown[]) => void;
  readonly reject: (error: HostError) => void;
}

/** Commands requested in this iteration of the event loop. */
let waiting: Command[] = [];

/**
 * Runs `ip -json -details ARGS`.
 *
 * @returns the printed objects; empty when nothing was printed
 * @throws NoSuchDeviceError, NoRouteError, HostError
 */
export function ip(args: readonly string[]): Promise<unknown[]> {
  return new Promise((resolve, reject) => {
    if (waiting.length === 0) setImmediate(runWaiting);
    waiting.push({ args, resolve, reject });
  });
}

function runWaiting(): void {
  const kinds = new Map<string, Command[]>();
  for (const command of waiting) {
    const kind = kindOf(command);
    const same = kinds.get(kind) ?? [];
    same.push(command);
    kinds.set(kind, same);
  }
  waiting = [];
  for (const [kind, commands] of kinds) {
    if (kind === ALONE || commands.length === 1) for (const command of commands) runAlone(command);
    else runBatch(commands);
  }
}

const ALONE = '';

/**
 * Key of commands that may share a process. A command that shows something shares only with
 * commands that show the same: ip(8) keeps state between the commands of a batch, and `address
 * show` after `link show` prints no addresses (iproute2 6.1). Commands with options run alone,
 * because options are not allowed in a line of a batch.
 */
function kindOf({ args }: Command): string {
  if (args[0].startsWith('-') || !args.every(isQuotable)) return ALONE;
  return isShowing(args) ? `${args[0]} ${args[1]}` : 'change';
}

function runAlone(command: Command): void {
  const { args, reject } = command;
  const options = { env: environment(), maxBuffer: MAX_OUTPUT_LEN, timeout: TIMEOUT_MS };
  execFile('ip', ['-json', '-details', ...args], options, (error, stdout, stderr) => {
    if (error) return reject(explainFailure(args, error, stderr));
    answer(command, stdout);
  });
}

function runBatch(commands: readonly Command[]): void {
  const timeout = TIMEOUT_MS + commands.length * TIMEOUT_EACH_MS;
  const options = { env: environment(), maxBuffer: MAX_OUTPUT_LEN, timeout };
  const child = execFile('ip', BATCH_OPTIONS, options, (error, stdout, stderr) =>
    answerBatch(commands, error, stdout, stderr),
  );
  // If the process ends before it has read all input, its exit status reports the cause.
  child.stdin?.on('error', () => {});
  child.stdin?.end(commands.map(({ args }) => `${args.map(quote).join(' ')}\n`).join(''));
}

/** With -force, ip continues after a failed command. */
const BATCH_OPTIONS = ['-json', '-details', '-force', '-batch', '-'];

/**
 * Gives each command its part of the output of a batch. Each command that shows something prints
 * one line; failed commands are identified by their line numbers.
 */
function answerBatch(
  commands: readonly Command[],
  error: ExecFileException | null,
  stdout: string,
  stderr: string,
): void {
  const { failures, rest } = splitErrors(stderr);
  // ip(8) itself ended, because of an unknown argument or the time limit; the command that caused
  // it is unknown.
  const gaveUp = error !== null && (failures.size === 0 || rest !== '' || error.code !== 1);
  const lines = stdout.split('\n').filter((line) => line.trim() !== '');
  const isShown = isShowing(commands[0].args);
  let line = 0;
  for (const [index, command] of commands.entries()) {
    const message = failures.get(index);
    if (message !== undefined) command.reject(explainFailure(command.args, new Error('failed'), message));
    else if (gaveUp) command.reject(explainFailure(BATCH_OPTIONS, error, rest));
    else if (!isShown) command.resolve([]);
    // A command printed several lines or none, so lines cannot be assigned to commands. Each
    // command runs again, which is harmless because it changes nothing.
    else if (lines.length !== commands.length - failures.size) runAlone(command);
    else answer(command, lines[line++]);
  }
}

/**
 * @param stderr output of `ip -force -batch -`, in which the line `Command failed -:3` ends the
 * errors of the third command
 * @returns error text by index of the command, and text that belongs to no command
 */
export function splitErrors(stderr: string): { failures: Map<number, string>; rest: string } {
  const failures = new Map<number, string>();
  let pending: string[] = [];
  for (const line of stderr.split('\n')) {
    const number = /^Command failed -:(\d+)$/.exec(line)?.[1];
    if (number !== undefined) {
      failures.set(Number(number) - 1, pending.join('\n'));
      pending = [];
    } else if (!line.startsWith('Warning: ')) pending.push(line);
  }
  return { failures, rest: pending.join('\n').trim() };
}

function answer({ args, resolve, reject }: Command, stdout: string): void {
  try {
    resolve(parseOutput(stdout));
  } catch {
    reject(new HostError(`"ip ${args.join(' ')}" printed no JSON: ${INSTALL} 4.14 or newer`));
  }
}

function isShowing([, verb]: readonly string[]): boolean {
  return verb === 'show' || verb === 'get';
}

/** A line of a batch allows quotes but no escaped quotes, and ends at any "#". */
function isQuotable(arg: string): boolean {
  return !/['#\\\n]/.test(arg);
}

function quote(arg: string): string {
  return `'${arg}'`;
}

/**
 * Parses output and removes the empty objects that iproute2 prints for devices that a filter
 * excludes.
 */
export function parseOutput(stdout: string): unknown[] {
  if (stdout.trim() === '') return [];
  const objects: unknown = JSON.parse(stdout);
  if (!Array.isArray(objects)) throw new TypeError('not a list');
  return objects.filter((object) => Object.keys(object).length > 0);
}

/** Returns the error that describes a failed call to the user. */
export function explainFailure(args: readonly string[], error: ExecFileException, stderr: string): HostError {
  const command = `"ip ${args.join(' ')}"`;
  if (error.code === 'ENOENT') return new HostError(`cannot run ip(8): not installed: ${INSTALL}`);
  if (error.killed) return new HostError(`${command} did not answer within ${TIMEOUT_MS / 1000} s`);
  if (stderr.includes('BusyBox'))
    return new HostError(`ip(8) is BusyBox's, which does not support -json: ${INSTALL}`);

  const reason =
    stderr
      .trim()
      .split('\n')[0]
      .replace(/^RTNETLINK answers: |^Error: /, '') || error.message;
  if (/does not exist|Cannot find device/.test(reason)) return new NoSuchDeviceError(`${command}: ${reason}`);
  if (args.includes('route') && isNoRoute(reason)) return new NoRouteError(`${command}: ${reason}`);
  if (reason.includes('Operation not permitted'))
    return new HostError(`${command}: ${reason}; ${NEEDS_RIGHTS}`);
  return new HostError(`${command}: ${reason}`);
}

/**
 * Matches the texts of ENETUNREACH and EHOSTUNREACH, and of EACCES and EINVAL, which `prohibit` and
 * `blackhole` routes cause (ip-route(8)).
 */
function isNoRoute(reason: string): boolean {
  return /unreachable|No route to host|Permission denied|Invalid argument/i.test(reason);
}

/**
 * Adds the sbin folders to PATH. Most distributions keep `ip` there, and the PATH of services and
 * cron jobs often lacks them.
 */
export function environment(): NodeJS.ProcessEnv {
  return { ...process.env, LC_ALL: 'C', PATH: `${process.env.PATH ?? '/usr/bin:/bin'}:/usr/sbin:/sbin` };
}
