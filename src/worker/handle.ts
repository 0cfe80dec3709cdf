/**
 * The main thread's side of the data plane. It keeps the desired state (VNIs, peers, static entries are the
 * worker's), assigns every row, sends changes and answers each caller after the worker has applied the change. It
 * reads the counter block and nothing else of the worker's.
 *
 * When the worker dies, a successor is started on the same descriptors and buffers: it gets the VNIs and peers again,
 * in the same rows, and finds FDB and counters as they were. Changes under way fail with `dataplane_down`.
 */
import { MessageChannel, type MessagePort, receiveMessageOnPort, Worker } from 'node:worker_threads';
import { LEARNED_ROWS, MAX_PEERS, MAX_VNIS, PEER_ROW_LEN } from '../frame/limits.js';
import { Counters, GLOBAL_ROW, PEER_ROW, VNI_ROW } from '../stats/counters.js';
import type {
  DataPlane,
  FdbEntry,
  FdbFilter,
  NewPeer,
  PeerState,
  VniSnapshot,
  VniState,
} from './data-plane.js';
import { DataPlaneError } from './data-plane.js';
import type {
  Answer,
  Change,
  Engine,
  FdbItem,
  MacParts,
  Report,
  Request,
  UnderlayInit,
  WorkerInit,
} from './protocol.js';
import { RowAllocator } from './rows.js';

/** How long a change may take before its caller is told that the data plane does not answer, ms. */
const CHANGE_TIMEOUT_MS = 2000;
/** A worker that dies again this soon after its start is not replaced at once, ms. */
const RESTART_PAUSE_MS = 500;

export interface HandleOptions {
  engine: Engine;
  underlay: UnderlayInit;
  merge: { tcp: boolean; udp: boolean };
  strictHeader: boolean;
  port: number;
  /** epoll and wake-up eventfd, open for the life of the process. */
  waitFd: number;
  wakeFd: number;
  /** Makes the worker's wait return. */
  wake: () => void;
  /** Random 32-bit integer: seed of the FDB's hash. */
  seed: number;
  log: (level: 'info' | 'warn' | 'error', message: string, fields: Record<string, unknown>) => void;
  /** Packed address → canonical text. */
  addressText: (address: { family: 4 | 6; bytes: Uint8Array; scopeId: number }) => string;
}

/** A VNI as it is set up: what the worker is told, beside the row that is assigned here. */
export interface NewVni {
  vni: number;
  tap: string;
  bridge: string;
  mac: string;
  macParts: MacParts;
  tapFd: number;
  policy: VniState['policy'];
}

interface VniRecord {
  state: VniState;
  tapFd: number;
  macParts: MacParts;
  generation: number;
  peers: Map<string, PeerRecord>;
}

interface PeerRecord {
  state: PeerState;
  generation: number;
  /** Being removed: nothing may be asked of it any more. */
  leaving: boolean;
}

interface Pending {
  resolve: (answer: Answer) => void;
  reject: (error: Error) => void;
  timer: NodeJS.Timeout;
}

export class Handle implements DataPlane {
  readonly counters = new Counters(MAX_VNIS, MAX_PEERS);
  readonly #options: HandleOptions;
  readonly #peerRows = new SharedArrayBuffer(MAX_PEERS * PEER_ROW_LEN);
  /** Memory of the FDB, as the worker reported it last. */
  #fdb: SharedArrayBuffer[] = [];
  readonly #vnis = new Map<number, VniRecord>();
  readonly #freeVnis = new RowAllocator(MAX_VNIS);
  readonly #freePeers = new RowAllocator(MAX_PEERS - LEARNED_ROWS);
  readonly #pending = new Map<number, Pending>();
  #worker: Worker | undefined;
  #port: MessagePort | undefined;
  #nextId = 1;
  #nextGeneration = 1;
  #up = false;
  #configured = false;
  /** A worker has died and its successor does not know the configuration yet: it is asked for nothing else. */
  #restoring = false;
  #stopping = false;
  #startedMs = 0;

