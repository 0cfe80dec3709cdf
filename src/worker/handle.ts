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
import { type Counters, PEER_ROW } from '../stats/counters.js';
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
} from './data-plane.js';
import { type FdbItem, itemsOf } from './fdb-page.js';
import { beingRestarted, type Log, WorkerLink } from './link.js';
import {
  type Answer,
  type Change,
  type Engine,
  isRemoval,
  type MacParts,
  type PackedPeers,
  type ProbeNonce,
  packPeers,
  type TunnelInit,
  type UnderlayInit,
  type WorkerInit,
} from './protocol.js';
import { RowAllocator } from './rows.js';
import { type PeerRun, peerOf, VniPeers } from './vni-peers.js';

export interface HandleOptions {
  engine: Engine;
  underlay: Omit<UnderlayInit, 'receiveFds'>;
  /** Cells of `Offloads`: what the kernel has granted. Workers take back what it refuses later. */
  offloads: WorkerInit['offloads'];
  strictHeader: boolean;
  outer: WorkerInit['outer'];
  port: number;
  /** One a worker; the first one answers for all where all know the same. */
  workers: readonly WorkerDescriptors[];
  /** Random 32-bit integer: seed of the FDB's hash. */
  seed: number;
  log: Log;
  /** A peer was added or removed, and all workers know; or one of them was replaced. */
  peersChanged: () => void;
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
  otherGeneration: number;
  peers: VniPeers;
}

export class Handle implements DataPlane {
  readonly #options: HandleOptions;
  readonly #links: readonly WorkerLink[];
  readonly #blocks: CounterBlocks;
  readonly #noteRings: SharedArrayBuffer;
  readonly #vnis = new Map<number, VniRecord>();
  readonly #vniRows = new RowAllocator(MAX_VNIS);
  readonly #peerRows = new RowAllocator(MAX_PEERS - LEARNED_ROWS);
  /** Rows of peers that are being removed: nothing may be asked of them any more. */
  readonly #leaving = new Set<number>();
  /** Lists of peers as the workers are told of them, packed once however many VNIs they serve. */
  readonly #packed = new WeakMap<readonly NewPeer[], PackedPeers>();
  /** What the workers were told last of superframes that leave whole. */
  #tunnel: Extract<Change, { op: 'tunnel' }> | undefined;
  /** Peers whose change failed because a worker died: others may have made it. */
  #unsettled: { record: VniRecord; peerIdx: number }[] = [];
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
    return [...this.#vni(vni).peers];
  }

