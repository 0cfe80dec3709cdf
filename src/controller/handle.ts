/**
 * The main thread's side of the data plane: takes changes, writes them into the desired state (`desired-state.ts`), asks
 * all workers (`workers.ts`) and answers its caller after all have applied them. It reads the counter blocks and
 * nothing else of the workers'.
 *
 * While one of the workers is being replaced, changes are refused. A change under way when one dies fails with
 * `dataplane_down`, and one that a worker does not answer in time with `dataplane_timeout`, though workers may have made it
 * or make it later: then all are reconciled with the desired state (`reconciler.ts`).
 *
 * Changes come in two modes. Those of a caller revert the desired state when they fail. Those that take back another one
 * (`Mode` reconcile) cannot fail: the desired state stays as they say, and the workers follow as soon as they can.
 */
import { setTimeout as delay } from 'node:timers/promises';
import { type Counters, PEER_ROW } from '../exchange/counters.js';
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
  type FlowsInit,
  type MacParts,
  type TunnelInit,
  type VniPolicy,
} from '../exchange/protocol.js';
import { Captures, type RunningCapture } from './captures.js';
import { CounterBlocks } from './counter-blocks.js';
import { DesiredState, type NewVni, type VniRecord } from './desired-state.js';
import { type FdbEvent, FdbEventReader } from './fdb-event-reader.js';
import { Reconciler } from './reconciler.js';
import { type PeerRun, peerOf } from './vni-peers.js';
import { Workers, type WorkersOptions } from './workers.js';

export type { RunningCapture } from './captures.js';
export type { NewVni } from './desired-state.js';
export type { WorkerDescriptors } from './workers.js';

export interface HandleOptions extends WorkersOptions {
  /** A peer was added or removed, with its VNI or alone, and all workers know; or one of them was replaced. */
  peersChanged: () => void;
  /** A VNI was removed, and all workers know; nobody else does yet. */
  vniLeft?: ((vni: number) => void) | undefined;
  /** Packed address → canonical text. */
  addressText: (address: { family: 4 | 6; bytes: Uint8Array; scopeId: number }) => string;
  /** Takes what became of FDB entries, while `watchFdb` is on: some hundred at once, some times a second. */
  fdbEvents?: (events: readonly FdbEvent[]) => void;
  /** Static entries that a VNI is to have, MAC → address of a peer: what a failed change took along is put back. */
  entries?: (vni: number) => ReadonlyMap<string, string>;
}

/** What is to be captured. */
export interface CaptureRequest {
  /** undefined: all. */
  vni: number | undefined;
  point: 'overlay' | 'underlay';
  /** Bytes of a packet that are kept at most. */
  snapLen: number;
}

/** How a change that a worker did not make is handled: the desired state is reverted, or kept and reconciled later. */
export type Mode = 'revert' | 'reconcile';

/** What a worker that died is given for its successor to come, and how often it is looked for, ms. */
const REVIVAL_MS = 5000;
const REVIVAL_LOOK_MS = 20;

