/**
 * Peers that are given by name, in a running VTEP: what a name comes to becomes peers of every VNI that has it, again whenever
 * that changes, and a peer that does not answer has its name looked up. Until the VTEP runs, names are only collected.
 *
 * What cannot be done while the data plane is being restarted is tried again until it can.
 */
import type { VniSettings } from '../config/settings.js';
import type { Events } from '../exchange/events.js';
import type { Logger } from '../log/log.js';
import type { IpAddress } from '../wire/ip-address.js';
import { type NameSource, ResolveError } from './lookup.js';
import { PeerNames } from './peer-names.js';
import { type PeerSigns, PeerSilence } from './peer-silence.js';

/** Until peers that could not be changed are tried again, ms. */
const AGAIN_MS = 1000;

/** What carries out that a name has other addresses. */
export interface Following {
  follow(name: string, addresses: () => readonly IpAddress[]): Promise<void>;
}

/** Who is a peer of what now. */
export interface PeerLists {
  vnis(): readonly { readonly vni: number }[];
  peers(vni: number): readonly { readonly name: string; readonly address: { readonly text: string } }[];
}

export interface NamedPeersOptions {
  readonly log: Logger;
  readonly events: Events;
  /** This machine's resolver unless a test says otherwise. */
  readonly source?: NameSource;
}

export class NamedPeers {
  readonly names: PeerNames;
  readonly #log: Logger;
  readonly #events: Events;
  readonly #silence: PeerSilence;
  /** Names whose addresses have changed and whose peers have not. */
  readonly #due = new Set<string>();
  /** Addresses that fell silent or were heard again in this look, and those whose names are to be looked up. */
  readonly #turned = new Map<string, 'silent' | 'heard'>();
  readonly #silent = new Set<string>();
  /** Hosts that are being added. */
  readonly #wanted: string[] = [];
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
      turned: (address, silent) => this.#turned.set(address, silent ? 'silent' : 'heard'),
      lookUp: (address) => this.#silent.add(address),
    });
  }

  /** The VTEP runs: peers may change. */
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

  /** A peer that somebody adds, and waits for: its name is followed while the work goes on. @throws ResolveError it comes to nothing */
  async adding<T>(host: string, work: () => Promise<T>): Promise<T> {
    this.#wanted.push(host);
    try {
      if ((await this.names.resolve(host)).length > 0) return await work();
      const own = `cannot resolve "${host}": no answer yet, or none but this host's own address`;
      throw new ResolveError(this.names.error(host) || own);
    } finally {
      this.#wanted.splice(this.#wanted.indexOf(host), 1);
    }
  }

  resolve(host: string): Promise<readonly IpAddress[]> {
    return this.names.resolve(host);
  }

  /** What is configured now. */
  retain(vnis: readonly VniSettings[]): void {
    this.names.retain([...this.#wanted, ...vnis.flatMap(({ peers }) => peers.map(({ host }) => host))]);
  }

  /** Signs of life were looked at. */
  checked(signs: readonly PeerSigns[]): void {
    this.#silence.check(signs, performance.now());
    if (this.#turned.size > 0 || this.#silent.size > 0) this.#publishSilence();
  }

  /** All at once: a VNI may have thousands of peers, and a network that fails makes all of them silent. */
  #publishSilence(): void {
    for (const { vni } of this.#lists?.vnis() ?? []) {
      for (const { address, name } of this.#lists!.peers(vni)) {
        const action = this.#turned.get(address.text);
        if (action) this.#events.publish({ type: 'peer', vni, peer: address.text, name, action });
        if (name !== '' && this.#silent.has(address.text)) this.names.silent(name);
      }
    }
    this.#turned.clear();
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

  /** Said once as long as it is the same. */
  #fail(name: string, error: string): void {
    if (this.#configuration === undefined) return;
    if (error !== this.#failure)
      this.#log.warn({ peer: name, error }, 'peers of a name could not be changed; trying again');
    this.#failure = error;
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => void this.#follow(), AGAIN_MS);
  }
}
