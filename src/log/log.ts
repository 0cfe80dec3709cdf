/**
 * The logger: JSON lines for machines, or readable lines for a terminal.
 *
 * It writes to stderr, because stdout is for the requested output of a command.
 *
 * Callers: the main thread, and the code around the data plane of a worker, which sends its lines
 * to the main thread in messages. Code that runs per frame does not log, and no line exists that a
 * remote host can trigger at will.
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
 * Creates a logger that writes synchronously in both formats.
 *
 * The last line of a process is the most important line, and a synchronous write cannot lose it at
 * exit. The writes cost little, because lines are few.
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

/** Loads pino-pretty on demand: a service with JSON lines does not need it. */
function loadPretty(): typeof import('pino-pretty') {
  return createRequire(import.meta.url)('pino-pretty');
}
