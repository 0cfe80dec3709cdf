/**
 * Addresses of the peers that are configured by name.
 *
 * Changes are reported to the desired state of the data plane, to event subscribers and to the log.
 * `names/follow.ts` decides when a name is looked up.
 *
 * A name that does not resolve delays the start by FIRST_MS at most. Its peers are added when it
 * resolves, and the status has a warning until then. A name stands for one host, and one of its
 * addresses is the peer (`choice.ts`), unless it is configured to stand for many hosts. Addresses of
 * this host are never peers, so that all VTEPs can have the same configuration.
 */
import { setTimeout as delay } from 'node:timers/promises';
import type { VtepEvent } from '../exchange/events.js';
import { type Report, reportText } from '../exchange/report.js';
import type { Logger } from '../log/log.js';
import { LimitedLog } from '../log/log-limit.js';
import { type IpAddress, parseIpAddress } from '../wire/ip-address.js';
import { chooseAddress } from './choice.js';
import { CHECK_MS, NameFollower, type NameState } from './follow.js';
import { type NameSource, SYSTEM } from './lookup.js';
import { rejectInvalidName } from './resolve.js';

/** Longest wait of a start or an API call for the first lookup of a name, ms. */
const FIRST_MS = 5000;

export interface PeerNamesOptions {
  readonly log: Logger;
  readonly publish: (event: VtepEvent) => void;
  /** Called when the addresses of a followed name, or their order, have changed. */
  readonly changed: (name: string) => void;
  /** True for an address of this host. */
  readonly isOwn: (address: IpAddress) => boolean;
  /** True for an address that this host can send to. @throws HostError */
  readonly reaches: (address: IpAddress) => Promise<boolean>;
  /** Resolver; default: that of this machine. */
  readonly source?: NameSource;
}

export class PeerNames {
  readonly #options: PeerNamesOptions;
  readonly #follower: NameFollower;
  readonly #log: LimitedLog;
  /** Names whose last lookup failed. */
  readonly #failing = new Set<string>();
  /** Addresses without a route of each name that has several addresses. */
  readonly #unreachable = new Map<string, ReadonlySet<string>>();
  /** Address in use of each name that stands for one host. */
  readonly #inUse = new Map<string, string>();
  readonly #timer: NodeJS.Timeout;

