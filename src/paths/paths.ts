/**
 * The paths to the peers: addresses, routes and path MTUs.
 *
 * A path has the address of the peer, the local address, and the path MTU known from the routing
 * table and from probes. Routes are looked up at start, when a peer is added, before a probe, and
 * when the network has changed.
 */
import type { PeerSettings, Settings } from '../config/settings.js';
import { PATH_HELD } from '../exchange/protocol.js';
import { HostError } from '../host/host-error.js';
import type { Machine } from '../host/machine.js';
import { resolveHost } from '../names/resolve.js';
import { formatIpAddress, type IpAddress, parseIpAddress } from '../wire/ip-address.js';
import { type Route, routeTo } from './underlay.js';

/** A peer with its address, as passed to the data plane. */
export interface ResolvedPeer {
  address: {
    /** Address in canonical form, with `%scope` if it has one. */
    text: string;
    family: 4 | 6;
    /** 16 bytes, IPv4 in the first four. */
    bytes: Uint8Array;
    port: number;
    scopeId: number;
  };
  flood: boolean;
  /** Name from which the address was resolved; '' when the peer is configured by address. */
  name: string;
  /** Path MTU, bytes; 0 unknown; PATH_HELD: the route leads into the overlay. */
  pathMtu: number;
}

/** A host omitted from a list, because an earlier host has the same address. */
export interface Duplicate {
  /** Address in canonical form. */
  readonly address: string;
  readonly first: string;
  readonly again: string;
}

/** Returns the name or address by which a peer is configured. */
export function hostOf({ name, address }: ResolvedPeer): string {
  return name || address.text;
}

/**
 * Time for which the data of an address are kept while the address is not a peer, ms. Without this
 * time, the data of a peer that is just being added could be deleted.
 */
const FORGET_MS = 60_000;

type PathSettings = Pick<Settings, 'local' | 'underlayDev' | 'fwmark'>;

/** @param all true for a name that stands for many hosts */
export type Resolve = (host: string, all: boolean) => Promise<readonly IpAddress[]>;

export class Paths {
  readonly #settings: PathSettings;
  readonly #machine: Machine;
  /** Interface index of `--underlay-dev`; undefined: not bound yet. */
  #boundTo: number | undefined;
  readonly #resolve: Resolve;
  readonly #isOverlay: (device: number) => boolean;
  readonly #routes = new Map<string, Route>();
  /** MTU of the last known route by address, bytes. */
  readonly #routeMtus = new Map<string, number>();
  readonly #probed = new Map<string, number>();
  /** Omitted hosts of each resolved list in which several hosts have one address. */
  readonly #duplicates = new WeakMap<readonly ResolvedPeer[], readonly Duplicate[]>();
  /** For each known address that is not a peer: the time when `retain` first found this, ms. */
  readonly #absent = new Map<string, number>();

  /**
   * @param resolve returns the addresses of a host; an empty list when they are not known yet
   * @param isOverlay true for the interface index of a device that leads into the overlay
   */
  constructor(
    settings: PathSettings,
    machine: Machine,
    resolve: Resolve = resolveHost,
    isOverlay: (device: number) => boolean = () => false,
  ) {
    this.#settings = settings;
    this.#machine = machine;
    this.#resolve = resolve;
    this.#isOverlay = isOverlay;
  }

  /**
   * Resolves the hosts of several lists. A resolved list has each address once. A `PeerSettings`
   * object in several lists is resolved once, and a list that is passed twice yields the same
   * resolved list twice.
   *
   * @throws ResolveError, HostError
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

  /** Resolves all addresses of one host. */
  async #addresses({ host, port, flood, all }: PeerSettings): Promise<ResolvedPeer[]> {
    const addresses = await this.#resolve(host, all === true);
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

  /** @param resolved list from `resolvePeers` @returns hosts omitted from it */
  duplicates(resolved: readonly ResolvedPeer[]): readonly Duplicate[] {
    return this.#duplicates.get(resolved) ?? [];
  }

