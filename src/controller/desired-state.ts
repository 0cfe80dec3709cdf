/**
 * Desired state of the data plane: VNIs, peers, outer TAP, flow maps and capture.
 *
 * Keeps VNIs and peers with their rows, and creates the changes that configure workers, for one VNI
 * or for all. Static FDB entries are kept by the workers only.
 *
 * The handle first changes the desired state and then asks the workers. If a worker fails, the
 * handle reverts the change, or keeps it and reconciles the workers later (`Mode`). This module
 * sends nothing.
 */
import { LEARNED_ROWS, MAX_PEERS, MAX_VNIS } from '../abi/limits.js';
import { DataPlaneError, type NewPeer, type PeerState, type VniState } from '../exchange/data-plane.js';
import {
  type CaptureChange,
  type Change,
  type DropsBefore,
  type Held,
  type MacParts,
  type PackedPeers,
  packPeers,
} from '../exchange/protocol.js';
import { RowAllocator } from './rows.js';
import { type PeerRun, VniPeers } from './vni-peers.js';
import type { Ask } from './workers.js';

/** A VNI to add; its row is assigned here. */
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

export interface VniRecord {
  state: VniState;
  tapFds: readonly number[];
  macParts: MacParts;
  readonly generation: number;
  readonly otherGeneration: number;
  readonly peers: VniPeers;
  /** True while the VNI is being removed: it accepts no further changes. */
  leaving: boolean;
  /** Reconciliations in progress (`reconciler.ts`). */
  reconciling: number;
  /** Closes the descriptors that the workers used; called once, when no worker uses them. */
  release: (() => Promise<void>) | undefined;
}

export class DesiredState {
  /** The change that configured the outer TAP last. */
  tunnel: Extract<Change, { op: 'tunnel' }> | undefined;
  /** The change that configured the maps for TCP flows last. */
  flows: Extract<Change, { op: 'flows' }> | undefined;
  /** The change that listed the devices of the overlay last. */
  overlayDevices: Extract<Change, { op: 'overlay.devices' }> | undefined;
  /** True while FDB events have subscribers. */
  fdbEvents = false;
  /** Address families whose local address is missing. */
  held: Held = { ipv4: false, ipv6: false };
  /** Addresses of this host as packed rows. */
  own = new Int32Array(0);
  /** Drops of each worker's sockets before it began to forward; undefined until the start ends. */
  droppedBefore: readonly DropsBefore[] | undefined;
  /** The current capture, with the ring of each worker. */
  capture: { what: Omit<CaptureChange, 'ring'>; rings: readonly SharedArrayBuffer[] } | undefined;
  readonly #vnis = new Map<number, VniRecord>();
  readonly #vniRows = new RowAllocator(MAX_VNIS);
  readonly #peerRows = new RowAllocator(MAX_PEERS - LEARNED_ROWS);
  /** Records whose rows are in use, including removed ones that workers may still use. */
  readonly #holders = new Set<VniRecord>();
  /**
   * Lists of peers, packed in the form that workers receive. A list that several VNIs share is
   * packed only once.
   */
  readonly #packed = new WeakMap<readonly NewPeer[], PackedPeers>();

  get records(): IterableIterator<VniRecord> {
    return this.#vnis.values();
  }

  /** @throws DataPlaneError vni_not_found */
  vni(vni: number): VniRecord {
    const record = this.#vnis.get(vni);
    if (record) return record;
    const reason = this.leftover(vni) ? ': a change of it failed, and it is settling' : '';
    throw new DataPlaneError('vni_not_found', `VNI ${vni} is not configured${reason}`);
  }

  /** Returns a VNI that is configured, or that workers possibly still know. */
  find(vni: number): VniRecord | undefined {
    return this.#vnis.get(vni) ?? this.leftover(vni);
  }

  /** True while this record is the desired state of its VNI. */
  has(record: VniRecord): boolean {
    return this.#vnis.get(record.state.vni) === record;
  }

