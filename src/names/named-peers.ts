/**
 * Keeps the addresses of the configured peers up to date in a running VTEP.
 *
 * The addresses of a name become peers of every VNI that has the name. When the addresses change,
 * the peers change. When a peer becomes silent, its name is looked up again. An address of this host
 * is no peer: a peer stops being one when its address comes to this host, and becomes one again when
 * the address leaves. Before the VTEP runs, changed hosts are only collected.
 *
 * A change that fails, for example while the data plane restarts, is retried.
 */
import type { VniSettings } from '../config/settings.js';
import type { Events } from '../exchange/events.js';
import type { Logger } from '../log/log.js';
import type { IpAddress } from '../wire/ip-address.js';
import { type NameSource, ResolveError } from './lookup.js';
import { PeerNames } from './peer-names.js';
import { type PeerSigns, PeerSilence } from './peer-silence.js';

/** Delay before a failed change is retried, ms. */
const AGAIN_MS = 1000;

/** A configured host, and whether it is a name that stands for many hosts. */
export interface ConfiguredHost {
  readonly host: string;
  readonly all?: true;
}

/** Applies the new addresses of a host. */
export interface Following {
  /** All configured hosts; a host can occur several times. */
  hosts(): Iterable<ConfiguredHost>;
  /** @param addresses returns the addresses of the host, for a name that stands for many hosts or one */
  follow(host: string, addresses: (all: boolean) => readonly IpAddress[]): Promise<void>;
}

/** Current peers of each VNI. */
export interface PeerLists {
  vnis(): readonly { readonly vni: number }[];
  peers(vni: number): readonly { readonly name: string; readonly address: { readonly text: string } }[];
}

export interface NamedPeersOptions {
  readonly log: Logger;
  readonly events: Events;
  /** True for an address of this host. */
  readonly isOwn: (address: IpAddress) => boolean;
  /** True for an address that this host can send to. @throws HostError */
  readonly reaches: (address: IpAddress) => Promise<boolean>;
  /** Called after addresses of hosts have been applied. */
  readonly applied: () => void;
  /** Resolver; default: that of this machine. */
  readonly source?: NameSource;
}

export class NamedPeers {
  readonly names: PeerNames;
  readonly #log: Logger;
  readonly #events: Events;
  readonly #silence: PeerSilence;
  /** Hosts whose new addresses are not applied yet. */
  readonly #due = new Set<string>();
  /** Addresses that became silent or active in this check. */
  readonly #transitions = new Map<string, 'silent' | 'heard'>();
  /** Silent addresses whose names need a lookup. */
  readonly #silent = new Set<string>();
  /** Hosts that are being added. */
  readonly #adding: string[] = [];
  /** Addresses with which each host was last resolved, as text. */
  readonly #resolved = new Map<string, string>();
  readonly #applied: () => void;
  #configuration: Following | undefined;
  #lists: PeerLists | undefined;
  #following = false;
  #failure = '';
  #timer: NodeJS.Timeout | undefined;

