/**
 * The logger: JSON lines for machines, or readable lines for a terminal.
 *
 * It writes to stderr and leaves stdout for the output that a command was asked to print.
 *
 * Callers: the main thread, and the code around the data plane of a worker through a message. Code
 * that runs per frame does not log, and no line exists that a remote host can trigger at will.
 */
import { createRequire } from 'node:module';
import { pino } from 'pino';

export type Logger = import('pino').Logger;

const STDERR = 2;

/** Returns a logger that writes nothing. */
export function silentLogger(): Logger {
  return pino({ level: 'silent' });
}

/**
 * Both formats write synchronously: the last line before an exit is the most important one, and
 * lines are few.
 *
 * @param level pino level; lines below it are not written
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

/** Loaded on demand: only a terminal needs it, not a service. */
function loadPretty(): typeof import('pino-pretty') {
  return createRequire(import.meta.url)('pino-pretty');
}
