/**
 * After a change that failed half-way, because a worker died or was too slow: some workers may have made it and others not.
 * Here all of them are told anew what the desired state says, and rows are given back that nobody knows any more. While
 * a worker is being replaced that has to wait; it is done before anybody may ask for another change.
 *
 * Whatever a change took along that is the workers' own, as static FDB entries are, does not come back.
 */
import type { DataPlaneError } from './data-plane.js';
import type { DesiredState, VniRecord } from './desired-state.js';
import type { Answer } from './protocol.js';
import type { Workers } from './workers.js';

export class Settling {
  readonly #desired: DesiredState;
  readonly #workers: Workers;
  #unsettled: (() => void)[] = [];

  constructor(desired: DesiredState, workers: Workers) {
    this.#desired = desired;
    this.#workers = workers;
  }

  /** A VNI whose addition or removal failed. */
  vni(record: VniRecord): void {
    const workers = this.#workers;
    const isWanted = this.#desired.has(record);
    // All are on their way before anything else can be asked for.
    const answers = [workers.ask({ op: 'vni.del', vniIdx: record.state.vniIdx })];
    if (isWanted) {
      answers.push(workers.askEach((index) => this.#desired.vniChange(record, index)));
      for (const run of record.peers.runs) answers.push(workers.ask(this.#desired.peerChange(record, run)));
    }
    const settled = () => isWanted || this.#desired.giveRows(record);
    this.#settle(answers, settled, () => this.vni(record));
  }

  /** The policy of a VNI, whose change failed. */
  policy(record: VniRecord): void {
    if (!this.#desired.has(record)) return;
    const { vniIdx, policy } = record.state;
    const again = () => this.policy(record);
    this.#settle([this.#workers.ask({ op: 'vni.set', vniIdx, policy })], () => {}, again);
  }

  /** A peer whose addition or removal failed. */
  peer(record: VniRecord, peerIdx: number): void {
    const wanted = record.peers.at(peerIdx);
    // It goes with its VNI.
    if (wanted && record.leaving) return;
    const answers = [this.#workers.ask({ op: 'peer.del', peerIdx })];
    if (wanted) answers.push(this.#workers.ask(this.#desired.peerChange(record, wanted)));
    const settled = () => wanted || this.#desired.givePeerRow(peerIdx);
    this.#settle(answers, settled, () => this.peer(record, peerIdx));
  }

  /** A worker has been replaced: what had to wait may be done now. */
  again(): void {
    for (const settle of this.#unsettled.splice(0)) settle();
  }

  #settle(answers: readonly Promise<Answer>[], settled: () => unknown, again: () => void): void {
    Promise.all(answers).then(settled, (error: DataPlaneError) => {
      if (error.code === 'dataplane_down') this.#unsettled.push(again);
    });
  }
}
