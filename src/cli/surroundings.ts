/** The world as vtepctl sees it: handed in by the executable, and by tests. */
import type { Writable } from 'node:stream';
import type { Finding } from '../api/views.js';
import type { Screen } from './screen.js';

export interface Surroundings {
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly stdout: (text: string) => void;
  readonly stderr: (text: string) => void;
  /** stdout as a stream of bytes; a terminal shows them to people, for whom they are not. */
  readonly output: { readonly stream: Writable; readonly isTerminal: boolean };
  /** The terminal as a whole; undefined when stdin or stdout is none. */
  readonly screen: Screen | undefined;
  /** Shows one line in place of the last, for whoever watches; '' removes it. */
  readonly progress: (line: string) => void;
  /**
   * Aborted by Ctrl-C, SIGTERM, SIGHUP, and when nobody reads stdout any more. Asked for only by commands that run until
   * then: for the others these signals keep their usual effect.
   */
  readonly interrupted: () => AbortSignal;
  /** Resolves after so many milliseconds, or at once when the signal is aborted. */
  readonly sleep: (ms: number, signal: AbortSignal) => Promise<void>;
  /** Looks at this machine without a daemon. */
  readonly doctor: () => Promise<readonly Finding[]>;
  /** Milliseconds since the epoch. */
  readonly nowMs: () => number;
  /** Monotonic clock, milliseconds; for intervals. */
  readonly elapsedMs: () => number;
}
