/**
 * The logger: JSON lines for machines, or one readable line a message for people. It writes to stderr, which
 * leaves stdout to what a command was asked to print.
 *
 * Who may call it: the main thread, and the worker's shell around the data plane through a message. Nothing
 * that runs per frame logs, and no line exists that a remote can trigger at will.
 */
import { createRequire } from 'node:module';
import { pino } from 'pino';

export type Logger = import('pino').Logger;

const STDERR = 2;

/** Writes nothing. */
export function silentLogger(): Logger {
  return pino({ level: 'silent' });
}

/**
 * Both formats write synchronously: the last line before an exit is the one that matters, and there are few.
 *
 * @param level one of pino's; what is below it is not written
 */
export function createLogger(
  level: 'fatal' | 'error' | 'warn' | 'info' | 'debug' | 'trace',
  format: 'json' | 'pretty',
): Logger {
  const options = { level, base: null, timestamp: pino.stdTimeFunctions.isoTime };
  if (format === 'json') {
    return pino(
      { ...options, formatters: { level: (label) => ({ level: label }) } },
      pino.destination({ dest: STDERR, sync: true }),
    );
  }
  return pino(
    options,
    loadPretty()({
      destination: STDERR,
      sync: true,
      colorize: process.stderr.isTTY === true,
      translateTime: 'SYS:HH:MM:ss.l',
    }),
  );
}

/** Only people at a terminal need it: a service starts without. */
function loadPretty(): typeof import('pino-pretty') {
  return createRequire(import.meta.url)('pino-pretty');
}
