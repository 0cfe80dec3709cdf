/**
 * Watchdog pings and the status line for the service manager.
 *
 * The pings depend on the workers: each worker writes a heartbeat in every round, at least ten
 * times a second. If a heartbeat does not change between two checks, no ping is sent; after
 * `WatchdogSec=` without a ping the service manager ends and restarts the daemon. A main thread
 * that hangs sends no pings either.
 */
import type { Service } from './service.js';

/** Checks per watchdog period; several, so that one late check does not cause a restart. */
const CHECKS = 4;
/** Period of the status line if no pings are due, ms. */
const STATUS_PERIOD_MS = 5000;
/** Checks without progress before the stall is logged: half of the watchdog period. */
const STILL_CHECKS = 2;

export interface Watched {
  /** One heartbeat per worker, a time of any clock; only its changes matter. */
  heartbeats: () => readonly number[];
  status: () => string;
  /** Called when the data plane has stalled, and when it runs again. */
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

  /** Reports the start and the end of a stall once each. */
  #note(turns: boolean): void {
    if (turns && this.#still >= STILL_CHECKS) this.#watched.stalled(false);
    this.#still = turns ? 0 : this.#still + 1;
    if (this.#still === STILL_CHECKS) this.#watched.stalled(true);
  }
}
