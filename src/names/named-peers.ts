/**
 * Keeps the peers that are configured by name up to date in a running VTEP.
 *
 * The addresses of a name become peers of every VNI that has the name. When the addresses change,
 * the peers change. When a peer becomes silent, its name is looked up again. Before the VTEP runs,
 * changed names are only collected.
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

/** Applies the new addresses of a name. */
export interface Following {
  follow(name: string, addresses: () => readonly IpAddress[]): Promise<void>;
}

/** Current peers of each VNI. */
export interface PeerLists {
  vnis(): readonly { readonly vni: number }[];
  peers(vni: number): readonly { readonly name: string; readonly address: { readonly text: string } }[];
}

export interface NamedPeersOptions {
  readonly log: Logger;
  readonly events: Events;
  /** Resolver; default: that of this machine. */
  readonly source?: NameSource;
}

export class NamedPeers {
  readonly names: PeerNames;
  readonly #log: Logger;
  readonly #events: Events;
  readonly #silence: PeerSilence;
  /** Names whose new addresses are not applied yet. */
  readonly #due = new Set<string>();
  /** Addresses that became silent or active in this check. */
  readonly #transitions = new Map<string, 'silent' | 'heard'>();
  /** Silent addresses whose names need a lookup. */
  readonly #silent = new Set<string>();
  /** Hosts that are being added. */
  readonly #adding: string[] = [];
  #configuration: Following | undefined;
  #lists: PeerLists | undefined;
  #following = false;
  #failure = '';
  #timer: NodeJS.Timeout | undefined;

  constructor(options: NamedPeersOptions) {
    const { log, events, source } = options;
    this.#log = log;
    this.#events = events;
    this.names = new PeerNames({
      log,
      publish: (event) => events.publish(event),
      changed: (name) => this.#changed(name),
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
  async adding<T>(host: string, work: () => Promise<T>): Promise<T> {
    this.#adding.push(host);
    try {
      if ((await this.names.resolve(host)).length > 0) return await work();
      const own = `cannot resolve "${host}": no answer yet, or only addresses of this host`;
      throw new ResolveError(this.names.error(host) || own);
    } finally {
      this.#adding.splice(this.#adding.indexOf(host), 1);
    }
  }

  resolve(host: string): Promise<readonly IpAddress[]> {
    return this.names.resolve(host);
  }

  /** Forgets names that are not configured any more. */
  retain(vnis: readonly VniSettings[]): void {
    this.names.retain([...this.#adding, ...vnis.flatMap(({ peers }) => peers.map(({ host }) => host))]);
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

  #changed(name: string): void {
    this.#due.add(name);
    void this.#follow();
  }

  async #follow(): Promise<void> {
    const configuration = this.#configuration;
    if (this.#following || configuration === undefined) return;
    this.#following = true;
    for (const name of this.#due) {
      this.#due.delete(name);
      try {
        await configuration.follow(name, () => this.names.addresses(name));
        this.#failure = '';
      } catch (error) {
        this.#due.add(name);
        this.#fail(name, (error as Error).message);
        break;
      }
    }
    this.#following = false;
  }

  /** Schedules a retry. Logs the error, unless it is the same as at the previous attempt. */
  #fail(name: string, error: string): void {
    if (this.#configuration === undefined) return;
    if (error !== this.#failure)
      this.#log.warn({ peer: name, error }, 'cannot update the peers of a name; retrying every second');
    this.#failure = error;
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => void this.#follow(), AGAIN_MS);
  }
}
