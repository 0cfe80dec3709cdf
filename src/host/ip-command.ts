/**
 * ip(8) of iproute2, asked for JSON. Netlink by way of the tool that every administrator can repeat by hand:
 * start and stop only, some milliseconds a call. A child inherits ambient capabilities, not those of a file
 * (capabilities(7)). Nothing here knows what the commands mean.
 */
import { type ExecFileException, execFile } from 'node:child_process';
import { HostError, NEEDS_RIGHTS } from './host-error.js';

/** A machine with thousands of containers has a long list of links. */
const MAX_OUTPUT_LEN = 64 * 1024 * 1024;
/** Netlink answers at once; a call that takes this long hangs on a lock that something else holds. */
const TIMEOUT_MS = 10_000;

const INSTALL = 'install iproute2';

/** The device of `ip … dev NAME` is not there. */
export class NoSuchDeviceError extends HostError {}

/** The kernel knows no way to the destination of `ip route get`. */
export class NoRouteError extends HostError {}

/**
 * Runs `ip -json ARGS`.
 *
 * @returns what it printed, one element an object; empty when it printed nothing
 * @throws NoSuchDeviceError, NoRouteError, HostError
 */
export async function ip(args: readonly string[]): Promise<unknown[]> {
  const { error, stdout, stderr } = await runIp(args, '');
  if (error) throw explainFailure(args, error, stderr);
  return parsed(args, stdout);
}

/**
 * Runs many commands in one process.
 *
 * @returns what those printed that succeeded, in order
 * @throws HostError when ip(8) can't be run
 */
export async function ipBatch(commands: readonly string[]): Promise<unknown[]> {
  const args = ['-force', '-batch', '-'];
  const { error, stdout, stderr } = await runIp(args, `${commands.join('\n')}\n`);
  // An exit code tells of a command that failed.
  if (error && (typeof error.code !== 'number' || error.killed)) throw explainFailure(args, error, stderr);
  return stdout
    .split('\n')
    .filter((line) => line.trim() !== '')
    .flatMap((line) => parsed(args, line));
}

interface Ended {
  error: ExecFileException | null;
  stdout: string;
  stderr: string;
}

function runIp(args: readonly string[], input: string): Promise<Ended> {
  return new Promise((resolve) => {
    const options = { env: environment(), maxBuffer: MAX_OUTPUT_LEN, timeout: TIMEOUT_MS };
    const child = execFile('ip', ['-json', ...args], options, (error, stdout, stderr) =>
      resolve({ error, stdout, stderr }),
    );
    // A process that did not start, or ended early, reads nothing: its error says so.
    child.stdin?.on('error', () => {}).end(input);
  });
}

function parsed(args: readonly string[], stdout: string): unknown[] {
  try {
    return parseOutput(stdout);
  } catch {
    throw new HostError(`"ip ${args.join(' ')}" gave no JSON: ${INSTALL} 4.14 or newer`);
  }
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
function environment(): NodeJS.ProcessEnv {
  return { ...process.env, LC_ALL: 'C', PATH: `${process.env.PATH ?? '/usr/bin:/bin'}:/usr/sbin:/sbin` };
}
