/**
 * The paths to the peers: their addresses, from which address of ours they are reached, and what each path carries
 * as far as the routing table and probes know. Routes are asked at start, when a peer is added, before a probe, and when the
 * network has changed.
 */
import { networkInterfaces } from 'node:os';
import type { PeerSettings, Settings } from '../config/settings.js';
import { HostError } from '../host/host-error.js';
import { resolveHost } from '../names/resolve.js';
import { formatIpAddress, type IpAddress, parseIpAddress } from '../wire/ip-address.js';
import { deviceIndex, type Route, routesTo, routeTo } from './underlay.js';

/** A peer with its address: what the data plane is told. */
export interface ResolvedPeer {
  address: {
    /** Canonical, with `%scope` where there is one. */
    text: string;
    family: 4 | 6;
    /** 16 bytes, IPv4 in the first four. */
    bytes: Uint8Array;
    port: number;
    scopeId: number;
  };
  flood: boolean;
  /** The name it was resolved from; '' when it was given as an address. */
  name: string;
  /** Path MTU as far as it is known, bytes; 0: it is not. */
  pathMtu: number;
}

/** A host that is left out of a list, because a host before it has the same address. */
export interface Duplicate {
  /** Canonical text. */
  readonly address: string;
  readonly first: string;
  readonly again: string;
}

/** What a peer was configured as. */
export function hostOf({ name, address }: ResolvedPeer): string {
  return name || address.text;
}

/** What is known of an address that is no peer is forgotten after this, ms: it may be about to become one. */
const FORGET_MS = 60_000;

export class Paths {
  readonly #settings: Pick<Settings, 'local' | 'underlayDev'>;
  readonly #resolve: (host: string) => Promise<readonly IpAddress[]>;
  readonly #routes = new Map<string, Route>();
  readonly #probed = new Map<string, number>();
  /** Of lists in which several hosts have one address. */
  readonly #duplicates = new WeakMap<readonly ResolvedPeer[], readonly Duplicate[]>();
  /** Since when addresses that are known are no peers, ms. */
  readonly #absent = new Map<string, number>();

  /** @param resolve addresses of a host as far as they are known; none: its peers come later */
  constructor(
    settings: Pick<Settings, 'local' | 'underlayDev'>,
    resolve: (host: string) => Promise<readonly IpAddress[]> = resolveHost,
  ) {
    this.#settings = settings;
    this.#resolve = resolve;
  }

