/**
 * Notifications to the service manager (sd_notify(3)).
 *
 * They are readiness, reloading, stopping, watchdog pings and a status line. NOTIFY_SOCKET names
 * the socket; without it every call does nothing, as on a machine without systemd.
 *
 * The datagrams go through the shim, because Node has no Unix datagram sockets. If the manager's
 * queue is full, messages are retried after a short delay, in order. While messages wait, STATUS
 * and WATCHDOG messages are left out, because the next message of the same kind replaces them.
 */
import type { Shim } from '../abi/binding.js';
import { ERRNO, errnoName } from '../abi/errno.js';

/** Delay before a message to a full queue is retried, ms. */
const RETRY_MS = 50;
/** Longest status line, characters. */
const STATUS_MAX_LEN = 500;

export class Service {
  /** Longest permitted time between two pings, ms; 0: no pings are due. */
  readonly watchdogMs: number;
  readonly #shim: Shim;
  readonly #socket: string;
  readonly #warn: (text: string) => void;
  /** Messages that a full queue has not accepted yet. */
  #waiting: string[] = [];
  #retry: NodeJS.Timeout | undefined;
  #status = '';
  /** Number of reloads in progress. */
  #reloads = 0;
  #stopping = false;
  #warned = false;

  /** @param warn called once, when the socket cannot be written to */
  constructor(shim: Shim, env: NodeJS.ProcessEnv, warn: (text: string) => void = () => {}) {
    this.#shim = shim;
    this.#socket = env.NOTIFY_SOCKET ?? '';
    this.#warn = warn;
    this.watchdogMs = watchdogMs(env);
  }

  /** True if a service manager listens. */
  get listens(): boolean {
    return this.#socket !== '';
  }

  ready(status: string): void {
    this.#status = status;
    this.#notify(`READY=1\n${statusLine(status)}`);
  }

  /**
   * Reports the start of a reload. Reports readiness when the reload has ended, successfully or
   * not.
   *
   * After concurrent reloads, readiness is reported when the last of them has ended. The time in a
   * message distinguishes the reload from earlier reloads.
   *
   * @param status source of the status line after the reload
   */
  async reload<T>(work: () => Promise<T>, status: () => string): Promise<T> {
    this.#notify(`RELOADING=1\nMONOTONIC_USEC=${process.hrtime.bigint() / 1000n}`);
    this.#reloads++;
    try {
      return await work();
    } finally {
      this.#reloads--;
      if (this.#reloads === 0 && !this.#stopping) this.ready(status());
    }
  }

  /** Sends a status line if it has changed. */
  status(text: string): void {
    if (text === this.#status || this.#waiting.length > 0) return;
    this.#status = text;
    this.#notify(statusLine(text));
  }

  stopping(): void {
    this.#stopping = true;
    this.#notify('STOPPING=1');
  }

  /** Sends a watchdog ping: all workers make progress. */
  ping(): void {
    if (this.#waiting.length === 0) this.#notify('WATCHDOG=1');
  }

  #notify(message: string): void {
    if (!this.listens) return;
    this.#waiting.push(message);
    if (this.#retry === undefined) this.#send();
  }

  #send(): void {
    this.#retry = undefined;
    for (let message = this.#waiting[0]; message !== undefined; message = this.#waiting[0]) {
      const answer = this.#shim.notifySend(this.#socket, message);
      if (answer === -ERRNO.EAGAIN) {
        this.#retry = setTimeout(() => this.#send(), RETRY_MS).unref();
        return;
      }
      if (answer < 0) this.#reportFailure(answer);
      this.#waiting.shift();
    }
  }

  #reportFailure(answer: number): void {
    if (this.#warned) return;
    this.#warned = true;
    const cure = 'it must be a path or @NAME of a socket that the service manager listens on';
    this.#warn(`cannot write to NOTIFY_SOCKET=${this.#socket} (${errnoName(answer)}): ${cure}`);
  }
}

function statusLine(text: string): string {
  return `STATUS=${text.replaceAll('\n', ' ').slice(0, STATUS_MAX_LEN)}`;
}

/**
 * Watchdog period, ms; 0: no pings are due.
 *
 * WATCHDOG_PID must name this process, because a child process inherits the variables of its
 * parent, which apply to the parent only.
 */
function watchdogMs({ NOTIFY_SOCKET, WATCHDOG_USEC, WATCHDOG_PID }: NodeJS.ProcessEnv): number {
  if (!NOTIFY_SOCKET || (WATCHDOG_PID && Number(WATCHDOG_PID) !== process.pid)) return 0;
  const us = Number(WATCHDOG_USEC);
  return Number.isInteger(us) && us > 0 ? us / 1000 : 0;
}
