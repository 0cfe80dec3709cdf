/**
 * Warnings about hosts of one VNI that resolve to the same address.
 *
 * Such hosts are one peer. The warning names the hosts that did not become a peer of their own, and
 * lasts while at least two hosts have that address. Only configuration changes add warnings;
 * later answers of a name server do not.
 */
import type { Report } from '../exchange/report.js';
import type { Duplicate } from '../paths/paths.js';
import type { Reports } from './reports.js';

const CODE = 'peer_duplicate';

export class PeerDuplicates {
  readonly #reports: Reports;
  /**
   * VNI → address → its hosts, first the host of the peer. Only addresses with several hosts are
   * listed.
   */
  readonly #hosts = new Map<number, Map<string, readonly string[]>>();

  constructor(reports: Reports) {
    this.#reports = reports;
  }

  add(vni: number, duplicates: readonly Duplicate[]): void {
    if (duplicates.length === 0) return;
    const hosts = this.#hosts.get(vni) ?? new Map<string, readonly string[]>();
    this.#hosts.set(vni, hosts);
    for (const { address, first, again } of duplicates)
      hosts.set(address, [...new Set([...(hosts.get(address) ?? [first]), again])]);
    this.#warn(vni);
  }

  /** @param isRemoved returns true for a host that no longer has the address */
  remove(vni: number, isRemoved: (host: string, address: string) => boolean): void {
    const addresses = this.#hosts.get(vni);
    if (!addresses) return;
    for (const [address, hosts] of addresses) {
      const remaining = hosts.filter((host) => !isRemoved(host, address));
      if (remaining.length > 1) addresses.set(address, remaining);
      else addresses.delete(address);
    }
    if (addresses.size === 0) this.#hosts.delete(vni);
    this.#warn(vni);
  }

  removeAll(vni: number): void {
    this.remove(vni, () => true);
  }

  #warn(vni: number): void {
    const reports = Array.from(this.#hosts.get(vni) ?? [], ([address, [first, ...others]]) =>
      others.map((host) => duplicate(host, address, first)),
    );
    this.#reports.replace(CODE, reports.flat(), vni);
  }
}

function duplicate(host: string, address: string, first: string): Report {
  const same = first === address ? 'another peer' : first;
  return {
    code: CODE,
    detail: `${host} has the same address (${address}) as ${same}: both are one peer`,
    why: `port and flood of ${host} have no effect`,
    cure: `remove one of the two from the configuration, or correct the address of ${host}`,
  };
}
