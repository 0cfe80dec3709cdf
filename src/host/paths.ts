/**
 * The paths to the peers: their addresses, from which address of ours they are reached, and what each path carries
 * as far as the routing table knows. Asked at start, when a peer is added, and by `refresh`.
 */
import { networkInterfaces } from 'node:os';
import type { PeerSettings, Settings } from '../config/settings.js';
import { resolveHost } from '../resolve/resolve.js';
import { formatIpAddress, type IpAddress, parseIpAddress } from '../wire/ip-address.js';
import { HostError } from './host-error.js';
import { deviceIndex, overlayMtuFor, type Route, routeTo } from './underlay.js';

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
  /** Path MTU as the routing table has it, bytes; 0: no route is known. */
  pathMtu: number;
}

/** An Ethernet path without any encapsulation of its own, bytes: taken while no route tells better. */
const USUAL_UNDERLAY_MTU = 1500;

export class Paths {
  /** Sentences about peers that were named twice. */
  readonly skipped: string[] = [];
  readonly #settings: Pick<Settings, 'local' | 'underlayDev'>;
  readonly #routes = new Map<string, Route>();

  constructor(settings: Pick<Settings, 'local' | 'underlayDev'>) {
    this.#settings = settings;
  }

  /** Every address of every host, each once. @throws ResolveError, HostError */
  async resolvePeers(peers: readonly PeerSettings[]): Promise<ResolvedPeer[]> {
    const found = new Map<string, ResolvedPeer>();
    for (const { host, port, flood } of peers) {
      for (const address of await resolveHost(host)) {
        const peer = await this.#peer(host, address, port, flood);
        const same = found.get(address.text);
        if (same)
          this.skipped.push(`${host} is ${address.text}, as ${same.name || 'another peer'} is: taken once`);
        else found.set(address.text, peer);
      }
    }
    return [...found.values()];
  }

  /** The first address of one host. @throws ResolveError, HostError */
  async resolvePeer(host: string, port: number): Promise<ResolvedPeer['address']> {
    const [address] = await resolveHost(host);
    return (await this.#peer(host, address, port, true)).address;
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

  /** Asks for every route anew. */
  async refresh(): Promise<void> {
    for (const text of this.#routes.keys()) {
      const route = await routeTo(parseIpAddress(text)!, this.#settings.underlayDev);
      if (route) this.#routes.set(text, route);
      else this.#routes.delete(text);
    }
  }

  /** Path MTU to a peer, bytes; undefined: no route is known. */
  pathMtu(address: string): number | undefined {
    return this.#routes.get(address)?.mtu;
  }

  /** Overlay MTU that fits every path, and the peer whose path is the narrowest ('' none is known). */
  overlayMtu(peers: readonly ResolvedPeer[]): { mtu: number; peer: string } {
    let narrowest = { mtu: overlayMtuFor(4, USUAL_UNDERLAY_MTU), peer: '' };
    for (const { address } of peers) {
      const pathMtu = this.pathMtu(address.text);
      if (pathMtu === undefined) continue;
      const mtu = overlayMtuFor(address.family, pathMtu);
      if (narrowest.peer === '' || mtu < narrowest.mtu) narrowest = { mtu, peer: address.text };
    }
    return narrowest;
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
      pathMtu: route?.mtu ?? 0,
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
