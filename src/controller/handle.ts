/**
 * The main thread's handle of the data plane.
 *
 * Accepts changes, writes them to the desired state (`desired-state.ts`), sends them to all workers
 * (`workers.ts`) and completes when all have applied them. It reads no memory of the workers except
 * the counter blocks.
 *
 * While a worker is being replaced, changes are refused. A pending change fails with
 * `dataplane_down` when a worker dies, and with `dataplane_timeout` when a worker does not answer
 * in time. Some workers have possibly made the failed change, or will make it later. All workers
 * are therefore reconciled with the desired state (`reconciler.ts`).
 *
 * Changes have two modes (`Mode`). In mode `revert`, used for requests, a failed change reverts the
 * desired state. In mode `reconcile`, used to undo another change, a change cannot fail: the
 * desired state is kept, and the workers are reconciled with it as soon as they answer.
 */
import { setTimeout as delay } from 'node:timers/promises';
import type { Counters } from '../exchange/counters.js';
import {
  type DataPlane,
  DataPlaneError,
  type FdbEntry,
  type FdbFilter,
  type NewPeer,
  type PeerState,
  type VniRows,
  type VniSnapshot,
  type VniState,
} from '../exchange/data-plane.js';
import { type FdbItem, itemsOf } from '../exchange/fdb-page.js';
import {
  CHANGE_TIMEOUT_MS,
  type DropsBefore,
  type FlowsInit,
  type Held,
  type MacParts,
  type TunnelInit,
  type VniPolicy,
} from '../exchange/protocol.js';
import { Captures, type RunningCapture } from './captures.js';
import { CounterBlocks } from './counter-blocks.js';
import { DesiredState, type NewVni, type VniRecord } from './desired-state.js';
import { type FdbEvent, FdbEventReader } from './fdb-event-reader.js';
import { Reconciler } from './reconciler.js';
import { VniCounters } from './vni-counters.js';
import { type PeerRun, peerOf } from './vni-peers.js';
import { Workers, type WorkersOptions } from './workers.js';

export type { RunningCapture } from './captures.js';
export type { NewVni } from './desired-state.js';
export type { WorkerDescriptors } from './workers.js';

export interface HandleOptions extends WorkersOptions {
  /**
   * Called when all workers have added or removed a peer, alone or with its VNI, and when a worker
   * was replaced.
   */
  peersChanged: () => void;
  /** Called when all workers have removed a VNI, before any other observer. */
  vniLeft?: ((vni: number) => void) | undefined;
  /** Packed address → canonical text. */
  addressText: (address: { family: 4 | 6; bytes: Uint8Array; scopeId: number }) => string;
  /**
   * Callback for FDB events while `watchFdb` is on: some hundred events at once, a few times a
   * second.
   */
  fdbEvents?: (events: readonly FdbEvent[]) => void;
  /**
   * Returns the static entries that a VNI should have, MAC → address of a peer. Entries that a
   * failed change removed are restored from this map.
   */
  entries?: (vni: number) => ReadonlyMap<string, string>;
}

/** Parameters of a capture. */
export interface CaptureRequest {
  /** undefined: all VNIs. */
  vni: number | undefined;
  point: 'overlay' | 'underlay';
  /** Bytes kept of each packet. */
  snapLen: number;
}

/**
 * Handling of a change that a worker did not make: the desired state is reverted, or kept and
 * reconciled later.
 */
export type Mode = 'revert' | 'reconcile';

/** Longest wait for the successor of a worker that died, and the polling interval, ms. */
const REVIVAL_MS = 5000;
const REVIVAL_LOOK_MS = 20;

export class Handle implements DataPlane {
  readonly #options: HandleOptions;
  readonly #desired = new DesiredState();
  readonly #workers: Workers;
  readonly #reconciler: Reconciler;
  readonly #captures: Captures;
  readonly #vniCounters: VniCounters;
  /** Rows of peers that are being removed: these peers accept no further changes. */
  readonly #leaving = new Set<number>();
  #configured = false;

