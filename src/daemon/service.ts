/**
 * The service manager that started us, and how it is told how we are (sd_notify(3)): ready, reloading, stopping, alive,
 * and a line for people. The socket is named by NOTIFY_SOCKET; without it every call does nothing, as on a machine
 * without systemd.
 *
 * The datagrams go through the shim, as Node has no sockets of that kind. A manager whose queue is full is told again a
 * moment later, in the same order; what the next word of its kind replaces (STATUS, WATCHDOG) is left out then.
 */
import type { Shim } from '../abi/binding.js';
import { ERRNO, errnoName } from '../abi/errno.js';

/** When a full queue is tried again, ms. */
const RETRY_MS = 50;
/** A line of `systemctl status`; more than anybody reads. */
const STATUS_MAX_LEN = 500;

export class Service {
  /** Longest silence between two pings that the manager bears, ms; 0: it wants none. */
  readonly watchdogMs: number;
  readonly #shim: Shim;
  readonly #socket: string;
  readonly #complain: (text: string) => void;
  /** What a full queue has not taken yet. */
  #waiting: string[] = [];
  #retry: NodeJS.Timeout | undefined;
  #status = '';
  /** How many are under way. */
  #reloads = 0;
  #stopping = false;
  #complained = false;

  /** @param complain told once, when the manager cannot be told */
  constructor(shim: Shim, env: NodeJS.ProcessEnv, complain: (text: string) => void = () => {}) {
    this.#shim = shim;
    this.#socket = env.NOTIFY_SOCKET ?? '';
    this.#complain = complain;
    this.watchdogMs = watchdogMs(env);
  }

  /** Does a manager listen? */
  get listens(): boolean {
    return this.#socket !== '';
  }

  ready(status: string): void {
    this.#status = status;
    this.#notify(`READY=1\n${statusLine(status)}`);
  }

  /**
   * A reload is under way, and then over, however it ends; of several at once when the last is. The time lets the manager tell
   * one from an earlier one.
   * @param status asked when it is over
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

  /** A line for people, when it is another than before. */
  status(text: string): void {
    if (text === this.#status || this.#waiting.length > 0) return;
    this.#status = text;
    this.#notify(statusLine(text));
  }

  stopping(): void {
    this.#stopping = true;
    this.#notify('STOPPING=1');
  }

  /** Everything that has to be alive is. */
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
      if (answer < 0) this.#cannot(answer);
      this.#waiting.shift();
    }
  }

  #cannot(answer: number): void {
    if (this.#complained) return;
    this.#complained = true;
    const cure = 'it has to be a path or @NAME of a socket that the service manager listens on';
    this.#complain(`NOTIFY_SOCKET=${this.#socket} cannot be written to (${errnoName(answer)}): ${cure}`);
  }
}

function statusLine(text: string): string {
  return `STATUS=${text.replaceAll('\n', ' ').slice(0, STATUS_MAX_LEN)}`;
}

/** WATCHDOG_PID names whom it is meant for: a parent's environment says nothing about a child. */
function watchdogMs({ NOTIFY_SOCKET, WATCHDOG_USEC, WATCHDOG_PID }: NodeJS.ProcessEnv): number {
  if (!NOTIFY_SOCKET || (WATCHDOG_PID && Number(WATCHDOG_PID) !== process.pid)) return 0;
  const us = Number(WATCHDOG_USEC);
  return Number.isInteger(us) && us > 0 ? us / 1000 : 0;
}