  /** True while the rows of the record are in use: workers possibly know its VNI. */
  holds(record: VniRecord): boolean {
    return this.#holders.has(record);
  }

  /**
   * VNIs on which the workers possibly disagree: VNIs that were removed, but whose rows are still
   * in use, and VNIs of which a change failed.
   */
  settling(): VniRecord[] {
    return [...this.#holders].filter((record) => record.reconciling > 0 || !this.has(record));
  }

  /** Returns a removed VNI that workers possibly still use. */
  leftover(vni: number): VniRecord | undefined {
    return [...this.#holders].find((record) => record.state.vni === vni && !this.has(record));
  }

  /**
   * @throws DataPlaneError vni_exists when the VNI is configured, or settling after a failed change
   */
  assertFree(vni: number): void {
    if (this.leftover(vni))
      throw new DataPlaneError(
        'vni_exists',
        `VNI ${vni} is settling: a change of it failed, and data-plane threads may still use its TAP; try again when it is no longer listed`,
      );
    const record = this.#vnis.get(vni);
    if (!record) return;
    const settling = record.reconciling > 0 ? ' (it is settling after a change that failed)' : '';
    throw new DataPlaneError('vni_exists', `VNI ${vni} exists already${settling}`);
  }

  /**
   * Adds a VNI with peers.
   *
   * @throws DataPlaneError vni_exists, peer_exists, table_full; then nothing is added
   */
  add(vni: NewVni, peers: readonly NewPeer[]): VniRecord {
    const record = this.#add(vni);
    try {
      this.addPeers(record, peers);
    } catch (error) {
      this.remove(record);
      this.giveRows(record);
      throw error;
    }
    return record;
  }

  #add({ macParts, tapFds, ...state }: NewVni): VniRecord {
    const { vni } = state;
    this.assertFree(vni);
    if (this.#vniRows.free === 0)
      throw new DataPlaneError('table_full', `VNI ${vni}: the limit of ${MAX_VNIS} VNIs is reached`);
    this.#refuseTooMany(1, `VNI ${vni}`);
    const { first: vniIdx, generation } = this.#vniRows.allocate();
    const { first: otherIdx, generation: otherGeneration } = this.#peerRows.allocate();
    const peers = new VniPeers();
    const life = { leaving: false, reconciling: 0, release: undefined };
    const rows = { generation, otherGeneration, peers, ...life };
    const record = { state: { ...state, vniIdx, otherIdx }, tapFds, macParts, ...rows };
    this.#vnis.set(vni, record);
    this.#holders.add(record);
    return record;
  }

  /**
   * Removes a VNI. Its rows stay in use until `giveRows`, because workers can still write counters
   * to these rows.
   */
  remove(record: VniRecord): void {
    if (this.has(record)) this.#vnis.delete(record.state.vni);
  }

  /** Frees the rows of a VNI and its peers. Call when no worker knows the VNI any more. */
  giveRows(record: VniRecord): void {
    if (!this.#holders.delete(record)) return;
    this.#vniRows.give(record.state.vniIdx);
    this.#peerRows.give(record.state.otherIdx);
    for (const { first, count } of record.peers.clear())
      for (let i = 0; i < count; i++) this.#peerRows.give(first + i);
  }

  /**
   * Adds all of the peers, or none if it throws. @returns the added peers, in runs of adjacent rows
   * @throws DataPlaneError peer_exists, table_full
   */
  addPeers(record: VniRecord, peers: readonly NewPeer[]): readonly PeerRun[] {
    this.#refuseTwice(record, peers);
    this.#refuseTooMany(peers.length, `${peers.length} peers of VNI ${record.state.vni}`);
    return record.peers.add(peers, this.#peerRows);
  }

  /** Frees the row of a peer. Call when no worker knows the peer any more. */
  givePeerRow(peerIdx: number): void {
    this.#peerRows.give(peerIdx);
  }

  /**
   * Updates the path MTUs of all peers.
   * @param pathMtu function from the canonical text of an address to its path MTU, bytes; 0:
   * unknown
   * @returns changes for the peers whose path MTU differs
   */
  followPaths(pathMtu: (address: string) => number): Change[] {
    const runs = [...this.#vnis.values()].flatMap(({ peers }) => peers.runs);
    const lists = new Set(runs.map(({ list }) => list));
    const changed = new Set([...lists].filter((list) => this.#repack(list, pathMtu)));
    return runs.flatMap(({ list, from, count, first }): Change[] =>
      changed.has(list) ? [{ op: 'peer.paths', peers: this.#pack(list), from, count, peerIdx: first }] : [],
    );
  }

  /**
   * Configures a worker completely, VNI by VNI, so that no request exceeds the time limit of a
   * change.
   */
  async configureWorker(ask: Ask, index: number): Promise<void> {
    for (const record of this.#vnis.values()) {
      const changes = this.vniChanges(record);
      await Promise.all(changes.map((changeOf) => ask(changeOf(index))));
    }
    if (this.overlayDevices) await ask(this.overlayDevices);
    if (this.tunnel) await ask(this.tunnel);
    if (this.flows) await ask(this.flows);
    if (this.fdbEvents) await ask({ op: 'events', on: true });
    if (this.capture) {
      const { what, rings } = this.capture;
      await ask({ op: 'capture', on: true, ...what, ring: rings[index] });
    }
    await ask({ op: 'underlay.hold', ...this.held });
    await ask({ op: 'underlay.own', rows: this.own });
    await ask({ op: 'fdb.adopt' });
    if (this.droppedBefore) await ask({ op: 'forward', droppedBefore: this.droppedBefore[index] });
  }

  /**
   * Returns the changes that add a VNI with its peers, in their order, each as a function of the
   * index of a worker. The VNI forwards from the last of them on, so that no frame finds it without
   * its peers.
   */
  vniChanges(record: VniRecord): ((index: number) => Change)[] {
    const { state, tapFds, macParts: mac, generation, otherGeneration } = record;
    const { vni, vniIdx, policy, otherIdx } = state;
    const rows = { vniIdx, otherIdx, generation, otherGeneration };
    return [
      () => ({ op: 'vni.add', ...rows, vni, mac, policy }),
      ...record.peers.runs.map((run) => () => this.peerChange(record, run)),
      (index) => ({ op: 'vni.up', vniIdx, tapFd: tapFds[index] }),
    ];
  }

  peerChange({ state: { vniIdx } }: VniRecord, run: PeerRun): Change {
    const { list, from, first, count, generation } = run;
    return { op: 'peer.add', vniIdx, peers: this.#pack(list), from, count, peerIdx: first, generation };
  }

  /** @throws DataPlaneError table_full */
  #refuseTooMany(rows: number, what: string): void {
    const { free } = this.#peerRows;
    if (rows <= free) return;
    throw new DataPlaneError('table_full', `${what}: there is room for ${free} more (VNI, peer) pairs`);
  }

  /** @throws DataPlaneError peer_exists */
  #refuseTwice({ state, peers }: VniRecord, added: readonly NewPeer[]): void {
    // A list that is already packed was checked when another VNI got it: it has no duplicates.
    if (peers.runs.length === 0 && this.#packed.has(added)) return;
    const known = new Set(Array.from(peers, ({ address }: PeerState) => address.text));
    for (const { address } of added) {
      if (known.has(address.text))
        throw new DataPlaneError('peer_exists', `${address.text} is a peer of VNI ${state.vni} already`);
      known.add(address.text);
    }
  }

  /** @returns true when a path MTU changed */
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

  #pack(list: readonly NewPeer[]): PackedPeers {
    const peers = this.#packed.get(list) ?? packPeers(list);
    this.#packed.set(list, peers);
    return peers;
  }
}
