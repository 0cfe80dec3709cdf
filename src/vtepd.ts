#!/usr/bin/env node
/**
 * The daemon's executable: argv → settings → daemon, signals and exit codes. Exit 0: asked to stop, or to print or check
 * something; 1: the machine refused; 2: the configuration is wrong.
 */
import { parseCommandLine } from './cli/flags.js';
import { ConfigError } from './config/config-error.js';
import type { Settings } from './config/settings.js';
import { Daemon } from './daemon.js';
import { createLogger } from './log.js';

try {
  const command = parseCommandLine(process.argv.slice(2));
  if (command.kind === 'print') process.stdout.write(command.text);
  else if (command.check) process.stdout.write('configuration is good\n');
  else await run(command.settings);
} catch (error) {
  process.stderr.write(`vtepd: ${(error as Error).message}\n`);
  process.exitCode = error instanceof ConfigError ? 2 : 1;
}

/** Runs until a signal comes; one that comes during the start is heeded once the start is done. */
async function run(settings: Settings): Promise<void> {
  const log = createLogger(settings.logLevel, settings.logFormat);
  const stopped = new Promise<string>((resolve) => {
    for (const signal of ['SIGTERM', 'SIGINT', 'SIGHUP'] as const)
      process.once(signal, () => resolve(signal));
    process.once('uncaughtException', (error) => {
      log.fatal({ error: error.message, stack: error.stack }, 'a fault of vtepd itself');
      process.exitCode = 1;
      resolve('fault');
    });
  });
  const daemon = await Daemon.start(settings, log);
  log.info({ why: await stopped }, 'stopping');
  await daemon.stop();
}