  /** @throws DataPlaneError vni_exists, dataplane_timeout */
  async addVni(vni: NewVni): Promise<VniState> {
    if (this.#vnis.has(vni.vni)) throw new DataPlaneError('vni_exists', `VNI ${vni.vni} exists already`);
    const { macParts, tapFds, ...state } = vni;
    const { first: vniIdx, generation } = this.#vniRows.take();
    const { first: otherIdx, generation: otherGeneration } = this.#peerRows.take();
    const record: VniRecord = {
      state: { ...state, vniIdx, otherIdx },
      tapFds,
      macParts,
      generation,
      otherGeneration,
      peers: new VniPeers(),
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
    const [run] = await this.#addPeers(vni, [peer]);
    return peerOf(run, 0);
  }

  /**
   * Adds peers, all or none.
   * @param peers kept as it is: VNIs that are given one and the same list share its memory
   * @throws DataPlaneError vni_not_found, peer_exists, dataplane_timeout
   */
  async addPeers(vni: number, peers: readonly NewPeer[]): Promise<void> {
    await this.#addPeers(vni, peers);
  }

  async #addPeers(vni: number, peers: readonly NewPeer[]): Promise<readonly PeerRun[]> {
    const record = this.#vni(vni);
    this.#refuseTwice(record, peers);
    if (!this.#areReady()) throw beingRestarted();
    const added = record.peers.add(peers, this.#peerRows);
    const answers = await Promise.allSettled(added.map((run) => this.#change(this.#peerChange(record, run))));
    const failure = answers.find((answer) => answer.status === 'rejected');
    if (failure === undefined) {
      this.#options.peersChanged();
      return added;
    }
    for (const peerIdx of added.flatMap(rowsOf))
      if (record.peers.remove(peerIdx)) this.#settle(record, peerIdx);
    throw failure.reason;
  }

  /** Until every worker has folded its counters into the sums, the peer is still listed. */
  async removePeer(vni: number, address: string): Promise<void> {
    const record = this.#vni(vni);
    const { peerIdx } = this.#peer(record, address);
    this.#leaving.add(peerIdx);
    try {
      await this.#change({ op: 'peer.del', peerIdx });
    } catch (error) {
      if (record.peers.at(peerIdx)) this.#settle(record, peerIdx);
      throw error;
    } finally {
      this.#leaving.delete(peerIdx);
    }
    // Whoever takes it from the record gives the row back: its addition may have failed meanwhile.
    if (record.peers.remove(peerIdx)) this.#peerRows.give(peerIdx);
    this.#options.peersChanged();
  }

  /**
   * Superframes for these peers' rows leave by this way, while the offload is granted.
   * @throws DataPlaneError dataplane_down, after which some have it and some the one before; `peersChanged` follows
   */
  async setTunnel(way: TunnelInit, peers: Int32Array): Promise<void> {
    this.#tunnel = { op: 'tunnel', way, peers };
    await this.#change(this.#tunnel);
  }

  async putFdb(vni: number, mac: MacParts, peer: string): Promise<void> {
    const record = this.#vni(vni);
    const { peerIdx } = this.#peer(record, peer);
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
    const items = answer.page ? Array.from(itemsOf(answer.page), (item) => this.#entry(item)) : [];
    return { items, nextCursor: answer.nextCursor ?? -1 };
  }

  snapshot(vni: number): VniSnapshot {
    const { vni: own, peers: cells, others } = this.rows(vni);
    const rows = Array.from(this.#vni(vni).peers, (peer, i) => ({
      peer: peer as PeerState | undefined,
      row: cells.subarray(i * PEER_ROW, (i + 1) * PEER_ROW),
    }));
    rows.push({ peer: undefined, row: others });
    return { vni: own, peers: rows };
  }

  rows(vni: number): VniRows {
    const { state, peers } = this.#vni(vni);
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
    const { state, peers } = this.#vni(vni);
    const own = this.#blocks.vniRow(state.vniIdx);
    this.#blocks.read([own]);
    return { vni: own.row, peers: peers.count };
  }

  globals(): Float64Array {
    return this.#blocks.globals();
  }

  #vni(vni: number): VniRecord {
    const record = this.#vnis.get(vni);
    if (!record) throw new DataPlaneError('vni_not_found', `VNI ${vni} is not configured`);
    return record;
  }

  #peer(record: VniRecord, address: string): PeerState {
    const peer = record.peers.find(address);
    if (!peer || this.#leaving.has(peer.peerIdx)) {
      throw new DataPlaneError('peer_not_found', `${address} is not a peer of VNI ${record.state.vni}`);
    }
    return peer;
  }

  #filterPeer(record: VniRecord, filter: FdbFilter): number {
    return filter.peer === '' ? -1 : this.#peer(record, filter.peer).peerIdx;
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
    const { engine, underlay, offloads, strictHeader, outer, port, workers, seed, log, probeReplied } =
      this.#options;
    const notes = () =>
      workers.length > 1
        ? { rings: this.#noteRings, workers: workers.length, epoch: this.#removals }
        : undefined;
    return new WorkerLink({
      init: () => ({
        engine,
        index,
        underlay: { ...underlay, receiveFds },
        offloads,
        strictHeader,
        outer,
        port,
        waitFd,
        wakeFd,
        seed,
        notes: notes(),
      }),
      wake,
      configure: (link) => this.#tellEverything(link, index),
      restored: () => {
        this.#settleAll();
        this.#options.peersChanged();
      },
      pathReported: (change) => this.#tellOthers(index, change),
      probeReplied,
      log: (level, message, fields) => log(level, message, { worker: index, ...fields }),
    });
  }

  /**
   * What is known of paths may have changed: from now on frames are judged by it. A worker that is just being replaced is
   * told all the same, or reads it with the configuration.
   * @param pathMtu by canonical text of an address, bytes; 0: not known
   */
  async followPaths(pathMtu: (address: string) => number): Promise<void> {
    const runs = [...this.#vnis.values()].flatMap(({ peers }) => peers.runs);
    const lists = new Set(runs.map(({ list }) => list));
    const changed = new Set([...lists].filter((list) => this.#repack(list, pathMtu)));
    const changes = runs.flatMap(({ list, from, count, first }): Change[] =>
      changed.has(list) ? [{ op: 'peer.paths', peers: this.#pack(list), from, count, peerIdx: first }] : [],
    );
    await Promise.allSettled(this.#links.flatMap((link) => changes.map((change) => link.ask(change))));
  }

  /** The network says that a path carries less. @param row packed address and port of a peer @param mtu bytes; 0: not said */
  reportPath(row: Uint8Array, mtu: number): void {
    this.#tellOthers(-1, { op: 'path.report', row: new Int32Array(row.buffer), mtu });
  }

  /** @returns true when it had to be changed */
  #repack(list: readonly NewPeer[], pathMtu: (address: string) => number): boolean {
    const packed = this.#pack(list).pathMtu;
    let changed = false;
    for (const [i, { address }] of list.entries()) {
      const mtu = pathMtu(address.text);
      changed ||= packed[i] !== mtu;
      packed[i] = mtu;
    }
    return changed;
  }

  /** What one worker has heard, or −1 somebody else. Who cannot be told now will hear it himself. */
  #tellOthers(index: number, change: Change): void {
    for (const [other, link] of this.#links.entries())
      if (other !== index && link.ready) link.ask(change).catch(() => {});
  }

  async #tellEverything(link: WorkerLink, index: number): Promise<void> {
    for (const record of this.#vnis.values()) {
      await link.ask(vniChange(record, index));
      await Promise.all(record.peers.runs.map((run) => link.ask(this.#peerChange(record, run))));
    }
    if (this.#tunnel) await link.ask(this.#tunnel);
  }

  /**
   * After a change of a peer that some workers may have made and others not: all have it as the desired state says.
   * Both requests are on their way before anything else can be asked for.
   */
  #settle(record: VniRecord, peerIdx: number): void {
    const wanted = record.peers.at(peerIdx);
    const changes = [this.#change({ op: 'peer.del', peerIdx })];
    if (wanted) changes.push(this.#change(this.#peerChange(record, wanted)));
    Promise.all(changes).then(
      () => wanted || this.#peerRows.give(peerIdx),
      (error: DataPlaneError) => {
        if (error.code === 'dataplane_down') this.#unsettled.push({ record, peerIdx });
      },
    );
  }

  /** @throws DataPlaneError peer_exists */
  #refuseTwice({ state, peers }: VniRecord, added: readonly NewPeer[]): void {
    // A list that another VNI has names nobody twice.
    if (peers.runs.length === 0 && this.#packed.has(added)) return;
    const known = new Set(Array.from(peers, ({ address }) => address.text));
    for (const { address } of added) {
      if (known.has(address.text))
        throw new DataPlaneError('peer_exists', `${address.text} is a peer of VNI ${state.vni} already`);
      known.add(address.text);
    }
  }

  #peerChange({ state: { vniIdx } }: VniRecord, run: PeerRun): Change {
    const { list, from, first, count, generation } = run;
    return { op: 'peer.add', vniIdx, peers: this.#pack(list), from, count, peerIdx: first, generation };
  }

  #pack(list: readonly NewPeer[]): PackedPeers {
    const peers = this.#packed.get(list) ?? packPeers(list);
    this.#packed.set(list, peers);
    return peers;
  }

  #settleAll(): void {
    for (const { record, peerIdx } of this.#unsettled.splice(0)) this.#settle(record, peerIdx);
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

function vniChange(record: VniRecord, index: number): Change {
  const { state, tapFds, macParts: mac, generation, otherGeneration } = record;
  const { vni, vniIdx, policy, otherIdx } = state;
  const rows = { vniIdx, otherIdx, generation, otherGeneration };
  return { op: 'vni.add', ...rows, vni, tapFd: tapFds[index], mac, policy };
}

function rowsOf({ first, count }: PeerRun): number[] {
  return Array.from({ length: count }, (_, i) => first + i);
}
