/**
 * Notices about configured peers that are this host, and are left out.
 *
 * One configuration can thus serve all hosts. The notice of an address ends when the address leaves
 * this host, or the configuration.
 */
import type { VniSettings } from '../config/settings.js';
import type { IpAddress } from '../wire/ip-address.js';
import type { Reports } from './reports.js';

const CODE = 'own_address_is_peer';
/** Most VNIs that a notice lists. */
const VNIS_SHOWN = 8;

export interface OwnPeersOptions {
  readonly reports: Pick<Reports, 'set'>;
  readonly isOwn: (address: IpAddress) => boolean;
  /** Known addresses of a configured host, with those of this host. */
  readonly addresses: (host: string) => readonly IpAddress[];
}

/** A left-out address, and where it is configured. */
interface LeftOut {
  /** The address, or the name that has it. */
  readonly hosts: Set<string>;
  readonly vnis: Set<number>;
}

export class OwnPeers {
  readonly #options: OwnPeersOptions;
  #reported: ReadonlySet<string> = new Set();

  constructor(options: OwnPeersOptions) {
    this.#options = options;
  }

  /** Updates the notices. @param vnis current settings */
  report(vnis: readonly VniSettings[]): void {
    const found = this.#find(vnis);
    const { reports } = this.#options;
    for (const address of this.#reported) if (!found.has(address)) reports.set(CODE, address, undefined);
    for (const [address, leftOut] of found) reports.set(CODE, address, textsOf(address, leftOut));
    this.#reported = new Set(found.keys());
  }

  /** Examines a list that several VNIs share once. */
  #find(vnis: readonly VniSettings[]): Map<string, LeftOut> {
    const found = new Map<string, LeftOut>();
    const lists = new Map<VniSettings['peers'], number[]>();
    for (const { vni, peers } of vnis) lists.set(peers, [...(lists.get(peers) ?? []), vni]);
    for (const [peers, having] of lists) {
      for (const { host } of peers) {
        for (const { text } of this.#options.addresses(host).filter(this.#options.isOwn)) {
          const leftOut = found.get(text) ?? { hosts: new Set(), vnis: new Set() };
          found.set(text, leftOut);
          leftOut.hosts.add(host);
          for (const vni of having) leftOut.vnis.add(vni);
        }
      }
    }
    return found;
  }
}

function textsOf(address: string, { hosts, vnis }: LeftOut) {
  const names = [...hosts].filter((host) => host !== address);
  const of = names.length === 0 ? '' : `, which ${names.join(', ')} resolves to,`;
  const shown = [...vnis].sort((a, b) => a - b).slice(0, VNIS_SHOWN);
  const more = vnis.size > shown.length ? ` and ${vnis.size - shown.length} more` : '';
  return {
    detail: `${address}${of} is an address of this host; it is left out of the peers of VNI ${shown.join(', ')}${more}`,
    why: 'nothing is sent to the address; it becomes a peer when it leaves this host',
    cure: 'nothing is needed if one configuration serves all hosts; else remove the peer',
  };
}
