/**
 * The main thread's side of the data plane. It keeps the desired state (VNIs, peers; static entries are the
 * workers'), assigns every row, sends each change to all workers and answers its caller after all have applied it. It
 * reads the counter blocks and nothing else of the workers'.
 *
 * While one of them is being replaced, changes are refused. A change under way when one dies fails with
 * `dataplane_down`, though others may have made it: peers are then set right by the desired state, and a change of the
 * FDB is to be repeated.
 */
import { LEARNED_ROWS, MAX_PEERS, MAX_VNIS, NOTE_RING_LEN } from '../frame/limits.js';
import { CounterBlocks } from '../stats/counter-blocks.js';
import type { Counters } from '../stats/counters.js';
import {
  type DataPlane,
  DataPlaneError,
  type FdbEntry,
  type FdbFilter,
  type NewPeer,
  type PeerState,
  type VniSnapshot,
  type VniState,
} from './data-plane.js';
import { beingRestarted, type Log, WorkerLink } from './link.js';
import {
  type Answer,
  type Change,
  type Engine,
  type FdbItem,
  isRemoval,
  type MacParts,
  type ProbeNonce,
  type UnderlayInit,
  type WorkerInit,
} from './protocol.js';
import { RowAllocator } from './rows.js';

export interface HandleOptions {
  engine: Engine;
  underlay: Omit<UnderlayInit, 'receiveFds'>;
  merge: WorkerInit['merge'];
  strictHeader: boolean;
  port: number;
  /** One a worker; the first one answers for all where all know the same. */
  workers: readonly WorkerDescriptors[];
  /** Random 32-bit integer: seed of the FDB's hash. */
  seed: number;
  log: Log;
  /** Takes answers to path probes, from whichever worker heard them: at most some a second and peer. */
  probeReplied: (peerIdx: number, nonce: ProbeNonce, len: number) => void;
  /** Packed address → canonical text. */
  addressText: (address: { family: 4 | 6; bytes: Uint8Array; scopeId: number }) => string;
}

/** What a worker has for itself, open for the life of the process. */
export interface WorkerDescriptors {
  /** epoll and wake-up eventfd. */
  waitFd: number;
  wakeFd: number;
  /** Makes the worker's wait return. */
  wake: () => void;
  receiveFds: UnderlayInit['receiveFds'];
}

/** A VNI as it is set up: what the worker is told, beside the row that is assigned here. */
export interface NewVni {
  vni: number;
  tap: string;
  bridge: string;
  mac: string;
  macParts: MacParts;
  /** One queue of the TAP for each worker. */
  tapFds: readonly number[];
  policy: VniState['policy'];
}

interface VniRecord {
  state: VniState;
  tapFds: readonly number[];
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

export class Handle implements DataPlane {
  readonly #options: HandleOptions;
  readonly #links: readonly WorkerLink[];
  readonly #blocks: CounterBlocks;
  readonly #noteRings: SharedArrayBuffer;
  readonly #vnis = new Map<number, VniRecord>();
  readonly #freeVnis = new RowAllocator(MAX_VNIS);
  readonly #freePeers = new RowAllocator(MAX_PEERS - LEARNED_ROWS);
  /** Peers whose change failed because a worker died: others may have made it. */
  #unsettled: { record: VniRecord; peer: PeerRecord }[] = [];
  #nextGeneration = 1;
  /** Changes so far that removed FDB entries. */
  #removals = 0;
  #configured = false;

  constructor(options: HandleOptions) {
    const { workers } = options;
    this.#options = options;
    this.#noteRings = new SharedArrayBuffer(workers.length > 1 ? NOTE_RING_LEN * workers.length ** 2 : 0);
    this.#links = workers.map((own, index) => this.#link(own, index));
    this.#blocks = new CounterBlocks(this.counters);
  }

  get ready(): boolean {
    return this.#configured && this.#areReady();
  }

  /** Counter blocks, one a worker. */
  get counters(): readonly Counters[] {
    return this.#links.map((link) => link.counters);
  }