  /**
   * Every address of every host of several lists, each once in a list. What is in several is asked for once, and lists
   * that are one and the same come out as one and the same. @throws ResolveError, HostError
   */
  async resolvePeers(
    lists: readonly (readonly PeerSettings[])[],
  ): Promise<readonly (readonly ResolvedPeer[])[]> {
    const peers = new Set([...new Set(lists)].flat());
    const asked = new Map(Array.from(peers, (peer) => [peer, this.#addresses(peer)]));
    await Promise.all(asked.values());
    const resolved = new Map<readonly PeerSettings[], Promise<readonly ResolvedPeer[]>>();
    for (const list of lists) if (!resolved.has(list)) resolved.set(list, this.#joined(list, asked));
    return Promise.all(lists.map((list) => resolved.get(list)!));
  }

  /** All addresses of one host. */
  async #addresses({ host, port, flood }: PeerSettings): Promise<ResolvedPeer[]> {
    const addresses = await this.#resolve(host);
    return Promise.all(addresses.map((address) => this.#peer(host, address, port, flood)));
  }

  async #joined(
    list: readonly PeerSettings[],
    asked: ReadonlyMap<PeerSettings, Promise<ResolvedPeer[]>>,
  ): Promise<ResolvedPeer[]> {
    const found = new Map<string, ResolvedPeer>();
    const duplicates: Duplicate[] = [];
    for (const peer of list) {
      for (const resolved of await asked.get(peer)!) {
        const { text } = resolved.address;
        const same = found.get(text);
        if (same) duplicates.push({ address: text, first: hostOf(same), again: peer.host });
        else found.set(text, resolved);
      }
    }
    const peers = [...found.values()];
    if (duplicates.length > 0) this.#duplicates.set(peers, duplicates);
    return peers;
  }

  /** @param resolved a list that `resolvePeers` gave @returns hosts that were left out of it */
  duplicates(resolved: readonly ResolvedPeer[]): readonly Duplicate[] {
    return this.#duplicates.get(resolved) ?? [];
  }

  /** Our addresses on the ways to the peers: those configured, else those of the routes. */
  localAddresses(): string[] {
    const configured = this.#settings.local.map(({ text }) => text);
    if (configured.length > 0) return configured;
    return [
      ...new Set(Array.from(this.#routes.values(), ({ local }) => local).filter((local) => local !== '')),
    ];
  }

  /** How a peer is reached; undefined: no route is known. */
  route(address: string): Route | undefined {
    return this.#routes.get(address);
  }

  /** Devices by which peers are reached, each once. */
  devices(): string[] {
    return [...new Set(Array.from(this.#routes.values(), ({ device }) => device))];
  }

  /** Path MTU to a peer, bytes: the route's, or what a probe found within it; undefined: no route is known. */
  pathMtu(address: string): number | undefined {
    const route = this.routeMtu(address);
    const probed = this.#probed.get(address);
    return route === undefined || probed === undefined ? route : Math.min(route, probed);
  }

  /** What this machine lets out toward a peer, bytes; undefined: no route is known. */
  routeMtu(address: string): number | undefined {
    return this.#routes.get(address)?.mtu;
  }

  /** What a probe found that a path carries, bytes; undefined: nothing is known from probes any more. */
  probed(address: string, pathMtu: number | undefined): void {
    if (pathMtu === undefined) this.#probed.delete(address);
    else this.#probed.set(address, pathMtu);
  }

  /**
   * What is known of others is forgotten after a while, for a name may come to ever new addresses.
   * @param peers canonical texts of all that there are @param nowMs a clock that only goes forward
   * @returns those that were forgotten
   */
  retain(peers: ReadonlySet<string>, nowMs: number): string[] {
    for (const text of this.#absent.keys()) if (peers.has(text)) this.#absent.delete(text);
    for (const known of [this.#routes, this.#probed])
      for (const text of known.keys())
        if (!peers.has(text) && !this.#absent.has(text)) this.#absent.set(text, nowMs);
    const due = Array.from(this.#absent).filter(([, sinceMs]) => nowMs - sinceMs >= FORGET_MS);
    for (const [text] of due)
      for (const known of [this.#absent, this.#routes, this.#probed]) known.delete(text);
    return due.map(([text]) => text);
  }

  /** Asks anew how these IPv4 addresses are reached, however many. @throws HostError */
  async refreshAll(addresses: readonly string[]): Promise<void> {
    const routes = await routesTo(addresses, this.#settings.underlayDev);
    for (const text of addresses) {
      const route = routes.get(text);
      if (route) this.#routes.set(text, route);
      else this.#routes.delete(text);
    }
  }

  /** Asks the routing table anew: what may leave this machine toward a peer, bytes; undefined: no route. */
  async refresh(address: string): Promise<number | undefined> {
    const parsed = parseIpAddress(address);
    const route = parsed && (await routeTo(parsed, this.#settings.underlayDev));
    if (route) this.#routes.set(address, route);
    else this.#routes.delete(address);
    return route?.mtu;
  }

  /** Text of an address as the data plane has it, scope by index. */
  addressText(family: 4 | 6, bytes: Uint8Array, scopeId: number): string {
    return formatIpAddress(family, bytes, scopeId === 0 ? '' : scopeName(scopeId));
  }

  async #peer(host: string, address: IpAddress, port: number, flood: boolean): Promise<ResolvedPeer> {
    const { text, family, bytes, scope } = address;
    const route = await routeTo(address, this.#settings.underlayDev);
    if (route) this.#routes.set(text, route);
    const name = host === text ? '' : host;
    return {
      address: { text, family, bytes, port, scopeId: scopeOf(scope, text) },
      flood,
      name,
      pathMtu: this.pathMtu(text) ?? 0,
    };
  }
}

function scopeOf(scope: string, text: string): number {
  if (scope === '') return 0;
  try {
    return deviceIndex(scope);
  } catch {
    throw new HostError(`peer ${text}: there is no network device ${scope}: see "ip link" for their names`);
  }
}

/** The kernel's index back to a name; the index itself when no address of that device is link-local. */
function scopeName(scopeId: number): string {
  for (const [name, addresses] of Object.entries(networkInterfaces())) {
    if (addresses?.some((address) => address.family === 'IPv6' && address.scopeid === scopeId)) return name;
  }
  return String(scopeId);
}
