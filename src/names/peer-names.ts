/**
 * Addresses of the peers that are configured by name.
 *
 * Changes are reported to the desired state of the data plane, to event subscribers and to the log.
 * `names/follow.ts` decides when a name is looked up.
 *
 * A name that does not resolve delays the start by FIRST_MS at most. Its peers are added when it
 * resolves, and the status has a warning until then. Addresses of this host are not peers, so that
 * all VTEPs can be configured with one name that lists all of them.
 */
import { networkInterfaces } from 'node:os';
import { setTimeout as delay } from 'node:timers/promises';
import type { VtepEvent } from '../exchange/events.js';
import { type Report, reportText } from '../exchange/report.js';
import type { Logger } from '../log/log.js';
import { LimitedLog } from '../log/log-limit.js';
import { type IpAddress, parseIpAddress } from '../wire/ip-address.js';
import { CHECK_MS, NameFollower, type NameState } from './follow.js';
import { type NameSource, SYSTEM } from './lookup.js';
import { rejectInvalidName } from './resolve.js';

/** Longest wait of a start or an API call for the first lookup of a name, ms. */
const FIRST_MS = 5000;

export interface PeerNamesOptions {
  readonly log: Logger;
  readonly publish: (event: VtepEvent) => void;
  /** Called when the addresses of a followed name have changed. */
  readonly changed: (name: string) => void;
  /** Resolver; default: that of this machine. */
  readonly source?: NameSource;
}

export class PeerNames {
  readonly #options: PeerNamesOptions;
  readonly #follower: NameFollower;
  readonly #log: LimitedLog;
  /** Names whose last lookup failed. */
  readonly #failing = new Set<string>();
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
   * @returns addresses; empty: the name has not resolved yet, or has only addresses of this host
   * @throws ResolveError if the host is neither an address nor a name
   */
  async resolve(host: string): Promise<readonly IpAddress[]> {
    if (parseIpAddress(host) === undefined) {
      rejectInvalidName(host);
      const enough = new AbortController();
      const waited = delay(FIRST_MS, undefined, { signal: enough.signal }).catch(() => {});
      await Promise.race([this.#follower.follow(host), waited]);
      enough.abort();
    }
    return this.addresses(host);
  }

  /** Known addresses of a host. */
  addresses(host: string): readonly IpAddress[] {
    const literal = parseIpAddress(host);
    if (literal) return [literal];
    const own = ownAddresses();
    return this.#follower.addresses(host).filter(({ text }) => !own.has(text));
  }

  /** Stops following all names except these. */
  retain(hosts: Iterable<string>): void {
    const kept = new Set(hosts);
    for (const name of this.#failing) if (!kept.has(name)) this.#failing.delete(name);
    for (const { name } of this.states()) if (!kept.has(name)) this.#log.forget(name);
    this.#follower.retain(kept);
  }

  /** Requests an early lookup, because a silent peer of this name possibly has a new address. */
  silent(name: string): void {
    this.#follower.silent(name);
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
    const moved = addresses.join() !== before.map(({ text }) => text).join();
    const failed = error !== '';
    const failedBefore = this.#failing.has(name);
    if (!moved && failed === failedBefore) return;
    if (failed) this.#failing.add(name);
    else this.#failing.delete(name);
    this.#logChange(state, addresses);
    this.#options.publish({ type: 'resolve', name, addresses, error });
    if (moved) this.#options.changed(name);
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

function ownAddresses(): Set<string> {
  const all = Object.values(networkInterfaces()).flatMap((addresses) => addresses ?? []);
  return new Set(all.map(({ address }) => parseIpAddress(address)?.text ?? address));
}
