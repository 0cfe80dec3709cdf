/**
 * Reconciles all workers with the desired state after a failed change.
 *
 * A change fails half-way when a worker dies or does not answer in time: some workers may have made
 * the change and others not.
 *
 * Each reconciliation asks without a time limit. A worker that is merely slow has the requests in
 * its queue, in order, so nothing is sent to it again. A worker that dies is replaced, and all
 * workers are asked again. Any other failure is retried after a back-off. A reconciliation ends
 * when every worker has answered: until then the rows and descriptors of the change are kept,
 * because a worker possibly still uses them.
 *
 * A reconciliation reads the desired state when it asks; it keeps no state from the time of the
 * failure.
 */

import type { DataPlaneError } from '../exchange/data-plane.js';
import type { Change, MacParts } from '../exchange/protocol.js';
import { formatMac, parseMac } from '../wire/mac.js';
import type { DesiredState, VniRecord } from './desired-state.js';
import type { Workers } from './workers.js';

/** First back-off of a refused reconciliation, ms. */
const FIRST_PAUSE_MS = 100;
/** Longest back-off, ms. */
const LONGEST_PAUSE_MS = 5000;

/** Asks the workers. Returns undefined when nothing is left to reconcile. */
type Attempt = () => readonly Promise<unknown>[] | undefined;

export interface ReconcilerOptions {
  /** Static entries that a VNI should have: MAC → address of a peer. */
  readonly entries: (vni: number) => ReadonlyMap<string, string>;
}

export class Reconciler {
  readonly #desired: DesiredState;
  readonly #workers: Workers;
  readonly #options: ReconcilerOptions;
  /**
   * Callbacks of reconciliations that wait for a worker's replacement or for the end of their
   * back-off.
   */
  readonly #waiting = new Set<() => void>();
  #stopped = false;

  constructor(desired: DesiredState, workers: Workers, options: ReconcilerOptions) {
    this.#desired = desired;
    this.#workers = workers;
    this.#options = options;
  }

  /**
   * Reconciles a VNI whose addition or removal failed. If the VNI is not desired, its rows are
   * freed at the end, after `record.release`.
   * @returns when all workers agree
   */
  async vni(record: VniRecord): Promise<void> {
    const desired = this.#desired;
    let isWanted = false;
    record.reconciling++;
    await this.#retry(() => {
      isWanted = desired.has(record);
      if (!desired.holds(record)) return undefined;
      const answers: Promise<unknown>[] = [this.#ask({ op: 'vni.del', vniIdx: record.state.vniIdx })];
      if (isWanted) answers.push(...this.#make(record));
      return answers;
    });
    record.reconciling--;
    // If the VNI was removed meanwhile, that removal reconciles it as well.
    if (isWanted || !desired.holds(record)) return;
    const { release } = record;
    record.release = undefined;
    await release?.();
    desired.giveRows(record);
  }

