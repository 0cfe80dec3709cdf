/**
 * Follows peer names: repeats their lookups and reports changed addresses.
 *
 * A name is looked up when it is first requested, again when its addresses expire, and soon after
 * one of its peers has become silent.
 *
 * The next lookup is due after the TTL, which is bounded, because a zone can state 0 or a week.
 * Without a TTL (hosts file) it is due after one minute. After a failure it is due in 5 s, with
 * exponential back-off up to five minutes. A random delay is added, so that many names, or many
 * daemons started together, do not send their queries at the same time.
 *
 * Invariants:
 *
 * - A lookup that fails changes no address. If one address family fails, the known addresses of
 *   that family are kept.
 * - Two lookups of one name never run at the same time, and the number of concurrent lookups is
 *   bounded.
 * - The answers of a name server change peers at most once per TTL_MIN_S.
 *
 * Time, randomness and DNS are passed in. This module has no timer, logs nothing and knows no
 * peers; `peer-names.ts` has the timer and the log.
 */
import type { IpAddress } from '../wire/ip-address.js';
import { lookUp, type NameSource, type Resolution, type ResolveError } from './lookup.js';

/** Period in which to call `check`, ms. */
export const CHECK_MS = 1000;
/** Lower bound of a TTL, s: more frequent lookups would burden name servers and the FDB. */
const TTL_MIN_S = 5;
/** Upper bound of a TTL, s: rarer lookups would delay changes. */
const TTL_MAX_S = 3600;
/** Validity without a TTL, s: reading the hosts file is cheap. */
const NO_TTL_S = 60;
/** Delay after the first failure, s; it doubles with each further failure. */
const RETRY_MIN_S = 5;
/** Longest delay after a failure, s. */
const RETRY_MAX_S = 300;
/** Shortest time from a lookup to the next lookup that a silent peer causes, ms. */
const SOONEST_MS = 10_000;
/** Largest random delay of a lookup, as a fraction of the time until the lookup. */
const JITTER = 0.1;
/**
 * Concurrent lookups. getaddrinfo occupies one of the four threads of Node's thread pool while it
 * waits for a name server; the limit leaves threads for file access.
 */
const MAX_CONCURRENT = 2;

export interface FollowerOptions {
  readonly source: NameSource;
  /** Random number, 0 … 1. */
  readonly random: () => number;
  /** Monotonic clock for lookup times, ms. */
  readonly nowMs: () => number;
  /** Time since the epoch for timestamps, ms. */
  readonly epochMs: () => number;
  /**
   * Called when a lookup has ended.
   *
   * @param before addresses before the lookup
   */
  readonly resolved: (name: NameState, before: readonly IpAddress[]) => void;
}

/** Lookup state of a name. */
export interface NameState {
  readonly name: string;
  /**
   * Addresses of the last successful lookup in the order of the resolver; empty: the name has never
   * resolved.
   */
  readonly addresses: readonly IpAddress[];
  /** Error of the last lookup, one line; '' if it succeeded. */
  readonly error: string;
  /** Total number of failed lookups. */
  readonly failures: number;
  /** Time of the last successful lookup, ms since the epoch; 0: never. */
  readonly lastSuccessMs: number;
}

interface Followed {
  state: NameState;
  /** Consecutive failures since the last success. */
  failedInRow: number;
  /** Monotonic time of the last lookup, ms. */
  queriedMs: number;
  /** Monotonic time at which the next lookup is due, ms. */
  nextMs: number;
  busy: boolean;
  /** Resolves when the first lookup has ended. */
  readonly tried: Promise<void>;
  readonly setTried: () => void;
}

export class NameFollower {
  readonly #options: FollowerOptions;
  readonly #names = new Map<string, Followed>();
  #running = 0;

  constructor(options: FollowerOptions) {
    this.#options = options;
  }