export class Handle implements DataPlane {
  readonly #options: HandleOptions;
  readonly #desired = new DesiredState();
  readonly #workers: Workers;
  readonly #reconciler: Reconciler;
  readonly #captures: Captures;
  readonly #blocks: CounterBlocks;
  /** Rows of peers that are being removed: nothing may be asked of them any more. */
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
    this.#blocks = new CounterBlocks(this.counters);
  }

  get ready(): boolean {
    return this.#configured && this.#workers.ready;
  }

  /** Counter blocks, one a worker. */
  get counters(): readonly Counters[] {
    return this.#workers.counters;
  }

  /** @returns when all workers live and know what they are to know; after a while also if they do not: what is asked then fails */
  async revived(): Promise<void> {
    for (const untilMs = performance.now() + REVIVAL_MS; !this.#workers.ready; ) {
      if (performance.now() > untilMs) return;
      await delay(REVIVAL_LOOK_MS);
    }
  }

  /** Starts the workers. @returns when all have their ports open */
  start(): Promise<void> {
    return this.#workers.start();
  }

  /** The configuration given so far is complete and acknowledged: `ready` may become true. */
  configured(): void {
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

  /** @throws DataPlaneError vni_exists: the VNI is there, or a failed change still holds it */
  assertFree(vni: number): void {
    this.#desired.assertFree(vni);
  }

  peers(vni: number): readonly PeerState[] {
    return [...this.#desired.vni(vni).peers];
  }

  /**
   * If it fails, nothing of it stays in the end; the descriptors of its TAP may be closed when `abandonVni` says so.
   * @throws DataPlaneError vni_exists, dataplane_down, dataplane_timeout
   */
  async addVni(vni: NewVni, mode: Mode = 'revert'): Promise<VniState> {
    if (mode === 'revert') this.#workers.checkReady();
    const record = this.#desired.add(vni);
    try {
      await this.#workers.askEach((index) => this.#desired.vniChange(record, index));
    } catch (error) {
      if (mode === 'revert') this.#desired.remove(record);
      void this.#reconciler.vni(record);
      if (mode === 'revert') throw error;
    }
    return record.state;
  }

  /**
   * Takes a VNI back whatever the workers answer: from now on it is not desired, and its number stays taken until they agree.
   * @param release closes what they used for it: called once, when none of them does any more. When they have ended, nobody
   * calls it
   * @returns when it is released, or when a worker has not answered within the time of a change: then that is still to come
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
    await this.#soon(released);
  }

  /**
   * Removes a VNI with its peers and its FDB entries. Once all workers have, their descriptors of its TAP may be closed, and
   * frames for it count as `vni_not_found`; its counters are gone. Until then it is still listed. If it fails, the VNI stays,
   * though without some of its learned entries.
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
   * From the next frame on, frames of this VNI are treated by this; what is not named stays as it is. A limit below what the
   * FDB holds evicts what is too much; those that hold most lose first. If it fails, nothing of it stays.
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
   * From the next frame on, frames of this VNI are judged by this overlay MTU. It follows from paths, so it stays what it is
   * to be if that fails: a worker that is being replaced reads it with its configuration.
   * @throws DataPlaneError vni_not_found, dataplane_down
   */
  async setOverlayMtu(vni: number, overlayMtu: number): Promise<void> {
    await this.#applyPolicy(this.#vni(vni), { overlayMtu });
  }

  /** The TAP has joined another bridge; the workers need not know. @throws DataPlaneError vni_not_found */
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
   * @param peers kept as it is: VNIs that are given one and the same list share its memory
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
   * Removes a peer and all its FDB entries. Until every worker has folded its counters into the sums, it is still listed.
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
    // Whoever takes it from the record gives the row back: its addition may have failed meanwhile.
    if (record.peers.remove(peerIdx)) this.#desired.givePeerRow(peerIdx);
    this.#options.peersChanged();
  }

  /**
   * Superframes for these peers' rows leave by this way, while the offload is granted.
   * @throws DataPlaneError dataplane_down, after which some have it and some the one before; `peersChanged` follows
   */
  async setTunnel(way: TunnelInit, peers: Int32Array): Promise<void> {
    this.#desired.tunnel = { op: 'tunnel', tunnel: way, peers };
    await this.#workers.ask(this.#desired.tunnel);
  }

  /**
   * Workers may tell the kernel of TCP flows by these maps, while that offload is granted; undefined: they have let go of
   * the former, be it after a long time: only then may their descriptors be closed. @throws as `setTunnel`
   */
  async setFlows(flows: FlowsInit | undefined): Promise<void> {
    this.#desired.flows = { op: 'flows', flows };
    if (flows === undefined) await this.#workers.askLivingUntimed(this.#desired.flows);
    else await this.#workers.ask(this.#desired.flows);
  }

  /** Whether anybody listens to what becomes of FDB entries: only then it is told (`fdbEvents`). */
  async watchFdb(on: boolean): Promise<void> {
    this.#desired.fdbEvents = on;
    await this.#workers.askLiving([{ op: 'events', on }]);
  }

  /**
   * Packets are taken down until that is stopped, or the VNI is removed. One capture at a time.
   * @throws DataPlaneError vni_not_found, capture_busy, dataplane_down
   */
  async startCapture({ vni, point, snapLen }: CaptureRequest): Promise<RunningCapture> {
    const vniIdx = vni === undefined ? -1 : this.#vni(vni).state.vniIdx;
    return this.#captures.start({ vniIdx, point, snapLen });
  }

  /** The configured peer that a row is of, for whoever reads captured packets. */
  peerAt(vniIdx: number, peerIdx: number): PeerState | undefined {
    for (const { state, peers } of this.#desired.records) {
      const run = state.vniIdx === vniIdx ? peers.at(peerIdx) : undefined;
      if (run) return peerOf(run, 0);
    }
    return undefined;
  }

  /** Puts a static entry in place of any other. @throws DataPlaneError peer_not_found */
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
   * A change of these static entries failed, or is taken back: they become what they are to be (`HandleOptions.entries`).
   * @returns when they are, or when a worker has not answered within the time of a change: then that is still to come
   */
  async reconcileFdb(vni: number, macs: readonly MacParts[]): Promise<void> {
    const record = this.#desired.find(vni);
    if (!record || macs.length === 0) return;
    await this.#soon(Promise.all(macs.map((mac) => this.#reconciler.entry(record, mac))));
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
    const { vni: own, peers: cells, others } = this.rows(vni);
    const rows = Array.from(this.#desired.vni(vni).peers, (peer, i) => ({
      peer: peer as PeerState | undefined,
      row: cells.subarray(i * PEER_ROW, (i + 1) * PEER_ROW),
    }));
    rows.push({ peer: undefined, row: others });
    return { vni: own, peers: rows };
  }

  rows(vni: number): VniRows {
    const { state, peers } = this.#desired.vni(vni);
    const own = this.#blocks.vniRow(state.vniIdx);
    const others = this.#blocks.peerRow(state.otherIdx);
    const cells = new Float64Array(peers.count * PEER_ROW);
    let end = 0;
    const runs = peers.runs.map(({ first, count }) => {
      const begin = end;
      end += count * PEER_ROW;
      return this.#blocks.peerRows(first, cells.subarray(begin, end));
    });
    this.#blocks.read([own, others, ...runs]);
    return { vni: own.row, peers: cells, spans: peers.runs, others: others.row };
  }

  totals(vni: number): { vni: Float64Array; peers: number } {
    const { state, peers } = this.#desired.find(vni) ?? this.#desired.vni(vni);
    const own = this.#blocks.vniRow(state.vniIdx);
    this.#blocks.read([own]);
    return { vni: own.row, peers: peers.count };
  }

  globals(): Float64Array {
    return this.#blocks.globals();
  }

  /**
   * What is known of paths may have changed: from now on frames are judged by it. A worker that is just being replaced is
   * told all the same, or reads it with the configuration.
   * @param pathMtu by canonical text of an address, bytes; 0: not known
   */
  async followPaths(pathMtu: (address: string) => number): Promise<void> {
    await this.#workers.askLiving(this.#desired.followPaths(pathMtu));
  }

  /** The network says that a path carries less. @param row packed address and port of a peer @param mtu bytes; 0: not said */
  reportPath(row: Uint8Array, mtu: number): void {
    this.#workers.forward(-1, { op: 'path.report', row: new Int32Array(row.buffer), mtu });
  }

  /** @returns when it has been done, or after the time that a change may take */
  async #soon(work: Promise<unknown>): Promise<void> {
    const ended = new AbortController();
    const limit = delay(CHANGE_TIMEOUT_MS, undefined, { signal: ended.signal }).catch(() => {});
    await Promise.race([work, limit]);
    ended.abort();
  }

  /** A VNI that something may be asked of. */
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

  /** Rows that a filter means; undefined: all. */
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