  constructor(options: PeerNamesOptions) {
    this.#options = options;
    this.#log = new LimitedLog(options.log);
    this.#follower = new NameFollower({
      source: options.source ?? SYSTEM,
      random: Math.random,
      nowMs: () => performance.now(),
      epochMs: Date.now,
      resolved: (state, before) => this.#resolved(state, before),
    });
    this.#timer = setInterval(() => this.#follower.check(), CHECK_MS).unref();
  }

  stop(): void {
    clearInterval(this.#timer);
    this.#follower.retain(new Set());
  }

  /**
   * Starts to follow the host if it is a name.
   *
   * @param all true for a name that stands for many hosts
   * @returns addresses; empty: the name has not resolved yet, or has only addresses of this host
   * @throws ResolveError if the host is neither an address nor a name
   */
  async resolve(host: string, all = false): Promise<readonly IpAddress[]> {
    if (parseIpAddress(host) === undefined) {
      rejectInvalidName(host);
      const enough = new AbortController();
      const waited = delay(FIRST_MS, undefined, { signal: enough.signal }).catch(() => {});
      await Promise.race([this.#follower.follow(host), waited]);
      enough.abort();
      await this.#findRoutes(host);
    }
    return this.addresses(host, all);
  }

  /**
   * Known addresses of a host that are peers.
   *
   * @param all true for a name that stands for many hosts
   */
  addresses(host: string, all = false): readonly IpAddress[] {
    const others = this.allAddresses(host).filter((address) => !this.#options.isOwn(address));
    if (all || others.length < 2) return others;
    const unreachable = this.#unreachable.get(host);
    const chosen = chooseAddress(others, this.#inUse.get(host), ({ text }) => !unreachable?.has(text))!;
    this.#inUse.set(host, chosen.text);
    return [chosen];
  }

  /** Known addresses of a host, with those of this host. */
  allAddresses(host: string): readonly IpAddress[] {
    const literal = parseIpAddress(host);
    return literal ? [literal] : this.#follower.addresses(host);
  }

  /**
   * Finds out again which addresses have a route, after the network of this host has changed. The
   * resolver possibly prefers another order now, so the names are looked up again soon.
   */
  async networkChanged(): Promise<void> {
    const several = this.states().filter(({ addresses }) => addresses.length > 1);
    for (const { name } of several) this.#follower.hasten(name);
    await Promise.all(several.map(({ name }) => this.#findRoutes(name)));
  }

  /** Stops following all names except these. */
  retain(hosts: Iterable<string>): void {
    const kept = new Set(hosts);
    for (const name of this.#failing) if (!kept.has(name)) this.#failing.delete(name);
    for (const { name } of this.states()) {
      if (kept.has(name)) continue;
      this.#log.forget(name);
      this.#unreachable.delete(name);
      this.#inUse.delete(name);
    }
    this.#follower.retain(kept);
  }

  /** Requests an early lookup, because a silent peer of this name possibly has a new address. */
  silent(name: string): void {
    this.#follower.hasten(name);
  }

  states(): readonly NameState[] {
    return this.#follower.states();
  }

  /** Error of the last lookup of a name, one line; '' if none. */
  error(name: string): string {
    return this.states().find((state) => state.name === name)?.error ?? '';
  }

  reports(): Report[] {
    return this.states()
      .filter(({ error }) => error !== '')
      .map(reportOf);
  }

  #resolved(state: NameState, before: readonly IpAddress[]): void {
    const { name, error } = state;
    const addresses = state.addresses.map(({ text }) => text);
    const textsBefore = before.map(({ text }) => text);
    // Resolvers rotate addresses of equal preference, which is no news.
    const moved = [...addresses].sort().join() !== [...textsBefore].sort().join();
    const failed = error !== '';
    if (moved || failed !== this.#failing.has(name)) {
      if (failed) this.#failing.add(name);
      else this.#failing.delete(name);
      this.#logChange(state, addresses);
      this.#options.publish({ type: 'resolve', name, addresses, error });
    }
    if (addresses.join() === textsBefore.join()) return;
    if (addresses.length < 2) this.#options.changed(name);
    else void this.#findRoutes(name).then(() => this.#options.changed(name));
  }

  /** Looks up the routes of a name with several addresses. An address stays reachable on failure. */
  async #findRoutes(name: string): Promise<void> {
    const addresses = this.#follower.addresses(name);
    const reached =
      addresses.length < 2
        ? []
        : await Promise.all(addresses.map((address) => this.#options.reaches(address).catch(() => true)));
    const unreachable = addresses.filter((_, i) => reached[i] === false);
    if (unreachable.length === 0) this.#unreachable.delete(name);
    else this.#unreachable.set(name, new Set(unreachable.map(({ text }) => text)));
  }

  #logChange(state: NameState, addresses: readonly string[]): void {
    const { name, error } = state;
    const report = reportOf(state);
    if (error !== '') this.#log.log(name, 'warn', { code: report.code, peer: name }, reportText(report));
    else this.#log.log(name, 'info', { peer: name, addresses }, 'peer name resolved');
  }
}

/** The report of a name whose last lookup failed. */
function reportOf({ addresses, error }: NameState): Report {
  const cure = 'correct the name, or its record in DNS or the hosts file; vtepd repeats the lookup';
  if (addresses.length === 0)
    return {
      code: 'peer_unresolved',
      detail: error,
      why: 'no frames are sent to this peer until the name resolves',
      cure,
    };
  const kept = addresses.map(({ text }) => text).join(', ');
  return {
    code: 'peer_resolve_stale',
    detail: `${error}; keeping its last addresses: ${kept}`,
    why: 'a peer that has moved to another address is unreachable until the name resolves',
    cure,
  };
}