  constructor(options: HandleOptions) {
    this.#options = options;
  }

  get ready(): boolean {
    return this.#up && this.#configured && !this.#restoring;
  }

  /** Starts the worker. @returns when its ports are open */
  async start(): Promise<void> {
    await this.#spawn();
  }

  /** The configuration given so far is complete and acknowledged: `ready` may become true. */
  configured(): void {
    this.#configured = true;
  }

  /** Lets the worker finish its round and end. */
  async stop(): Promise<void> {
    this.#stopping = true;
    const worker = this.#worker;
    if (!worker) return;
    const exited = new Promise((resolve) => worker.once('exit', resolve));
    await this.#request({ op: 'stop' }).catch(() => worker.terminate());
    await exited;
  }

  vnis(): readonly VniState[] {
    return Array.from(this.#vnis.values(), (record) => record.state);
  }

  peers(vni: number): readonly PeerState[] {
    return Array.from(this.#vni(vni).peers.values(), (record) => record.state);
  }

  /** @throws DataPlaneError vni_exists, dataplane_timeout */
  async addVni(vni: NewVni): Promise<VniState> {
    if (this.#vnis.has(vni.vni)) throw new DataPlaneError('vni_exists', `VNI ${vni.vni} exists already`);
    const { macParts, tapFd, ...state } = vni;
    const record: VniRecord = {
      state: { ...state, vniIdx: this.#freeVnis.take(), otherIdx: this.#freePeers.take() },
      tapFd,
      macParts,
      generation: this.#nextGeneration++,
      peers: new Map(),
    };
    this.#vnis.set(vni.vni, record);
    await this.#change(vniChange(record));
    return record.state;
  }

  async addPeer(vni: number, peer: NewPeer): Promise<PeerState> {
    const record = this.#vni(vni);
    if (record.peers.has(peer.address.text)) {
      throw new DataPlaneError('peer_exists', `${peer.address.text} is a peer of VNI ${vni} already`);
    }
    if (this.#restoring) throw beingRestarted();
    const added: PeerRecord = {
      state: { ...peer, peerIdx: this.#freePeers.take() },
      generation: this.#nextGeneration++,
      leaving: false,
    };
    record.peers.set(peer.address.text, added);
    try {
      await this.#change(peerChange(record, added));
    } catch (error) {
      record.peers.delete(peer.address.text);
      this.#withdraw(added.state.peerIdx);
      throw error;
    }
    return added.state;
  }

  /**
   * A peer whose addition was not acknowledged in time may still be added: what follows takes it out again. The
   * successor of a worker that died never hears of it.
   */
  #withdraw(peerIdx: number): void {
    if (this.#restoring) {
      this.#freePeers.give(peerIdx);
      return;
    }
    this.#change({ op: 'peer.del', peerIdx }).then(
      () => this.#freePeers.give(peerIdx),
      () => undefined,
    );
  }

  /** Until the worker has folded its counters into the sums, the peer is still listed. */
  async removePeer(vni: number, address: string): Promise<void> {
    const record = this.#vni(vni);
    const peer = this.#peer(record, address);
    peer.leaving = true;
    try {
      await this.#change({ op: 'peer.del', peerIdx: peer.state.peerIdx });
    } catch (error) {
      peer.leaving = false;
      throw error;
    }
    record.peers.delete(address);
    this.#freePeers.give(peer.state.peerIdx);
  }

  async putFdb(vni: number, mac: MacParts, peer: string): Promise<void> {
    const record = this.#vni(vni);
    const { peerIdx } = this.#peer(record, peer).state;
    await this.#change({ op: 'fdb.put', vniIdx: record.state.vniIdx, mac, peerIdx });
  }

  async deleteFdb(vni: number, mac: MacParts): Promise<void> {
    await this.#change({ op: 'fdb.del', vniIdx: this.#vni(vni).state.vniIdx, mac });
  }

  async flushFdb(vni: number, filter: FdbFilter): Promise<number> {
    const record = this.#vni(vni);
    const peerIdx = this.#filterPeer(record, filter);
    const { vniIdx } = record.state;
    const answer = await this.#change({ op: 'fdb.flush', vniIdx, type: filter.type, peerIdx });
    return answer.removed ?? 0;
  }

  async listFdb(
    vni: number,
    filter: FdbFilter,
    limit: number,
    cursor: number,
  ): Promise<{ items: FdbEntry[]; nextCursor: number }> {
    const record = this.#vni(vni);
    const peerIdx = this.#filterPeer(record, filter);
    const { vniIdx } = record.state;
    const answer = await this.#change({ op: 'fdb.list', vniIdx, type: filter.type, peerIdx, limit, cursor });
    const items = (answer.items ?? []).map((item) => this.#entry(item));
    return { items, nextCursor: answer.nextCursor ?? -1 };
  }

  snapshot(vni: number): VniSnapshot {
    const { state, peers } = this.#vni(vni);
    const { counters } = this;
    const rows = Array.from(peers.values(), ({ state: peer }) => ({
      peer: peer as PeerState | undefined,
      base: counters.peerBase(peer.peerIdx),
      row: new Float64Array(PEER_ROW),
    }));
    rows.push({ peer: undefined, base: counters.peerBase(state.otherIdx), row: new Float64Array(PEER_ROW) });
    const base = counters.vniBase(state.vniIdx);
    const row = new Float64Array(VNI_ROW);
    counters.consistently(() => {
      row.set(counters.cells.subarray(base, base + VNI_ROW));
      for (const peer of rows) peer.row.set(counters.cells.subarray(peer.base, peer.base + PEER_ROW));
    });
    return { vni: row, peers: rows };
  }

  globals(): Float64Array {
    return this.counters.cells.slice(0, GLOBAL_ROW);
  }

  #vni(vni: number): VniRecord {
    const record = this.#vnis.get(vni);
    if (!record) throw new DataPlaneError('vni_not_found', `VNI ${vni} is not configured`);
    return record;
  }

  #peer(record: VniRecord, address: string): PeerRecord {
    const peer = record.peers.get(address);
    if (!peer || peer.leaving) {
      throw new DataPlaneError('peer_not_found', `${address} is not a peer of VNI ${record.state.vni}`);
    }
    return peer;
  }

  #filterPeer(record: VniRecord, filter: FdbFilter): number {
    return filter.peer === '' ? -1 : this.#peer(record, filter.peer).state.peerIdx;
  }

  #entry({ mac, address, type, ageMs }: FdbItem): FdbEntry {
    return { mac, peer: this.#options.addressText(address), type, ageMs };
  }

  #change(change: Change): Promise<Answer> {
    return this.#restoring ? Promise.reject(beingRestarted()) : this.#request(change);
  }

  #request(change: Change): Promise<Answer> {
    const port = this.#port;
    if (!port) return Promise.reject(beingRestarted());
    const id = this.#nextId++;
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => {
        this.#pending.delete(id);
        const waited = `the data plane did not answer within ${CHANGE_TIMEOUT_MS / 1000} s`;
        reject(new DataPlaneError('dataplane_timeout', waited));
      }, CHANGE_TIMEOUT_MS);
      this.#pending.set(id, { resolve, reject, timer });
      port.postMessage({ id, change } satisfies Request);
      this.#options.wake();
    });
  }

  #spawn(): Promise<void> {
    const { port1, port2 } = new MessageChannel();
    const { engine, underlay, merge, strictHeader, port, waitFd, wakeFd, seed } = this.#options;
    const init: WorkerInit = {
      engine,
      underlay,
      merge,
      strictHeader,
      port,
      waitFd,
      wakeFd,
      seed,
      counters: this.counters.buffer,
      peers: this.#peerRows,
      fdb: this.#fdb,
    };
    this.#startedMs = performance.now();
    const worker = new Worker(new URL('./worker.js', import.meta.url), {
      workerData: { init, port: port2 },
      transferList: [port2],
      name: 'vtepd-dataplane',
    });
    this.#worker = worker;
    return new Promise((resolve, reject) => {
      let failure: Error | undefined;
      worker.once('error', (error) => {
        failure = error;
        this.#options.log('error', 'the data plane has failed', { error: error.message, stack: error.stack });
      });
      worker.once('exit', (code) => {
        this.#readRest(port1);
        this.#onExit();
        reject(failure ?? new Error(`the data plane ended with code ${code}`));
      });
      port1.on('message', (report: Report) => {
        if (report.kind === 'up') {
          this.#port = port1;
          this.#up = true;
          resolve();
        } else this.#onReport(report);
      });
    });
  }

  /** What a worker said before it ended is true: changes that it made, and where the FDB lies. */
  #readRest(port: MessagePort): void {
    for (let rest = receiveMessageOnPort(port); rest; rest = receiveMessageOnPort(port)) {
      this.#onReport(rest.message as Report);
    }
  }

  #onReport(report: Report): void {
    switch (report.kind) {
      case 'done':
        this.#take(report.id)?.resolve(report.answer);
        break;
      case 'failed':
        this.#take(report.id)?.reject(new DataPlaneError(report.code, report.detail));
        break;
      case 'fdb-grown':
        this.#fdb = report.fdb;
        break;
      case 'log':
        this.#options.log(report.level, report.message, report.fields);
        break;
    }
  }

  #take(id: number): Pending | undefined {
    const pending = this.#pending.get(id);
    this.#pending.delete(id);
    clearTimeout(pending?.timer);
    return pending;
  }

  #onExit(): void {
    const wasUp = this.#up;
    this.#up = false;
    this.#port?.close();
    this.#port = undefined;
    this.#worker = undefined;
    for (const id of [...this.#pending.keys()]) {
      this.#take(id)?.reject(new DataPlaneError('dataplane_down', 'the data plane ended before it answered'));
    }
    if (!this.#stopping && wasUp) this.#replace();
  }

  /** A successor on the same rows. One that died at once is given a pause, so that a lasting fault is no busy loop. */
  #replace(): void {
    this.#restoring = true;
    const livedMs = performance.now() - this.#startedMs;
    setTimeout(() => void this.#restore(), livedMs < RESTART_PAUSE_MS ? RESTART_PAUSE_MS : 0);
  }

  async #restore(): Promise<void> {
    if (this.#stopping) return;
    try {
      await this.#spawn();
    } catch (error) {
      if (!this.#stopping) this.#logFailure('the data plane cannot be restarted: restart vtepd', error);
      return;
    }
    try {
      await this.#tellEverything();
    } catch (error) {
      // A successor that has died is being replaced in its turn; one that does not answer is to be.
      if (!this.#stopping) this.#logFailure('the restarted data plane did not take the configuration', error);
      await this.#worker?.terminate();
      return;
    }
    this.#restoring = false;
    this.#options.log('warn', 'the data plane was restarted; FDB and counters were kept', {});
  }

  async #tellEverything(): Promise<void> {
    for (const record of this.#vnis.values()) {
      await this.#request(vniChange(record));
      await Promise.all(Array.from(record.peers.values(), (peer) => this.#request(peerChange(record, peer))));
    }
    await this.#request({ op: 'fdb.adopt' });
  }

  #logFailure(message: string, error: unknown): void {
    this.#options.log('error', message, { error: (error as Error).message });
  }
}

function beingRestarted(): DataPlaneError {
  return new DataPlaneError('dataplane_down', 'the data plane is being restarted');
}

function vniChange({ state, tapFd, macParts, generation }: VniRecord): Change {
  const { vni, vniIdx, policy, otherIdx } = state;
  return { op: 'vni.add', vniIdx, vni, tapFd, mac: macParts, policy, otherIdx, generation };
}

function peerChange({ state: { vniIdx } }: VniRecord, { state, generation }: PeerRecord): Change {
  const { family, bytes, port, scopeId } = state.address;
  const address = { family, bytes, port, scopeId };
  return { op: 'peer.add', vniIdx, peerIdx: state.peerIdx, address, flood: state.flood, generation };
}
