/**
 * Command-line client of vtepd: shows and changes a running vtepd through the control API.
 *
 * Words and layout follow `ip` and `bridge`: a successful change prints nothing, a query prints a
 * table. The commands are in `commands/`.
 *
 * Exit status: 0 success; 1 vtepd or the machine refused, vtepd cannot be reached, the path MTU is
 * unknown or too small (`probe`), there are findings (`doctor`), or vtepd is not ready (`ready`);
 * 2 invalid command line.
 */
import { Command, CommanderError } from 'commander';
import { packageVersion } from '../config/version.js';
import { ApiFailure } from './client.js';
import { declareCapture } from './commands/capture.js';
import { declareCompletion } from './commands/completion.js';
import { declareCounters } from './commands/counters.js';
import { declareDoctor } from './commands/doctor.js';
import { declareEvents } from './commands/events.js';
import { declareFdb } from './commands/fdb.js';
import { declarePeer } from './commands/peer.js';
import { declareProbe } from './commands/probe.js';
import { declareReload } from './commands/reload.js';
import { declareStatus } from './commands/status.js';
import { declareTop } from './commands/top.js';
import { declareVni } from './commands/vni.js';
import type { Environment } from './environment.js';
import { DEFAULT_API, type Declare, Refusal, type Runner, runner, UsageError } from './session.js';

/** Commands in the order of the help. */
const COMMANDS: readonly Declare[] = [
  declareStatus,
  declareVni,
  declarePeer,
  declareFdb,
  declareCounters,
  declareTop,
  declareEvents,
  declareCapture,
  declareProbe,
  declareDoctor,
  declareReload,
  declareCompletion,
];

/** @param argv arguments without node and script @returns exit status */
export async function vtepctl(argv: readonly string[], environment: Environment): Promise<number> {
  const verdict = { bad: false };
  const program = makeProgram(runner(environment, verdict), environment.stdout);
  try {
    await program.parseAsync(argv, { from: 'user' });
    return verdict.bad ? 1 : 0;
  } catch (error) {
    if (error instanceof CommanderError) return commanderExit(error, environment);
    if (!(error instanceof UsageError || error instanceof Refusal || error instanceof ApiFailure))
      throw error;
    environment.stderr(`vtepctl: ${error.message}\n`);
    return error instanceof UsageError ? 2 : 1;
  }
}

/**
 * Builds the command tree, for parsing, completion and the man page.
 *
 * @param print output of help and version
 */
export function makeProgram(run: Runner, print: (text: string) => void): Command {
  const program = new Command('vtepctl')
    .description('Shows the state of a running vtepd and changes its VNIs, peers and FDB.')
    .option(
      '--api <HOST:PORT|unix:PATH>',
      `address of the API of vtepd (default: $VTEPCTL_API, else ${DEFAULT_API})`,
    )
    .option(
      '--token-file <FILE>',
      'file with the bearer token of the API (default: $VTEPCTL_TOKEN_FILE, else none)',
    )
    .option('--json', 'print the JSON response of the API')
    .helpOption('--help', 'print this help and exit')
    .helpCommand(false)
    .version(packageVersion(), '--version', 'print the version and exit')
    .addHelpText(
      'after',
      '\nExit status: 0 success; 1 refused, not found, unreachable, or a problem found; 2 invalid command line.',
    )
    // Set before the commands are added, because the commands inherit the output.
    .configureOutput({ writeOut: print, writeErr: () => {} })
    .exitOverride();
  for (const declare of COMMANDS) declare(program, run);
  return program;
}

/**
 * Returns 0 after help and version, which are already printed; prints other errors and returns 2.
 */
function commanderExit(error: CommanderError, { stderr }: Environment): number {
  if (error.exitCode === 0) return 0;
  const hasNoCommand = error.code === 'commander.help';
  const message = hasNoCommand
    ? 'no command given'
    : error.message.replace(/^error: /, '').replaceAll('\n', ' ');
  stderr(`vtepctl: ${message} ("vtepctl --help" lists the commands)\n`);
  return 2;
}
