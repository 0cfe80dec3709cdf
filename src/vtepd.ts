#!/usr/bin/env node
/**
 * Executable of the daemon: command line, signals and exit codes.
 *
 * Exit code 0: stopped by a signal, or printed or checked as requested; 1: a failed start or an
 * uncaught exception; 2: invalid configuration.
 */
import { parseCommandLine } from './cli/flags.js';
import { ConfigError } from './config/config-error.js';
import type { Settings } from './config/settings.js';

try {
  const command = parseCommandLine(process.argv.slice(2));
  if (command.kind === 'print') process.stdout.write(command.text);
  else if (command.check) process.stdout.write('configuration is good\n');
  else await run(command.settings, command.config === '' ? undefined : reread);
} catch (error) {
  process.stderr.write(`vtepd: ${(error as Error).message}\n`);
  process.exitCode = error instanceof ConfigError ? 2 : 1;
}

/** Reads flags and configuration file again. */
function reread(): Settings {
  const command = parseCommandLine(process.argv.slice(2));
  if (command.kind !== 'run') throw new Error('the command line does not start a daemon');
  return command.settings;
}

/**
 * Runs until a signal arrives. A signal during the start takes effect when the start has completed.
 */
async function run(settings: Settings, reread: (() => Settings) | undefined): Promise<void> {
  // Loaded on demand: loading takes most of the start-up time, and printing and checking do not
  // need these modules.
  const [{ createLogger }, { Daemon }] = await Promise.all([
    import('./log/log.js'),
    import('./daemon/daemon.js'),
  ]);
  const log = createLogger(settings.logLevel, settings.logFormat);
  const stopped = new Promise<string>((resolve) => {
    for (const signal of ['SIGTERM', 'SIGINT'] as const) process.once(signal, () => resolve(signal));
    process.once('uncaughtException', (error) => {
      log.fatal({ error: error.message, stack: error.stack }, 'uncaught exception, a bug in vtepd: stopping');
      process.exitCode = 1;
      resolve('fault');
    });
  });
  const starting = Daemon.start(settings, log, reread);
  process.on('SIGHUP', () => starting.then((daemon) => daemon.reload()).catch(() => {}));
  const daemon = await starting;
  log.info({ why: await stopped }, 'stopping');
  await daemon.stop();
}
