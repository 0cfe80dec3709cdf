/**
 * ip(8) of iproute2, asked for JSON. Netlink by way of the tool that every administrator can repeat by hand:
 * start and stop only, some milliseconds a call. A child inherits ambient capabilities, not those of a file
 * (capabilities(7)). Nothing here knows what the commands mean.
 *
 * Commands of one kind that are asked for at the same time are run by one process (`ip -batch`): the set-up of a
 * hundred VNIs takes as many processes as that of one. Each is still answered, or fails, for itself. An order among
 * them is to be had by waiting for the answers.
 */
import { type ExecFileException, execFile } from 'node:child_process';
import { HostError, NEEDS_RIGHTS } from './host-error.js';

/** A machine with thousands of containers has a long list of links. */
const MAX_OUTPUT_LEN = 64 * 1024 * 1024;
/** Netlink answers at once; a call that takes this long hangs on a lock that something else holds. */
const TIMEOUT_MS = 10_000;
/** What each command of a batch may take beyond that, ms. */
const TIMEOUT_EACH_MS = 100;

const INSTALL = 'install iproute2';

/** The device of `ip … dev NAME` is not there. */
export class NoSuchDeviceError extends HostError {}

/** The kernel knows no way to the destination of `ip route get`. */
export class NoRouteError extends HostError {}

interface Command {
  readonly args: readonly string[];
  readonly resolve: (objects: unknown[]) => void;
  readonly reject: (error: HostError) => void;
}

/** Asked for since the event loop turned last. */
let waiting: Command[] = [];

/**
 * Runs `ip -json -details ARGS`.
 *
 * @returns what it printed, one element an object; empty when it printed nothing
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
 * What may share a process. Commands that show something only with those that show the same: ip(8) remembers what it
 * was asked for, and after `link show` has no addresses to show (iproute2 6.1). Options are not for a line of a batch.
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
  // A process that ends before it has read everything says why by its exit.
  child.stdin?.on('error', () => {});
  child.stdin?.end(commands.map(({ args }) => `${args.map(quote).join(' ')}\n`).join(''));
}

/** With -force a command that fails does not keep the next ones from running. */
const BATCH_OPTIONS = ['-json', '-details', '-force', '-batch', '-'];

/**
 * Gives each command its part of what a batch said. Each that shows something prints one line; those that failed are
 * told by their numbers.
 */
function answerBatch(
  commands: readonly Command[],
  error: ExecFileException | null,
  stdout: string,
  stderr: string,
): void {
  const { failures, rest } = splitErrors(stderr);
  // ip(8) itself ended, over words it does not know or because it took too long: at which command is not known.
  const gaveUp = error !== null && (failures.size === 0 || rest !== '' || error.code !== 1);
  const lines = stdout.split('\n').filter((line) => line.trim() !== '');
  const isShown = isShowing(commands[0].args);
  let line = 0;
  for (const [index, command] of commands.entries()) {
    const said = failures.get(index);
    if (said !== undefined) command.reject(explainFailure(command.args, new Error('failed'), said));
    else if (gaveUp) command.reject(explainFailure(BATCH_OPTIONS, error, rest));
    else if (!isShown) command.resolve([]);
    // Some printed more, or nothing: whose a line is cannot be told, and asking again does no harm.
    else if (lines.length !== commands.length - failures.size) runAlone(command);
    else answer(command, lines[line++]);
  }
}

/**
 * @param stderr of `ip -force -batch -`: after what a command said comes `Command failed -:3`, its line
 * @returns what was said by index of the command, and what belongs to none
 */
export function splitErrors(stderr: string): { failures: Map<number, string>; rest: string } {
  const failures = new Map<number, string>();
  let said: string[] = [];
  for (const line of stderr.split('\n')) {
    const number = /^Command failed -:(\d+)$/.exec(line)?.[1];
    if (number !== undefined) {
      failures.set(Number(number) - 1, said.join('\n'));
      said = [];
    } else if (!line.startsWith('Warning: ')) said.push(line);
  }
  return { failures, rest: said.join('\n').trim() };
}

function answer({ args, resolve, reject }: Command, stdout: string): void {
  try {
    resolve(parseOutput(stdout));
  } catch {
    reject(new HostError(`"ip ${args.join(' ')}" gave no JSON: ${INSTALL} 4.14 or newer`));
  }
}

function isShowing([, verb]: readonly string[]): boolean {
  return verb === 'show' || verb === 'get';
}

/** A line of a batch knows quotes, but no way to write one inside, and ends at a "#" wherever it stands. */
function isQuotable(arg: string): boolean {
  return !/['#\\\n]/.test(arg);
}

function quote(arg: string): string {
  return `'${arg}'`;
}

/** A filter that matches nothing makes iproute2 print empty objects, one a device passed over: left out. */
export function parseOutput(stdout: string): unknown[] {
  if (stdout.trim() === '') return [];
  const objects: unknown = JSON.parse(stdout);
  if (!Array.isArray(objects)) throw new TypeError('not a list');
  return objects.filter((object) => Object.keys(object).length > 0);
}

/** What a failed call means to a user. */
export function explainFailure(args: readonly string[], error: ExecFileException, stderr: string): HostError {
  const command = `"ip ${args.join(' ')}"`;
  if (error.code === 'ENOENT') return new HostError(`cannot run ip(8), it is not installed: ${INSTALL}`);
  if (error.killed) return new HostError(`${command} did not answer within ${TIMEOUT_MS / 1000} s`);
  if (stderr.includes('BusyBox'))
    return new HostError(`this ip(8) is BusyBox's, which knows no -json: ${INSTALL}`);

  const said =
    stderr
      .trim()
      .split('\n')[0]
      .replace(/^RTNETLINK answers: |^Error: /, '') || error.message;
  if (/does not exist|Cannot find device/.test(said)) return new NoSuchDeviceError(`${command}: ${said}`);
  if (args.includes('route') && isNoRoute(said)) return new NoRouteError(`${command}: ${said}`);
  if (said.includes('Operation not permitted')) return new HostError(`${command}: ${said}; ${NEEDS_RIGHTS}`);
  return new HostError(`${command}: ${said}`);
}

/** ENETUNREACH, EHOSTUNREACH; EACCES and EINVAL are `prohibit` and `blackhole` routes (ip-route(8)). */
function isNoRoute(said: string): boolean {
  return /unreachable|No route to host|Permission denied|Invalid argument/i.test(said);
}

/** Services and cron jobs often have a PATH without sbin, where most distributions keep `ip`. */
export function environment(): NodeJS.ProcessEnv {
  return { ...process.env, LC_ALL: 'C', PATH: `${process.env.PATH ?? '/usr/bin:/bin'}:/usr/sbin:/sbin` };
}