  /**
   * Returns the local addresses toward peers: the configured addresses, or else the addresses of
   * the routes.
   */
  localAddresses(): string[] {
    const configured = this.#settings.local.map(({ text }) => text);
    if (configured.length > 0) return configured;
    return [...new Set(this.#usableRoutes().map(({ local }) => local))].filter((local) => local !== '');
  }

  /** Returns the route to a peer; undefined when none is known, or when it leads into the overlay. */
  route(address: string): Route | undefined {
    const route = this.#routes.get(address);
    return route && this.#isOverlay(route.deviceIndex) ? undefined : route;
  }

  /**
   * Returns the device of a route that leads into the overlay; undefined for any other route. Frames
   * that follow such a route would come back to the VTEP that sent them.
   */
  overlayDevice(address: string): string | undefined {
    const route = this.#routes.get(address);
    return route && this.#isOverlay(route.deviceIndex) ? route.device : undefined;
  }

  /** True when there is a route to an address that does not lead into the overlay. @throws HostError */
  async reaches(address: IpAddress): Promise<boolean> {
    const route = await this.#find(address);
    return route !== undefined && !this.#isOverlay(route.deviceIndex);
  }

  /** Returns the devices of the routes to peers, each once. */
  devices(): string[] {
    return [...new Set(this.#usableRoutes().map(({ device }) => device))];
  }

  #usableRoutes(): Route[] {
    return [...this.#routes.values()].filter(({ deviceIndex }) => !this.#isOverlay(deviceIndex));
  }

  /**
   * Returns the path MTU to a peer, bytes: the smaller of route MTU and probed MTU. While there is no
   * route, or one that leads into the overlay, the MTU of the last one applies, so that an outage
   * changes no MTU. Undefined: unknown.
   */
  pathMtu(address: string): number | undefined {
    const route = this.#routeMtus.get(address);
    const probed = this.#probed.get(address);
    return route === undefined || probed === undefined ? route : Math.min(route, probed);
  }

  /** Returns the MTU of the local route to a peer, bytes; undefined when no route is known. */
  routeMtu(address: string): number | undefined {
    return this.route(address)?.mtu;
  }

  /** Records the path MTU found by a probe, bytes; undefined when it is no longer known. */
  probed(address: string, pathMtu: number | undefined): void {
    if (pathMtu === undefined) this.#probed.delete(address);
    else this.#probed.set(address, pathMtu);
  }

  /**
   * Deletes data of addresses that have not been peers for FORGET_MS; otherwise a name that keeps
   * resolving to new addresses would make the tables grow without limit.
   *
   * @param peers addresses of all peers in canonical form
   * @param nowMs monotonic time, ms
   * @returns deleted addresses
   */
  retain(peers: ReadonlySet<string>, nowMs: number): string[] {
    for (const text of this.#absent.keys()) if (peers.has(text)) this.#absent.delete(text);
    for (const known of [this.#routes, this.#routeMtus, this.#probed])
      for (const text of known.keys())
        if (!peers.has(text) && !this.#absent.has(text)) this.#absent.set(text, nowMs);
    const due = Array.from(this.#absent).filter(([, sinceMs]) => nowMs - sinceMs >= FORGET_MS);
    for (const [text] of due)
      for (const known of [this.#absent, this.#routes, this.#routeMtus, this.#probed]) known.delete(text);
    return due.map(([text]) => text);
  }

  /** Records the interface index of `--underlay-dev`; 0: the device is missing. */
  bind(index: number): void {
    this.#boundTo = index;
  }

  /** Looks up the routes to these addresses again. @throws HostError */
  async refreshAll(addresses: readonly string[]): Promise<void> {
    await Promise.all(addresses.map((address) => this.refresh(address)));
  }

  /** Looks up the route to a peer again. @returns its MTU, bytes; undefined without a route */
  async refresh(address: string): Promise<number | undefined> {
    const parsed = parseIpAddress(address);
    return parsed && (await this.#lookUp(parsed))?.mtu;
  }

  /** Formats an address of the data plane, whose scope is a device index. */
  addressText(family: 4 | 6, bytes: Uint8Array, scopeId: number): string {
    return formatIpAddress(
      family,
      bytes,
      scopeId === 0 ? '' : this.#machine.nameOf(scopeId) || String(scopeId),
    );
  }

  async #peer(host: string, address: IpAddress, port: number, flood: boolean): Promise<ResolvedPeer> {
    const { text, family, bytes, scope } = address;
    await this.#lookUp(address);
    const name = host === text ? '' : host;
    return {
      address: { text, family, bytes, port, scopeId: this.#scopeOf(scope, text) },
      flood,
      name,
      pathMtu: this.overlayDevice(text) === undefined ? (this.pathMtu(text) ?? 0) : PATH_HELD,
    };
  }

  async #lookUp(address: IpAddress): Promise<Route | undefined> {
    const { text } = address;
    const route = await this.#find(address);
    if (route === undefined) this.#routes.delete(text);
    else {
      this.#routes.set(text, route);
      if (!this.#isOverlay(route.deviceIndex)) this.#routeMtus.set(text, route.mtu);
    }
    return this.route(text);
  }

  #find(address: IpAddress): Promise<Route | undefined> {
    const { underlayDev, fwmark: mark } = this.#settings;
    const bound = underlayDev === '' ? undefined : (this.#boundTo ?? this.#machine.scopeId(underlayDev));
    return routeTo(this.#machine, address, { bound, mark });
  }

  #scopeOf(scope: string, text: string): number {
    const index = scope === '' ? 0 : this.#machine.scopeId(scope);
    if (scope !== '' && index === 0)
      throw new HostError(`peer ${text}: network device ${scope} does not exist: check the name after "%"`);
    return index;
  }
}
