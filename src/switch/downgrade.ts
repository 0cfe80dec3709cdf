/**
 * Disables an offload that the kernel refuses while frames flow.
 *
 * Nothing is lost: when the kernel refuses several datagrams or segments together, the shim at once
 * sends or writes them one by one. This module records the refusal for all workers and their
 * successors, so that the attempt is not repeated with every batch.
 *
 * No remote may cause an offload to be disabled. A refused train counts only if its peer is
 * configured, because a stranger may choose an address whose path refuses trains. A refused
 * superframe counts only if the kernel has never accepted a superframe of its kind
 * (`TapPort.refused`). Superframes that a peer sent whole, and datagrams too large for a path, do
 * not count.
 *
 * Called by the data-plane thread once a round. Allocates nothing unless it reports a refusal.
 */

import { ERRNO } from '../abi/errno.js';
import type { OffloadName, Offloads } from '../exchange/offloads.js';
import type { PeerTable } from './fdb/peer-table.js';
import { MERGE_TCP, MERGE_UDP, type TapPort } from './port/tap.js';
import type { UdpPort } from './port/udp.js';

/** The user of one offload in this thread. */
export interface OffloadUser {
  readonly offload: OffloadName;
  /** Switches the use of the offload on or off. */
  use(on: boolean): void;
  /** @returns negative errno of a refusal that was not reported yet; 0 for none */
  takeError(): number;
}

/** Ports that report refusals and use the offloads. */
export interface Refusable {
  readonly taps: Pick<TapPort, 'refused' | 'merge'>;
  readonly udp: Pick<UdpPort, 'refusedTrain' | 'trains'>;
  readonly peers: Pick<PeerTable, 'isUsed' | 'isLearned'>;
  readonly options: readonly OffloadUser[];
}

export class Downgrade {
  readonly #offloads: Offloads;
  readonly #taps: Refusable['taps'];
  readonly #udp: Refusable['udp'];
  readonly #peers: Refusable['peers'];
  readonly #options: readonly OffloadUser[];
  /** Value of `Offloads.changes` that the ports have applied. */
  #applied = -1;
  readonly #report: (name: OffloadName, error: number) => void;

  /**
   * @param report callback for a refusal, called once in only one of the threads that share
   * `offloads`; `error` is a negative errno
   */
  constructor(
    offloads: Offloads,
    { taps, udp, peers, options }: Refusable,
    report: (name: OffloadName, error: number) => void,
  ) {
    this.#offloads = offloads;
    this.#taps = taps;
    this.#udp = udp;
    this.#peers = peers;
    this.#options = options;
    this.#report = report;
  }

  /** Collects refusals from the ports, and applies the offloads still in use. */
  step(): void {
    const { refused } = this.#taps;
    if (this.#udp.refusedTrain[0] !== 0) this.#onRefusedTrain(this.#udp.refusedTrain);
    for (let i = 0; i < this.#options.length; i++) this.#takeError(this.#options[i]);
    if ((refused & MERGE_TCP) !== 0) this.#refuse('GSO_TCP', -ERRNO.EINVAL);
    if ((refused & MERGE_UDP) !== 0) this.#refuse('GSO_UDP_L4', -ERRNO.EINVAL);
    if (this.#offloads.changes !== this.#applied) this.#apply();
  }

  #apply(): void {
    const offloads = this.#offloads;
    this.#applied = offloads.changes;
    this.#udp.trains = offloads.inUse('UDP_SEGMENT');
    for (const option of this.#options) option.use(offloads.inUse(option.offload));
    this.#taps.merge =
      (offloads.inUse('GSO_TCP') ? MERGE_TCP : 0) | (offloads.inUse('GSO_UDP_L4') ? MERGE_UDP : 0);
  }

  #onRefusedTrain(refused: Int32Array): void {
    const [error, peerIdx] = refused;
    refused[0] = 0;
    const isConfigured = this.#peers.isUsed(peerIdx) && !this.#peers.isLearned(peerIdx);
    if (isConfigured) this.#refuse('UDP_SEGMENT', error);
  }

  #takeError(option: OffloadUser): void {
    const error = option.takeError();
    if (error !== 0) this.#refuse(option.offload, error);
  }

  #refuse(name: OffloadName, error: number): void {
    if (this.#offloads.inUse(name) && this.#offloads.refuse(name, error)) this.#report(name, error);
  }
}