  constructor(options: HandleOptions) {
    this.#options = options;
    const reader = new FdbEventReader(options.addressText);
    this.#workers = new Workers(options, {
      configure: (ask, index) => this.#desired.configureWorker(ask, index),
      restored: () => {
        this.#reconciler.again();
        options.peersChanged();
      },
      fdbReported: (report) => {
        if (this.#desired.fdbEvents) options.fdbEvents?.(reader.read(report));
      },
    });
    const { entries = () => new Map() } = options;
    this.#reconciler = new Reconciler(this.#desired, this.#workers, { entries });
    this.#captures = new Captures(this.#desired, this.#workers);
    this.#vniCounters = new VniCounters(this.#desired, new CounterBlocks(this.counters));
  }

  get ready(): boolean {
    return this.#configured && this.#workers.ready;
  }

  /** Counter blocks, one for each worker. */
  get counters(): readonly Counters[] {
    return this.#workers.counters;
  }

  /**
   * @returns when all workers live and are configured, or after REVIVAL_MS; in that case later
   * requests fail
   */
  async revived(): Promise<void> {
    for (const untilMs = performance.now() + REVIVAL_MS; !this.#workers.ready; ) {
      if (performance.now() > untilMs) return;
      await delay(REVIVAL_LOOK_MS);
    }
  }

  /** Starts the workers. @returns when all have opened their ports */
  start(): Promise<void> {
    return this.#workers.start();
  }

  /**
   * Begins to forward, when the initial configuration is complete. Afterwards `ready` may become
   * true.
   *
   * @param droppedBefore datagrams that the sockets of each worker have dropped so far; these are
   * not counted
   */
  async configured(droppedBefore: readonly DropsBefore[]): Promise<void> {
    this.#desired.droppedBefore = droppedBefore;
    await this.#workers.askEach((index) => ({ op: 'forward', droppedBefore: droppedBefore[index] }));
    this.#configured = true;
  }

  /** Lets the workers finish their round and end. */
  stop(): Promise<void> {
    this.#reconciler.stop();
    return this.#workers.stop();
  }

  vnis(): readonly VniState[] {
    return Array.from(this.#desired.records, (record) => record.state);
  }

  settling(): readonly VniState[] {
    return this.#desired.settling().map(({ state }) => state);
  }

  /**
   * @throws DataPlaneError vni_exists when the VNI is configured, or settling after a failed change
   */
  assertFree(vni: number): void {
    this.#desired.assertFree(vni);
  }

  peers(vni: number): readonly PeerState[] {
    return [...this.#desired.vni(vni).peers];
  }

  /**
   * Adds a VNI with peers. If the addition fails, reconciliation removes the VNI from all workers; the
   * descriptors of its TAP must stay open until `abandonVni` has called `release`.
   * @param peers as for `addPeers`
   * @throws DataPlaneError vni_exists, peer_exists, table_full, dataplane_down, dataplane_timeout
   */
  async addVni(vni: NewVni, peers: readonly NewPeer[] = [], mode: Mode = 'revert'): Promise<VniState> {
    if (mode === 'revert') this.#workers.checkReady();
    const record = this.#desired.add(vni, peers);
    const changes = this.#desired.vniChanges(record);
    const answers = await Promise.allSettled(changes.map((changeOf) => this.#workers.askEach(changeOf)));
    const failure = answers.find((answer) => answer.status === 'rejected');
    if (failure !== undefined) {
      if (mode === 'revert') this.#desired.remove(record);
      void this.#reconciler.vni(record);
      if (mode === 'revert') throw failure.reason;
    }
    if (peers.length > 0) this.#options.peersChanged();
    return record.state;
  }

  /**
   * Reverts the addition of a VNI, whatever the workers answer: the VNI is no longer desired, and
   * its number stays in use until all workers have removed it.
   * @param release closes the descriptors that the workers used. Called only once, as soon as no
   * worker uses these descriptors; never called if the workers have ended before
   * @returns after `release`, or after CHANGE_TIMEOUT_MS; in that case `release` is called later
   */
  async abandonVni(vni: number, release: () => Promise<void>): Promise<void> {
    const record = this.#desired.find(vni);
    if (!record) return release();
    const released = new Promise<void>((resolve) => {
      record.release = () => release().finally(resolve);
    });
    if (this.#desired.has(record)) {
      record.leaving = true;
      this.#left(record);
      void this.#reconciler.vni(record);
    }
    await this.#withinTimeout(released);
  }

  /**
   * Removes a VNI with its peers and its FDB entries. Afterwards the caller can close the workers'
   * descriptors of the VNI's TAP, frames of the VNI count as `vni_not_found`, and its counters are
   * discarded. Until then the VNI is still listed. If the removal fails, the VNI stays, but some of
   * its learned entries are lost.
   * @throws DataPlaneError vni_not_found, dataplane_down, dataplane_timeout
   */
  async removeVni(vni: number): Promise<void> {
    const record = this.#vni(vni);
    this.#workers.checkReady();
    record.leaving = true;
    try {
      await this.#workers.ask({ op: 'vni.del', vniIdx: record.state.vniIdx });
    } catch (error) {
      record.leaving = false;
      void this.#reconciler.vni(record);
      throw error;
    }
    this.#left(record);
    this.#desired.giveRows(record);
  }

  #left(record: VniRecord): void {
    this.#captures.vniRemoved(record.state.vniIdx);
    this.#desired.remove(record);
    this.#options.vniLeft?.(record.state.vni);
    this.#options.peersChanged();
  }

  /**
   * Changes the policy of a VNI from the next frame on; omitted fields are unchanged. A limit below
   * the present number of FDB entries evicts the excess, first from the peers with most entries. If
   * the change fails, all workers get the previous policy again.
   * @throws DataPlaneError vni_not_found, dataplane_down, dataplane_timeout
   */
  async setPolicy(vni: number, changes: Partial<VniPolicy>, mode: Mode = 'revert'): Promise<void> {
    const record = this.#vni(vni);
    if (mode === 'revert') this.#workers.checkReady();
    const before = record.state.policy;
    try {
      await this.#applyPolicy(record, changes);
    } catch (error) {
      if (mode === 'revert') {
        const names = Object.keys(changes) as (keyof VniPolicy)[];
        const restored = Object.fromEntries(names.map((name) => [name, before[name]]));
        record.state = { ...record.state, policy: { ...record.state.policy, ...restored } };
      }
      void this.#reconciler.policy(record);
      if (mode === 'revert') throw error;
    }
  }

  /**
   * Changes the overlay MTU of a VNI from the next frame on. The overlay MTU is derived from paths,
   * so the desired value is kept if the change fails: a worker that is being replaced reads it with
   * its configuration.
   * @throws DataPlaneError vni_not_found, dataplane_down
   */
  async setOverlayMtu(vni: number, overlayMtu: number): Promise<void> {
    await this.#applyPolicy(this.#vni(vni), { overlayMtu });
  }

  /**
   * Replaces the TAP of a VNI.
   *
   * @param tapFds one queue for each worker
   * @returns when no worker uses the earlier TAP, without a time limit
   * @throws DataPlaneError vni_not_found
   */
  async replaceTap(vni: number, tap: Pick<NewVni, 'tapFds' | 'mac' | 'macParts'>): Promise<void> {
    const record = this.#vni(vni);
    record.tapFds = tap.tapFds;
    record.macParts = tap.macParts;
    record.state = { ...record.state, mac: tap.mac };
    await this.#reconciler.tap(record);
  }

  /**
   * Records the bridge of the TAP, which the workers do not use. @throws DataPlaneError
   * vni_not_found
   */
  setBridge(vni: number, bridge: string): void {
    const record = this.#vni(vni);
    record.state = { ...record.state, bridge };
  }

  async #applyPolicy(record: VniRecord, changes: Partial<VniPolicy>): Promise<void> {
    const policy = { ...record.state.policy, ...changes };
    record.state = { ...record.state, policy };
    await this.#workers.ask({ op: 'vni.set', vniIdx: record.state.vniIdx, policy });
  }

  /**
   * Adds peers, all or none.
   * @param peers list that is kept, not copied: VNIs with the same list share its memory
   * @throws DataPlaneError vni_not_found, peer_exists, dataplane_timeout
   */
  async addPeers(vni: number, peers: readonly NewPeer[], mode: Mode = 'revert'): Promise<void> {
    const record = this.#vni(vni);
    if (mode === 'revert') this.#workers.checkReady();
    const added = this.#desired.addPeers(record, peers);
    const changes = added.map((run) => this.#desired.peerChange(record, run));
    const answers = await Promise.allSettled(changes.map((change) => this.#workers.ask(change)));
    const failure = answers.find((answer) => answer.status === 'rejected');
    if (failure !== undefined)
      for (const peerIdx of added.flatMap(rowsOf)) {
        const isThere = mode === 'revert' ? record.peers.remove(peerIdx) : record.peers.at(peerIdx);
        if (isThere) void this.#reconciler.peer(record, peerIdx);
      }
    if (failure !== undefined && mode === 'revert') throw failure.reason;
    this.#options.peersChanged();
  }

  /**
   * Removes a peer and all its FDB entries. The peer is listed until every worker has added the
   * peer's counters to the sums of the VNI.
   * @throws DataPlaneError peer_not_found, vni_not_found
   */
  async removePeer(vni: number, address: string, mode: Mode = 'revert'): Promise<void> {
    const record = this.#vni(vni);
    const { peerIdx } = this.#peer(record, address);
    this.#leaving.add(peerIdx);
    try {
      await this.#workers.ask({ op: 'peer.del', peerIdx });
    } catch (error) {
      const isThere = mode === 'revert' ? record.peers.at(peerIdx) : record.peers.remove(peerIdx);
      if (isThere) void this.#reconciler.peer(record, peerIdx);
      if (mode === 'revert') throw error;
    } finally {
      this.#leaving.delete(peerIdx);
    }
    // Only the code that removes the peer from the record frees its row. The code that handles a
    // failed addition has possibly removed the peer meanwhile.
    if (record.peers.remove(peerIdx)) this.#desired.givePeerRow(peerIdx);
    this.#options.peersChanged();
  }

  /**
   * Configures the outer TAP. While the offload is enabled, superframes to the peers of these rows
   * leave by it.
   * @throws DataPlaneError dataplane_down: some workers have the new set-up and some the previous
   * one; `peersChanged` is called later
   */
  async setTunnel(tunnel: TunnelInit, peers: Int32Array): Promise<void> {
    this.#desired.tunnel = { op: 'tunnel', tunnel, peers };
    await this.#workers.ask(this.#desired.tunnel);
  }

  /**
   * Sets the maps of kernel flow offload; undefined switches it off. With undefined the call waits,
   * without a time limit, until all workers have stopped using the previous maps, because the
   * caller must not close the descriptors of the maps earlier.
   * @throws as `setTunnel`
   */
  async setFlows(flows: FlowsInit | undefined): Promise<void> {
    this.#desired.flows = { op: 'flows', flows };
    if (flows === undefined) await this.#workers.askLivingUntimed(this.#desired.flows);
    else await this.#workers.ask(this.#desired.flows);
  }

  /** Sends nothing in the held address families, also while a worker is being replaced. */
  async hold(held: Held): Promise<void> {
    this.#desired.held = held;
    await this.#workers.askLiving([{ op: 'underlay.hold', ...held }]);
  }

  /** Reports the addresses of this host to the workers. @param rows packed addresses as words */
  async setOwn(rows: Int32Array<ArrayBuffer>): Promise<void> {
    this.#desired.own = rows;
    await this.#workers.askLiving([{ op: 'underlay.own', rows }]);
  }

  /**
   * Lists the devices of the overlay, by which no VXLAN is accepted. A worker that is being replaced
   * receives the list now or with its configuration. Never rejects.
   *
   * @param indexes interface indexes, in ascending order; an unchanged list is not sent again
   */
  async setOverlayDevices(indexes: Int32Array): Promise<void> {
    const before = this.#desired.overlayDevices?.indexes;
    if (before?.join() === indexes.join()) return;
    this.#desired.overlayDevices = { op: 'overlay.devices', indexes };
    await this.#workers.askLiving([this.#desired.overlayDevices]);
  }

  /** Switches FDB events (`fdbEvents`) on or off. */
  async watchFdb(on: boolean): Promise<void> {
    this.#desired.fdbEvents = on;
    await this.#workers.askLiving([{ op: 'events', on }]);
  }

  /**
   * Captures packets until the capture is stopped or its VNI is removed. Only one capture runs at a
   * time.
   * @throws DataPlaneError vni_not_found, capture_busy, dataplane_down
   */
  async startCapture({ vni, point, snapLen }: CaptureRequest): Promise<RunningCapture> {
    const vniIdx = vni === undefined ? -1 : this.#vni(vni).state.vniIdx;
    return this.#captures.start({ vniIdx, point, snapLen });
  }

  /** Returns the configured peer of a row, for readers of captured packets. */
  peerAt(vniIdx: number, peerIdx: number): PeerState | undefined {
    for (const { state, peers } of this.#desired.records) {
      const run = state.vniIdx === vniIdx ? peers.at(peerIdx) : undefined;
      if (run) return peerOf(run, 0);
    }
    return undefined;
  }

  /** Adds a static entry, or replaces any entry by it. @throws DataPlaneError peer_not_found */
  async putFdb(vni: number, mac: MacParts, peer: string): Promise<void> {
    const record = this.#vni(vni);
    const { peerIdx } = this.#peer(record, peer);
    await this.#workers.ask({ op: 'fdb.put', vniIdx: record.state.vniIdx, mac, peerIdx });
  }

  /** @throws DataPlaneError fdb_entry_not_found */
  async deleteFdb(vni: number, mac: MacParts): Promise<void> {
    await this.#workers.ask({ op: 'fdb.del', vniIdx: this.#vni(vni).state.vniIdx, mac });
  }

  /**
   * Reconciles static entries with `HandleOptions.entries` after a change of these entries failed
   * or was reverted.
   * @returns when all workers agree, or after CHANGE_TIMEOUT_MS; in that case reconciling continues
   */
  async reconcileFdb(vni: number, macs: readonly MacParts[]): Promise<void> {
    const record = this.#desired.find(vni);
    if (!record || macs.length === 0) return;
    await this.#withinTimeout(Promise.all(macs.map((mac) => this.#reconciler.entry(record, mac))));
  }

  /** @returns entries removed */
  async flushFdb(vni: number, filter: FdbFilter): Promise<number> {
    const record = this.#vni(vni);
    const peers = this.#filterPeers(record, filter);
    const { vniIdx } = record.state;
    const answer = await this.#workers.ask({ op: 'fdb.flush', vniIdx, type: filter.type, peers });
    return answer.removed ?? 0;
  }

  async listFdb(
    vni: number,
    filter: FdbFilter,
    limit: number,
    cursor: number,
  ): Promise<{ items: FdbEntry[]; nextCursor: number }> {
    const record = this.#vni(vni);
    const peers = this.#filterPeers(record, filter);
    const { vniIdx } = record.state;
    const list = { op: 'fdb.list', vniIdx, type: filter.type, peers, limit, cursor } as const;
    const answer = await this.#workers.askFirst(list);
    const items = answer.page ? Array.from(itemsOf(answer.page), (item) => this.#entry(item)) : [];
    return { items, nextCursor: answer.nextCursor ?? -1 };
  }

  snapshot(vni: number): VniSnapshot {
    return this.#vniCounters.snapshot(vni);
  }

  rows(vni: number): VniRows {
    return this.#vniCounters.rows(vni);
  }

  totals(vni: number): { vni: Float64Array; peers: number } {
    return this.#vniCounters.totals(vni);
  }

  globals(): Float64Array {
    return this.#vniCounters.globals();
  }

  /**
   * Applies new path MTUs. A worker that is being replaced receives the path MTUs now or with its
   * configuration.
   * @param pathMtu function from the canonical text of an address to its path MTU, bytes; 0:
   * unknown
   */
  async followPaths(pathMtu: (address: string) => number): Promise<void> {
    await this.#workers.askLiving(this.#desired.followPaths(pathMtu));
  }

  /**
   * Reports to the workers that a path carries less.
   * @param row packed address and port of a peer @param mtu next-hop MTU, bytes; 0: not reported
   */
  reportPath(row: Uint8Array, mtu: number): void {
    this.#workers.forward(-1, { op: 'path.report', row: new Int32Array(row.buffer), mtu });
  }

  /** @returns when the work is done, or after CHANGE_TIMEOUT_MS */
  async #withinTimeout(work: Promise<unknown>): Promise<void> {
    const ended = new AbortController();
    const limit = delay(CHANGE_TIMEOUT_MS, undefined, { signal: ended.signal }).catch(() => {});
    await Promise.race([work, limit]);
    ended.abort();
  }

  /** Returns a VNI that accepts changes. */
  #vni(vni: number): VniRecord {
    const record = this.#desired.vni(vni);
    if (record.leaving) throw new DataPlaneError('vni_not_found', `VNI ${vni} is being removed`);
    return record;
  }

  #peer(record: VniRecord, address: string): PeerState {
    const peer = record.peers.find(address);
    if (!peer || this.#leaving.has(peer.peerIdx)) throw noSuchPeer(record, address);
    return peer;
  }

  /** Peer rows that a filter selects; undefined: all. */
  #filterPeers(record: VniRecord, { peer: host }: FdbFilter): ReadonlySet<number> | undefined {
    if (host === '') return undefined;
    const rows = new Set(record.peers.rowsOf(host).filter((peerIdx) => !this.#leaving.has(peerIdx)));
    if (rows.size === 0) throw noSuchPeer(record, host);
    return rows;
  }

  #entry({ mac, address, type, ageMs }: FdbItem): FdbEntry {
    return { mac, peer: this.#options.addressText(address), type, ageMs };
  }
}

function noSuchPeer({ state: { vni } }: VniRecord, host: string): DataPlaneError {
  return new DataPlaneError('peer_not_found', `${host} is not a peer of VNI ${vni}`);
}

function rowsOf({ first, count }: PeerRun): number[] {
  return Array.from({ length: count }, (_, i) => first + i);
}
