/**
 * Hosts of one VNI that came to the same address: it is one peer, and the operator is told which of them were left out, for
 * as long as both are configured. Notes are taken where peers are configured, not when a name server changes its mind.
 */
import type { Duplicate } from '../paths/paths.js';
import type { Warnings } from './warnings.js';

const CODE = 'peer_duplicate';

export class PeerDuplicates {
  readonly #warnings: Warnings;
  /** VNI → address → the hosts that have it, the one that is the peer first. Only of addresses that several have. */
  readonly #hosts = new Map<number, Map<string, readonly string[]>>();

  constructor(warnings: Warnings) {
    this.#warnings = warnings;
  }

  add(vni: number, duplicates: readonly Duplicate[]): void {
    if (duplicates.length === 0) return;
    const hosts = this.#hosts.get(vni) ?? new Map<string, readonly string[]>();
    this.#hosts.set(vni, hosts);
    for (const { address, first, again } of duplicates)
      hosts.set(address, [...new Set([...(hosts.get(address) ?? [first]), again])]);
    this.#warn(vni);
  }

  /** @param gone which hosts do not have an address any more */
  remove(vni: number, gone: (host: string, address: string) => boolean): void {
    const addresses = this.#hosts.get(vni);
    if (!addresses) return;
    for (const [address, hosts] of addresses) {
      const left = hosts.filter((host) => !gone(host, address));
      if (left.length > 1) addresses.set(address, left);
      else addresses.delete(address);
    }
    if (addresses.size === 0) this.#hosts.delete(vni);
    this.#warn(vni);
  }

  removeAll(vni: number): void {
    this.remove(vni, () => true);
  }

  #warn(vni: number): void {
    const sentences = Array.from(this.#hosts.get(vni) ?? [], ([address, [first, ...others]]) =>
      others.map((host) => sentence(host, address, first)),
    );
    this.#warnings.replace(CODE, sentences.flat(), vni);
  }
}

function sentence(host: string, address: string, first: string): string {
  const same = first === address ? 'another peer' : first;
  return `${host} is ${address}, as ${same} is: taken once`;
}