  /** Starts the workers. @returns when all have their ports open */
  async start(): Promise<void> {
    await Promise.all(this.#links.map((link) => link.start()));
  }

  /** The configuration given so far is complete and acknowledged: `ready` may become true. */
  configured(): void {
    this.#configured = true;
  }

  /** Lets the workers finish their round and end. */
  async stop(): Promise<void> {
    await Promise.all(this.#links.map((link) => link.stop()));
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
    const { macParts, tapFds, ...state } = vni;
    const record: VniRecord = {
      state: { ...state, vniIdx: this.#freeVnis.take(), otherIdx: this.#freePeers.take() },
      tapFds,
      macParts,
      generation: this.#nextGeneration++,
      peers: new Map(),
    };
    this.#vnis.set(vni.vni, record);
    await this.#changeEach((index) => vniChange(record, index));
    return record.state;
  }

  /** From the next frame on, frames of this VNI are judged by this overlay MTU. @throws DataPlaneError vni_not_found */
  async setOverlayMtu(vni: number, overlayMtu: number): Promise<void> {
    const record = this.#vni(vni);
    record.state = { ...record.state, policy: { ...record.state.policy, overlayMtu } };
    await this.#change({ op: 'vni.mtu', vniIdx: record.state.vniIdx, overlayMtu });
  }

  async addPeer(vni: number, peer: NewPeer): Promise<PeerState> {
    const record = this.#vni(vni);
    if (record.peers.has(peer.address.text)) {
      throw new DataPlaneError('peer_exists', `${peer.address.text} is a peer of VNI ${vni} already`);
    }
    if (!this.#areReady()) throw beingRestarted();
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
      this.#settle(record, added);
      throw error;
    }
    return added.state;
  }

  /** Until every worker has folded its counters into the sums, the peer is still listed. */
  async removePeer(vni: number, address: string): Promise<void> {
    const record = this.#vni(vni);
    const peer = this.#peer(record, address);
    peer.leaving = true;
    try {
      await this.#change({ op: 'peer.del', peerIdx: peer.state.peerIdx });
    } catch (error) {
      peer.leaving = false;
      this.#settle(record, peer);
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
    if (!this.#areReady()) throw beingRestarted();
    const list: Change = { op: 'fdb.list', vniIdx, type: filter.type, peerIdx, limit, cursor };
    const answer = await this.#links[0].ask(list);
    const items = (answer.items ?? []).map((item) => this.#entry(item));
    return { items, nextCursor: answer.nextCursor ?? -1 };
  }

  snapshot(vni: number): VniSnapshot {
    const { state, peers } = this.#vni(vni);
    const own = this.#blocks.vniRow(state.vniIdx);
    const rows = Array.from(peers.values(), ({ state: peer }) => ({
      peer: peer as PeerState | undefined,
      ...this.#blocks.peerRow(peer.peerIdx),
    }));
    rows.push({ peer: undefined, ...this.#blocks.peerRow(state.otherIdx) });
    this.#blocks.read([own, ...rows]);
    return { vni: own.row, peers: rows };
  }

  globals(): Float64Array {
    return this.#blocks.globals();
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
    return this.#changeEach(() => change);
  }

  /** Asks all workers. @param changeOf the change as it is for one of them @returns when all have answered */
  async #changeEach(changeOf: (index: number) => Change): Promise<Answer> {
    if (!this.#areReady()) throw beingRestarted();
    if (isRemoval(changeOf(0))) this.#removals++;
    return answerOfAll(await Promise.allSettled(this.#links.map((link, index) => link.ask(changeOf(index)))));
  }

  #areReady(): boolean {
    return this.#links.every((link) => link.ready);
  }

  #link({ waitFd, wakeFd, wake, receiveFds }: WorkerDescriptors, index: number): WorkerLink {
    const { engine, underlay, merge, strictHeader, port, workers, seed, log, probeReplied } = this.#options;
    const notes = () =>
      workers.length > 1
        ? { rings: this.#noteRings, workers: workers.length, epoch: this.#removals }
        : undefined;
    return new WorkerLink({
      init: () => ({
        engine,
        index,
        underlay: { ...underlay, receiveFds },
        merge,
        strictHeader,
        port,
        waitFd,
        wakeFd,
        seed,
        notes: notes(),
      }),
      wake,
      configure: (link) => this.#tellEverything(link, index),
      restored: () => this.#settleAll(),
      probeReplied,
      log: (level, message, fields) => log(level, message, { worker: index, ...fields }),
    });
  }

  async #tellEverything(link: WorkerLink, index: number): Promise<void> {
    for (const record of this.#vnis.values()) {
      await link.ask(vniChange(record, index));
      await Promise.all(Array.from(record.peers.values(), (peer) => link.ask(peerChange(record, peer))));
    }
  }

  /**
   * After a change of a peer that some workers may have made and others not: all have it as the desired state says.
   * Both requests are on their way before anything else can be asked for.
   */
  #settle(record: VniRecord, peer: PeerRecord): void {
    const { peerIdx, address } = peer.state;
    const isWanted = record.peers.get(address.text) === peer;
    const changes = [this.#change({ op: 'peer.del', peerIdx })];
    if (isWanted) changes.push(this.#change(peerChange(record, peer)));
    Promise.all(changes).then(
      () => isWanted || this.#freePeers.give(peerIdx),
      (error: DataPlaneError) => {
        if (error.code === 'dataplane_down') this.#unsettled.push({ record, peer });
      },
    );
  }

  #settleAll(): void {
    for (const { record, peer } of this.#unsettled.splice(0)) this.#settle(record, peer);
  }
}

/**
 * What all workers answered comes to one answer, the first one's where they differ. An entry that only some replicas
 * knew is removed all the same; any other failure is the whole change's.
 */
function answerOfAll(answers: readonly PromiseSettledResult<Answer>[]): Answer {
  const failures = answers.filter((answer) => answer.status === 'rejected').map((answer) => answer.reason);
  const unknown = failures.filter((error) => error.code === 'fdb_entry_not_found');
  const done = answers.find((answer) => answer.status === 'fulfilled');
  if (done && unknown.length === failures.length) return done.value;
  throw failures.find((error) => !unknown.includes(error)) ?? failures[0];
}

function vniChange({ state, tapFds, macParts, generation }: VniRecord, index: number): Change {
  const { vni, vniIdx, policy, otherIdx } = state;
  return { op: 'vni.add', vniIdx, vni, tapFd: tapFds[index], mac: macParts, policy, otherIdx, generation };
}

function peerChange({ state: { vniIdx } }: VniRecord, { state, generation }: PeerRecord): Change {
  const { family, bytes, port, scopeId } = state.address;
  const address = { family, bytes, port, scopeId };
  return { op: 'peer.add', vniIdx, peerIdx: state.peerIdx, address, flood: state.flood, generation };
}
