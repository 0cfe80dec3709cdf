/**
 * Names of peers, followed: each is looked up when it is first asked for, again when what it resolved to runs out, and
 * soon after a peer of it fell silent. Whoever follows names is told when their addresses change.
 *
 * When is next: after the TTL, within bounds, for a zone may say 0 or a week; after a minute where there is no TTL (hosts file); after a
 * failure in 5 s, then twice as long each time, up to five minutes. All of them a little later, at random, so
 * that many names, or many daemons that started together, do not ask together.
 *
 * Invariants: a lookup that fails changes no address, and of one that half failed what is not known is kept; a name is never looked up
 * twice at once, and no more than some names at once; what a name server says changes peers once per TTL_MIN_S at most.
 *
 * Time, randomness and DNS are passed in. It has no timer, logs nothing and knows no peers: that is `peer-names.ts`.
 */
import type { IpAddress } from '../wire/ip-address.js';
import { lookUp, type NameSource, type Resolution, type ResolveError } from './lookup.js';

/** How often `look` is to be called, ms. */
export const CHECK_MS = 1000;
/** Bounds of a TTL, s: sooner would be a burden for name servers and FDB, later a change would never arrive. */
const TTL_MIN_S = 5;
const TTL_MAX_S = 3600;
/** Without a TTL: the hosts file costs nothing to read. */
const NO_TTL_S = 60;
const RETRY_MIN_S = 5;
const RETRY_MAX_S = 300;
/** For the sake of silence, no sooner after the lookup before than this, ms. */
const SOONEST_MS = 10_000;
/** Share of the time by which a lookup comes later, at most. */
const JITTER = 0.1;
/** getaddrinfo holds one of node's four threads for files while it waits for a name server: some are left for files. */
const AT_ONCE = 2;

export interface FollowerOptions {
  readonly source: NameSource;
  /** 0 … 1. */
  readonly random: () => number;
  /** A clock that only goes forward, ms: what lookups are timed by. */
  readonly nowMs: () => number;
  /** ms since the epoch, for what people are shown. */
  readonly epochMs: () => number;
  /** A lookup has ended. @param before the addresses until now */
  readonly resolved: (name: NameState, before: readonly IpAddress[]) => void;
}

/** What is known of a name. */
export interface NameState {
  readonly name: string;
  /** The last ones that were found; empty: it has never resolved. */
  readonly addresses: readonly IpAddress[];
  /** Why the last lookup failed, one line for people; '' it did not. */
  readonly error: string;
  /** Lookups that failed, ever. */
  readonly failures: number;
  /** When it resolved last, ms since the epoch; 0: never. */
  readonly lastSuccessMs: number;
}

interface Followed {
  state: NameState;
  /** Failures since it resolved. */
  failedInRow: number;
  /** On the clock that only goes forward. */
  askedMs: number;
  nextMs: number;
  busy: boolean;
  /** Resolved when the first lookup has ended. */
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
   * Follows a name from now on, if it does not yet.
   * @param name a DNS name, never an address
   * @returns what is known of it when the first lookup has ended, however it ended
   */
  async follow(name: string): Promise<NameState> {
    const followed = this.#names.get(name) ?? this.#begin(name);
    this.#askDue();
    await followed.tried;
    return followed.state;
  }

  /** Forgets all names but these. What is under way for them comes to nothing. */
  retain(names: ReadonlySet<string>): void {
    for (const [name, { setTried }] of this.#names) {
      if (names.has(name)) continue;
      this.#names.delete(name);
      setTried();
    }
  }

  /** As far as is known. */
  addresses(name: string): readonly IpAddress[] {
    return this.#names.get(name)?.state.addresses ?? [];
  }

  states(): NameState[] {
    return Array.from(this.#names.values(), ({ state }) => state);
  }

  /** A peer of this name does not answer: it may have moved. */
  silent(name: string): void {
    const followed = this.#names.get(name);
    if (followed) followed.nextMs = Math.min(followed.nextMs, followed.askedMs + SOONEST_MS);
  }

  /** Begins what is due. Call every CHECK_MS. */
  check(): void {
    this.#askDue();
  }

  #begin(name: string): Followed {
    let setTried = () => {};
    const tried = new Promise<void>((resolve) => (setTried = resolve));
    const state = { name, addresses: [], error: '', failures: 0, lastSuccessMs: 0 };
    const never = Number.NEGATIVE_INFINITY;
    const times = { askedMs: never, nextMs: never, failedInRow: 0, busy: false };
    const followed: Followed = { state, ...times, tried, setTried };
    this.#names.set(name, followed);
    return followed;
  }

  /** The longest due first, or the first names of a long list would be all that are ever asked for. */
  #askDue(): void {
    const nowMs = this.#options.nowMs();
    const due = [...this.#names.values()].filter(({ busy, nextMs }) => !busy && nextMs <= nowMs);
    due.sort((a, b) => a.nextMs - b.nextMs || 0);
    for (const followed of due.slice(0, AT_ONCE - this.#running)) void this.#ask(followed);
  }

  async #ask(followed: Followed): Promise<void> {
    const { name } = followed.state;
    followed.busy = true;
    followed.askedMs = this.#options.nowMs();
    this.#running++;
    const found = await lookUp(name, this.#options.source).catch((error: ResolveError) => error.message);
    this.#running--;
    followed.busy = false;
    if (this.#names.get(name) === followed) this.#accept(followed, found);
    this.#askDue();
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

/** @param failures in a row, from 1 */
function retryS(failures: number): number {
  return Math.min(RETRY_MIN_S * 2 ** Math.min(failures - 1, 10), RETRY_MAX_S);
}