  /**
   * Starts to follow a name; idempotent.
   *
   * @param name a DNS name, never an address
   * @returns state of the name after its first lookup, successful or not
   */
  async follow(name: string): Promise<NameState> {
    const followed = this.#names.get(name) ?? this.#begin(name);
    this.#queryDue();
    await followed.tried;
    return followed.state;
  }

  /** Forgets all names except these. Pending lookups of forgotten names have no effect. */
  retain(names: ReadonlySet<string>): void {
    for (const [name, { setTried }] of this.#names) {
      if (names.has(name)) continue;
      this.#names.delete(name);
      setTried();
    }
  }

  /** Known addresses of a name. */
  addresses(name: string): readonly IpAddress[] {
    return this.#names.get(name)?.state.addresses ?? [];
  }

  states(): NameState[] {
    return Array.from(this.#names.values(), ({ state }) => state);
  }

  /**
   * Brings the next lookup forward, because a silent peer of this name possibly has a new address, or
   * because the network of this host has changed, and with it the order of the addresses.
   */
  hasten(name: string): void {
    const followed = this.#names.get(name);
    if (followed) followed.nextMs = Math.min(followed.nextMs, followed.queriedMs + SOONEST_MS);
  }

  /** Starts lookups that are due. Call every CHECK_MS. */
  check(): void {
    this.#queryDue();
  }

  #begin(name: string): Followed {
    let setTried = () => {};
    const tried = new Promise<void>((resolve) => (setTried = resolve));
    const state = { name, addresses: [], error: '', failures: 0, lastSuccessMs: 0 };
    const never = Number.NEGATIVE_INFINITY;
    const times = { queriedMs: never, nextMs: never, failedInRow: 0, busy: false };
    const followed: Followed = { state, ...times, tried, setTried };
    this.#names.set(name, followed);
    return followed;
  }

  /**
   * Starts the longest-due lookups first; otherwise the first names of a long list would starve the
   * others.
   */
  #queryDue(): void {
    const nowMs = this.#options.nowMs();
    const due = [...this.#names.values()].filter(({ busy, nextMs }) => !busy && nextMs <= nowMs);
    due.sort((a, b) => a.nextMs - b.nextMs || 0);
    for (const followed of due.slice(0, MAX_CONCURRENT - this.#running)) void this.#query(followed);
  }

  async #query(followed: Followed): Promise<void> {
    const { name } = followed.state;
    followed.busy = true;
    followed.queriedMs = this.#options.nowMs();
    this.#running++;
    const found = await lookUp(name, this.#options.source).catch((error: ResolveError) => error.message);
    this.#running--;
    followed.busy = false;
    if (this.#names.get(name) === followed) this.#accept(followed, found);
    this.#queryDue();
  }

  #accept(followed: Followed, found: Resolution | string): void {
    const before = followed.state;
    const failed = typeof found === 'string';
    followed.failedInRow = failed ? followed.failedInRow + 1 : 0;
    followed.state = failed ? failedState(before, found) : this.#foundState(before, found);
    const seconds = failed ? retryS(followed.failedInRow) : validS(found);
    followed.nextMs = this.#options.nowMs() + seconds * 1000 * (1 + JITTER * this.#options.random());
    followed.setTried();
    this.#options.resolved(followed.state, before.addresses);
  }

  #foundState(before: NameState, { addresses, unknown }: Resolution): NameState {
    const kept = before.addresses.filter(({ family }) => unknown.includes(family));
    return {
      ...before,
      addresses: [...addresses, ...kept],
      error: '',
      lastSuccessMs: this.#options.epochMs(),
    };
  }
}

function failedState(before: NameState, error: string): NameState {
  return { ...before, error, failures: before.failures + 1 };
}

function validS({ ttlS = NO_TTL_S }: Resolution): number {
  return Math.min(Math.max(ttlS, TTL_MIN_S), TTL_MAX_S);
}

/** @param failures consecutive failures, from 1 */
function retryS(failures: number): number {
  return Math.min(RETRY_MIN_S * 2 ** Math.min(failures - 1, 10), RETRY_MAX_S);
}