  /**
   * Gives all workers the TAP of a VNI.
   * @returns when no worker uses an earlier TAP
   */
  tap(record: VniRecord): Promise<void> {
    return this.#retry(() => {
      if (!this.#desired.has(record)) return undefined;
      const { tapFds, macParts: mac } = record;
      const { vniIdx } = record.state;
      return [
        this.#workers.askEachUntimed((index) => ({ op: 'vni.tap', vniIdx, tapFd: tapFds[index], mac })),
      ];
    });
  }

  /** Reconciles the policy of a VNI whose change failed. */
  policy(record: VniRecord): Promise<void> {
    return this.#retry(() => {
      if (!this.#desired.has(record)) return undefined;
      const { vniIdx, policy } = record.state;
      return [this.#ask({ op: 'vni.set', vniIdx, policy })];
    });
  }

  /**
   * Reconciles a peer whose addition or removal failed. If the peer is not desired, its row is
   * freed at the end.
   */
  async peer(record: VniRecord, peerIdx: number): Promise<void> {
    const isOurs = record.peers.at(peerIdx) === undefined;
    await this.#retry(() => {
      const run = record.peers.at(peerIdx);
      // Nothing is left to reconcile here: the peer is removed with its VNI, or by the change that
      // meanwhile removed the peer from the list.
      if (!isOurs && (run === undefined || record.leaving || !this.#desired.has(record))) return undefined;
      const answers: Promise<unknown>[] = [this.#ask({ op: 'peer.del', peerIdx })];
      if (isOurs || run === undefined) return answers;
      answers.push(this.#ask(this.#desired.peerChange(record, run)));
      const { text } = run.list[run.from].address;
      answers.push(...this.#entries(record, (peer) => peer === text));
      return answers;
    });
    if (isOurs) this.#desired.givePeerRow(peerIdx);
  }

  /** Reconciles a static entry whose addition or deletion failed. */
  entry(record: VniRecord, mac: MacParts): Promise<void> {
    const text = formatMac(mac.high, mac.low);
    return this.#retry(() => {
      if (!this.#desired.has(record)) return undefined;
      if (this.#options.entries(record.state.vni).has(text))
        return this.#entries(record, (_, other) => other === text);
      const deleted = this.#ask({ op: 'fdb.del', vniIdx: record.state.vniIdx, mac });
      return [deleted.catch(ignoreMissing)];
    });
  }

  /**
   * Retries waiting reconciliations after a worker was replaced, before other changes are accepted.
   */
  again(): void {
    for (const retry of [...this.#waiting]) retry();
  }

  /** Stops retrying when the workers end. Pending reconciliations never complete. */
  stop(): void {
    this.#stopped = true;
    this.#waiting.clear();
  }

  /** Adds the VNI as desired, with peers and static entries. */
  #make(record: VniRecord): Promise<unknown>[] {
    const changes = this.#desired.vniChanges(record);
    return [
      ...changes.map((changeOf) => this.#workers.askEachUntimed(changeOf)),
      ...this.#entries(record, () => true),
    ];
  }

  #entries(record: VniRecord, isMatch: (peer: string, mac: string) => boolean): Promise<unknown>[] {
    const { vni, vniIdx } = record.state;
    return [...this.#options.entries(vni)].flatMap(([mac, peer]) => {
      const found = isMatch(peer, mac) ? record.peers.find(peer) : undefined;
      if (found === undefined) return [];
      const { peerIdx } = found;
      return [this.#ask({ op: 'fdb.put', vniIdx, mac: parseMac(mac)!, peerIdx })];
    });
  }

  #ask(change: Change): Promise<unknown> {
    return this.#workers.askEachUntimed(() => change);
  }

  async #retry(attempt: Attempt): Promise<void> {
    for (let pauseMs = FIRST_PAUSE_MS; ; pauseMs = Math.min(2 * pauseMs, LONGEST_PAUSE_MS)) {
      const answers = await new Promise<PromiseSettledResult<unknown>[] | undefined>((resolve) => {
        const answers = attempt();
        if (answers === undefined) resolve(undefined);
        else void Promise.allSettled(answers).then(resolve);
      });
      if (answers === undefined || answers.every(({ status }) => status === 'fulfilled')) return;
      await this.#pause(pauseMs);
    }
  }

  /** Waits until a worker was replaced, or for the given time. */
  #pause(ms: number): Promise<void> {
    return new Promise((resolve) => {
      if (this.#stopped) return;
      const retry = () => {
        clearTimeout(timer);
        this.#waiting.delete(retry);
        resolve();
      };
      const timer = setTimeout(() => {
        if (!this.#stopped) retry();
      }, ms).unref();
      this.#waiting.add(retry);
    });
  }
}

/** Ignores the failure to delete an entry that does not exist. */
function ignoreMissing(error: DataPlaneError): void {
  if (error.code !== 'fdb_entry_not_found') throw error;
}
