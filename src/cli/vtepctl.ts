/**
 * vtepctl: looks at a running vtepd and changes it through the control API. Words and layout follow `ip` and `bridge`:
 * silent when a change succeeded, a table when something was asked. Each command stands in `commands/`.
 *
 * Exit codes: 0 done, or all is well; 1 vtepd or the machine refused or cannot be reached, a path does not carry what it
 * should or nobody knows, the doctor found something; 2 the command line is wrong.
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
import { DEFAULT_API, type Declare, Refusal, type Runner, runner, UsageError } from './session.js';
import type { Surroundings } from './surroundings.js';

/** In the order of the help. */
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

/** @param argv without node and script. @returns the exit code */
export async function vtepctl(argv: readonly string[], around: Surroundings): Promise<number> {
  const verdict = { bad: false };
  const program = makeProgram(runner(around, verdict), around.stdout);
  try {
    await program.parseAsync(argv, { from: 'user' });
    return verdict.bad ? 1 : 0;
  } catch (error) {
    if (error instanceof CommanderError) return commanderExit(error, around);
    if (!(error instanceof UsageError || error instanceof Refusal || error instanceof ApiFailure))
      throw error;
    around.stderr(`vtepctl: ${error.message}\n`);
    return error instanceof UsageError ? 2 : 1;
  }
}

/**
 * The tree of commands: what is parsed, completed, and described in the manual.
 *
 * @param print where help and version go
 */
export function makeProgram(run: Runner, print: (text: string) => void): Command {
  const program = new Command('vtepctl')
    .description('Looks at a running vtepd and changes its VNIs, peers and FDB.')
    .option('--api <HOST:PORT|unix:PATH>', `where vtepd listens (default: $VTEPCTL_API, else ${DEFAULT_API})`)
    .option('--token-file <FILE>', 'holds the token of the API (default: $VTEPCTL_TOKEN_FILE, else none)')
    .option('--json', 'print JSON, as the API answers it')
    .helpOption('--help', 'print this and exit')
    .helpCommand(false)
    .version(packageVersion(), '--version', 'print the version and exit')
    .addHelpText(
      'after',
      '\nExit codes: 0 done; 1 refused, not found, unreachable, or something is wrong; 2 the command line is wrong.',
    )
    // Before there are commands: they inherit it.
    .configureOutput({ writeOut: print, writeErr: () => {} })
    .exitOverride();
  for (const declare of COMMANDS) declare(program, run);
  return program;
}

/** Help and version were printed already; anything else is a mistake on the command line. */
function commanderExit(error: CommanderError, { stderr }: Surroundings): number {
  if (error.exitCode === 0) return 0;
  const nothingAsked = error.code === 'commander.help';
  const message = nothingAsked
    ? 'no command given'
    : error.message.replace(/^error: /, '').replaceAll('\n', ' ');
  stderr(`vtepctl: ${message} ("vtepctl --help" lists the commands)\n`);
  return 2;
}
