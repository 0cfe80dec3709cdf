/**
 * What the service manager hears while the daemon runs: that it is alive, and its line for people.
 *
 * Alive is who forwards frames: each worker writes a heartbeat in every round, at least ten times a second. When one of
 * them does not move between two looks, the manager gets no ping, and ends and restarts a daemon that it has not heard of
 * for `WatchdogSec=`. A main thread that hangs does not look, which comes to the same.
 */
import type { Service } from './service.js';

/** Looks within the manager's patience: one that is late costs nothing. */
const CHECKS = 4;
/** How often the line for people is renewed where no ping is wanted, ms. */
const STATUS_PERIOD_MS = 5000;
/** So many looks in vain are worth a line in the log: half of the patience. */
const STILL_CHECKS = 2;

export interface Watched {
  /** One of each worker, of any clock. */
  heartbeats: () => readonly number[];
  status: () => string;
  /** The data plane has stopped turning, or turns again. */
  stalled: (isStalled: boolean) => void;
}

export class ServiceWatch {
  readonly #service: Service;
  readonly #watched: Watched;
  #before: readonly number[];
  #still = 0;
  #timer: NodeJS.Timeout | undefined;

  constructor(service: Service, watched: Watched) {
    this.#service = service;
    this.#watched = watched;
    this.#before = watched.heartbeats();
  }

  start(): void {
    const { listens, watchdogMs } = this.#service;
    if (!listens) return;
    const periodMs = watchdogMs > 0 ? watchdogMs / CHECKS : STATUS_PERIOD_MS;
    this.#timer = setInterval(() => this.check(), periodMs).unref();
  }

  stop(): void {
    clearInterval(this.#timer);
  }

  check(): void {
    this.#service.status(this.#watched.status());
    if (this.#service.watchdogMs === 0) return;
    const now = this.#watched.heartbeats();
    const turns = now.every((heartbeat, worker) => heartbeat !== this.#before[worker]);
    this.#before = now;
    if (turns) this.#service.ping();
    this.#note(turns);
  }

  /** One line when it stops, one when it goes on. */
  #note(turns: boolean): void {
    if (turns && this.#still >= STILL_CHECKS) this.#watched.stalled(false);
    this.#still = turns ? 0 : this.#still + 1;
    if (this.#still === STILL_CHECKS) this.#watched.stalled(true);
  }
}
