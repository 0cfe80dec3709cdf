/**
 * One step down when the kernel refuses an offload while frames flow. The shim has sent or written one by one what
 * was refused together, so nothing is lost; here it is remembered, for all workers and their successors, so that the
 * attempt is not made with every batch.
 *
 * No remote may talk us out of an offload. So a train counts only when its peer is configured, for what is on the way
 * to a learned one may be its choice; and a superframe only when the kernel has never taken one (`TapPort.refused`).
 * What a peer described as a superframe, and what was too large for a path, does not count at all.
 *
 * Called by the data-plane thread once a round. Allocates nothing unless there is something to say.
 */

import { ERRNO } from '../abi/errno.js';
import type { OffloadName, Offloads } from '../exchange/offloads.js';
import type { PeerTable } from './fdb/peer-table.js';
import { MERGE_TCP, MERGE_UDP, type TapPort } from './port/tap.js';
import type { UdpPort } from './port/udp.js';

/** An option's part of the thread, which uses one offload. */
export interface OffloadUser {
  readonly offload: OffloadName;
  /** Uses the offload from now on, or no longer. */
  use(on: boolean): void;
  /** @returns negative errno of a refusal that was not reported yet; 0: there is none */
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
  /** Changes of the offloads that the ports know of. */
  #applied = -1;
  readonly #report: (name: OffloadName, error: number) => void;

  /** @param say told of each refusal once, on one of the threads that share `offloads`; `error` is a negative errno */
  constructor(
    offloads: Offloads,
    { taps, udp, peers, options }: Refusable,
    say: (name: OffloadName, error: number) => void,
  ) {
    this.#offloads = offloads;
    this.#taps = taps;
    this.#udp = udp;
    this.#peers = peers;
    this.#options = options;
    this.#report = say;
  }

  /** Hears what the ports were refused, and lets them use what nobody was. */
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

  #onRefusedTrain(told: Int32Array): void {
    const [error, peerIdx] = told;
    told[0] = 0;
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
