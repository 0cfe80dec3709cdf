/** Environment of vtepctl: I/O, clocks and signals, injected by the executable or by tests. */
import type { Writable } from 'node:stream';
import type { Finding } from '../api/views.js';
import type { Screen } from './screen.js';

export interface Environment {
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly stdout: (text: string) => void;
  readonly stderr: (text: string) => void;
  /** stdout as a stream of bytes, for binary output that must not go to a terminal. */
  readonly output: { readonly stream: Writable; readonly isTerminal: boolean };
  /** Full-screen output; undefined if stdin or stdout is not a terminal. */
  readonly screen: Screen | undefined;
  /** Replaces the progress line on stderr; '' removes it. */
  readonly progress: (line: string) => void;
  /**
   * Returns a signal that Ctrl-C, SIGTERM, SIGHUP or a closed stdout aborts. Only commands that run
   * until such an interruption call this function; for all other commands the signals keep their
   * default effect.
   */
  readonly interrupted: () => AbortSignal;
  /** Resolves after `ms` milliseconds, or at once when the signal is aborted. */
  readonly sleep: (ms: number, signal: AbortSignal) => Promise<void>;
  /** Runs the doctor's checks of this machine, without a daemon. */
  readonly doctor: () => Promise<readonly Finding[]>;
  /** Milliseconds since the epoch. */
  readonly nowMs: () => number;
  /** Monotonic clock in milliseconds, for intervals. */
  readonly elapsedMs: () => number;
}