  constructor(options: NamedPeersOptions) {
    const { log, events, isOwn, reaches, applied, source } = options;
    this.#applied = applied;
    this.#log = log;
    this.#events = events;
    this.names = new PeerNames({
      log,
      publish: (event) => events.publish(event),
      changed: (name) => this.#changed(name),
      isOwn,
      reaches,
      ...(source && { source }),
    });
    this.#silence = new PeerSilence({
      transition: (address, silent) => this.#transitions.set(address, silent ? 'silent' : 'heard'),
      lookUp: (address) => this.#silent.add(address),
    });
  }

  /** Starts to apply changes; called when the VTEP runs. */
  attach(lists: PeerLists, configuration: Following): void {
    this.#lists = lists;
    this.#configuration = configuration;
    this.review();
    void this.#follow();
  }

  stop(): void {
    clearTimeout(this.#timer);
    this.#configuration = undefined;
    this.names.stop();
  }

  /**
   * Runs `work`, which adds a peer, and follows the name of the peer meanwhile.
   *
   * @throws ResolveError if the host has no usable address
   */
  async adding<T>({ host, all }: ConfiguredHost, work: () => Promise<T>): Promise<T> {
    this.#adding.push(host);
    try {
      if ((await this.names.resolve(host, all)).length > 0) return await work();
      const own = `cannot resolve "${host}": no answer yet, or only addresses of this host`;
      throw new ResolveError(this.names.error(host) || own);
    } finally {
      this.#adding.splice(this.#adding.indexOf(host), 1);
    }
  }

  /** Addresses of a configured host, which become peers. */
  async resolve(host: string, all = false): Promise<readonly IpAddress[]> {
    const addresses = await this.names.resolve(host, all);
    this.#resolved.set(keyOf({ host, ...(all && { all }) }), textsOf(addresses));
    return addresses;
  }

  /** Forgets hosts that are not configured any more. */
  retain(vnis: readonly VniSettings[]): void {
    const lists = new Set(vnis.map(({ peers }) => peers));
    const hosts = new Set(this.#adding);
    const keys = new Set(this.#adding.flatMap((host) => [keyOf({ host }), keyOf({ host, all: true })]));
    for (const peer of [...lists].flat()) {
      hosts.add(peer.host);
      keys.add(keyOf(peer));
    }
    this.names.retain(hosts);
    for (const key of this.#resolved.keys()) if (!keys.has(key)) this.#resolved.delete(key);
  }

  /** Applies changed routes of this host, which possibly change the address of a name. */
  async networkChanged(): Promise<void> {
    await this.names.networkChanged();
    this.review();
  }

  /** Applies the addresses of hosts that differ now, because addresses of this host have changed. */
  review(): void {
    for (const { host, all } of this.#configuration?.hosts() ?? []) {
      const before = this.#resolved.get(keyOf({ host, ...(all && { all }) }));
      if (before !== undefined && before !== textsOf(this.names.addresses(host, all))) this.#changed(host);
    }
  }

  /** Processes the latest counters of the peers. */
  checked(signs: readonly PeerSigns[]): void {
    this.#silence.check(signs, performance.now());
    if (this.#transitions.size > 0 || this.#silent.size > 0) this.#publishSilence();
  }

  /**
   * Publishes all transitions in one pass: a VNI may have thousands of peers, and a network failure
   * silences all of them.
   */
  #publishSilence(): void {
    for (const { vni } of this.#lists?.vnis() ?? []) {
      for (const { address, name } of this.#lists!.peers(vni)) {
        const action = this.#transitions.get(address.text);
        if (action) this.#events.publish({ type: 'peer', vni, peer: address.text, name, action });
        if (name !== '' && this.#silent.has(address.text)) this.names.silent(name);
      }
    }
    this.#transitions.clear();
    this.#silent.clear();
  }

  #changed(host: string): void {
    this.#due.add(host);
    void this.#follow();
  }

  async #follow(): Promise<void> {
    const configuration = this.#configuration;
    if (this.#following || configuration === undefined) return;
    this.#following = true;
    for (const host of this.#due) {
      this.#due.delete(host);
      try {
        await configuration.follow(host, (all) => this.names.addresses(host, all));
        this.#failure = '';
      } catch (error) {
        this.#due.add(host);
        this.#fail(host, (error as Error).message);
        break;
      }
    }
    this.#following = false;
    this.#applied();
  }

  /** Schedules a retry. Logs the error, unless it is the same as at the previous attempt. */
  #fail(host: string, error: string): void {
    if (this.#configuration === undefined) return;
    if (error !== this.#failure)
      this.#log.warn({ peer: host, error }, 'cannot update the addresses of a peer; retrying every second');
    this.#failure = error;
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => void this.#follow(), AGAIN_MS);
  }
}

function keyOf({ host, all }: ConfiguredHost): string {
  return all ? `${host},all` : host;
}

function textsOf(addresses: readonly IpAddress[]): string {
  return addresses.map(({ text }) => text).join();
}
