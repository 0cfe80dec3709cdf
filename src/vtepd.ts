#!/usr/bin/env node
/**
 * The daemon's executable: argv → settings → daemon, signals and exit codes. Exit 0: asked to stop, or to print or check
 * something; 1: the machine refused; 2: the configuration is wrong.
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

/** Flags and file as they are now. */
function reread(): Settings {
  const command = parseCommandLine(process.argv.slice(2));
  if (command.kind !== 'run') throw new Error('flags that ran once run again');
  return command.settings;
}

/** Runs until a signal comes; one that comes during the start is heeded once the start is done. */
async function run(settings: Settings, reread: (() => Settings) | undefined): Promise<void> {
  // Most of what takes a start its time, and nothing that printing or checking needs.
  const [{ createLogger }, { Daemon }] = await Promise.all([
    import('./log/log.js'),
    import('./daemon/daemon.js'),
  ]);
  const log = createLogger(settings.logLevel, settings.logFormat);
  const stopped = new Promise<string>((resolve) => {
    for (const signal of ['SIGTERM', 'SIGINT'] as const) process.once(signal, () => resolve(signal));
    process.once('uncaughtException', (error) => {
      log.fatal({ error: error.message, stack: error.stack }, 'a fault of vtepd itself');
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
