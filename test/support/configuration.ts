/**
 * In-memory configuration over the data plane that forwards nothing.
 *
 * Changes through the API take effect at once and are not persisted.
 */

import type { Configuration, ReloadReport } from '../../src/api/deps.js';
import { ConfigError } from '../../src/config/config-error.js';
import type { PeerSettings, VniSettings } from '../../src/config/settings.js';
import {
  DataPlaneError,
  type FdbFilter,
  type PeerAddress,
  type PeerState,
} from '../../src/exchange/data-plane.js';
import type { MacParts } from '../../src/exchange/protocol.js';
import type { PlainDataPlane } from './data-plane.js';

export class PlainConfiguration implements Configuration {
  /** Error that `reload` rejects with; undefined: it succeeds. */
  reloadFailure: Error | undefined;
  readonly #dataPlane: PlainDataPlane;
  readonly #resolve: (host: string, port: number) => readonly PeerAddress[];
  readonly #vnis = new Map<number, VniSettings>();

  /** @param resolve returns the addresses of a host; throws an Error when there are none */
  constructor(dataPlane: PlainDataPlane, resolve: (host: string, port: number) => readonly PeerAddress[]) {
    this.#dataPlane = dataPlane;
    this.#resolve = resolve;
  }

  settings(vni: number): VniSettings {
    const found = this.#vnis.get(vni);
    if (found) return found;
    throw new DataPlaneError('vni_not_found', `VNI ${vni} is not configured`);
  }

  async addVni(settings: VniSettings): Promise<void> {
    if (this.#dataPlane.failure) throw this.#dataPlane.failure;
    const { vni, peers, learning, ageingS, fdbLimit, flood, accept, vlan, mtu } = settings;
    if (this.#vnis.has(vni)) throw new DataPlaneError('vni_exists', `VNI ${vni} is configured already`);
    const overlayMtu = mtu === 'auto' ? 1450 : mtu;
    const policy = { learning, ageingS, fdbLimit, flood, accept, vlan, overlayMtu };
    this.#dataPlane.addVni(vni, policy, settings);
    this.#vnis.set(vni, { ...settings, peers: [] });
    for (const peer of peers) await this.addPeer(vni, peer);
  }

  async changeVni(vni: number, changes: Partial<VniSettings>, precondition = () => {}): Promise<void> {
    precondition();
    const before = this.settings(vni);
    for (const key of ['tap', 'mac'] as const)
      if (changes[key] !== undefined && changes[key] !== before[key])
        throw new ConfigError(`${key} ${changes[key]}: remove the VNI and add it again`);
    const after = { ...before, ...changes };
    const { learning, ageingS, fdbLimit, flood, accept, vlan } = after;
    this.#dataPlane.changeVni(vni, { learning, ageingS, fdbLimit, flood, accept, vlan }, after.bridge);
    this.#vnis.set(vni, after);
  }

  async removeVni(vni: number, precondition = () => {}): Promise<void> {
    precondition();
    this.settings(vni);
    this.#dataPlane.removeVni(vni);
    this.#vnis.delete(vni);
  }

  async addPeer(vni: number, peer: PeerSettings): Promise<readonly PeerState[]> {
    const { host, port, flood } = peer;
    const before = this.settings(vni);
    const addresses = this.#resolve(host, port);
    const name = addresses[0]?.text === host ? '' : host;
    if (before.peers.some((other) => other.host === host))
      throw new DataPlaneError('peer_exists', `${host} is a peer of VNI ${vni} already`);
    const added = [];
    for (const address of addresses)
      added.push(await this.#dataPlane.addPeer(vni, { address, flood, name, pathMtu: 0 }));
    this.#vnis.set(vni, { ...before, peers: [...before.peers, peer] });
    return added;
  }

  async removePeer(vni: number, host: string, precondition = () => {}): Promise<void> {
    precondition();
    const before = this.settings(vni);
    if (!before.peers.some((peer) => peer.host === host))
      throw new DataPlaneError('peer_of_name', `${host} is an address of a peer that is configured by name`);
    for (const { address, name } of this.#dataPlane.peers(vni))
      if ((name || address.text) === host) await this.#dataPlane.removePeer(vni, address.text);
    this.#vnis.set(vni, { ...before, peers: before.peers.filter((peer) => peer.host !== host) });
  }

  putFdb(vni: number, mac: MacParts, peer: string): Promise<void> {
    return this.#dataPlane.putFdb(vni, mac, peer);
  }

  deleteFdb(vni: number, mac: MacParts): Promise<void> {
    return this.#dataPlane.deleteFdb(vni, mac);
  }

  flushFdb(vni: number, filter: FdbFilter): Promise<number> {
    return this.#dataPlane.flushFdb(vni, filter);
  }

  async reload(): Promise<ReloadReport> {
    if (this.reloadFailure) throw this.reloadFailure;
    return { changed: ['VNI 100: ageing'], needsRestart: ['--port'], hasFile: true };
  }
}
