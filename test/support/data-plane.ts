/**
 * A data plane that forwards nothing.
 *
 * It implements the interface that the control API uses, over plain maps and a real counter block.
 * Tests of the API and of vtepctl write into that block what a worker would have counted.
 */
import {
  Counters,
  GLOBAL_ROW,
  P_RX_BYTES,
  P_RX_FRAMES,
  P_TX_BYTES,
  P_TX_FRAMES,
  PEER_ROW,
  V_FDB_DYNAMIC,
  V_FDB_STATIC,
  VNI_ROW,
} from '../../src/exchange/counters.js';
import {
  type DataPlane,
  DataPlaneError,
  type FdbEntry,
  type FdbFilter,
  isPeerOf,
  type NewPeer,
  type PeerState,
  type VniRows,
  type VniSnapshot,
  type VniState,
} from '../../src/exchange/data-plane.js';
import type { MacParts } from '../../src/exchange/protocol.js';
import { formatMac, parseMac } from '../../src/wire/mac.js';

const ROWS = 64;

interface Vni {
  readonly state: VniState;
  readonly peers: Map<string, PeerState>;
  readonly fdb: Map<string, FdbEntry>;
}

export class PlainDataPlane implements DataPlane {
  ready = true;
  readonly counters = new Counters(ROWS, ROWS);
  /** Error that every change rejects with, as when a worker has died. */
  failure: DataPlaneError | undefined;
  /** Number of times that a VNI's counters were copied. */
  snapshots = 0;
  readonly #vnis = new Map<number, Vni>();
  #nextPeer = 0;

  addVni(
    vni: number,
    policy: Partial<VniState['policy']> = {},
    device: { tap?: string; bridge?: string; mac?: string } = {},
  ): VniState {
    const state: VniState = {
      vni,
      vniIdx: this.#vnis.size,
      tap: device.tap ?? `vtep${vni}`,
      bridge: device.bridge ?? '',
      mac: device.mac || '02:00:00:00:00:01',
      policy: {
        learning: true,
        ageingS: 300,
        fdbLimit: 65536,
        flood: true,
        accept: 'peers',
        vlan: 'pass',
        overlayMtu: 1450,
        packetMax: 0,
        ...policy,
      },
      otherIdx: this.#nextPeer++,
    };
    this.#vnis.set(vni, { state, peers: new Map(), fdb: new Map() });
    return state;
  }

  changeVni(vni: number, policy: Partial<VniState['policy']>, bridge: string): void {
    const own = this.#vni(vni);
    const state = { ...own.state, bridge, policy: { ...own.state.policy, ...policy } };
    this.#vnis.set(vni, { ...own, state });
  }

  removeVni(vni: number): void {
    this.#vnis.delete(vni);
  }

  /** Adds an entry as if it had been learned. */
  learn(vni: number, mac: string, peer: string, ageMs = 0): void {
    this.#vni(vni).fdb.set(mac, { mac: parseMac(mac)!, peer, type: 'dynamic', ageMs });
    this.#count(vni);
  }

  vnis(): readonly VniState[] {
    return Array.from(this.#vnis.values(), ({ state }) => state);
  }

  /** VNIs in state `settling`, by VNI; a settling VNI that is not configured is a leftover. */
  readonly unsettled = new Map<number, VniState>();

  settling(): readonly VniState[] {
    return [...this.unsettled.values()];
  }

  peers(vni: number): readonly PeerState[] {
    return [...this.#vni(vni).peers.values()];
  }

  async addPeer(vni: number, peer: NewPeer): Promise<PeerState> {
    if (this.failure) throw this.failure;
    const { peers } = this.#vni(vni);
    const { text } = peer.address;
    if (peers.has(text)) throw new DataPlaneError('peer_exists', `${text} is a peer of VNI ${vni} already`);
    const state = { ...peer, peerIdx: this.#nextPeer++ };
    peers.set(text, state);
    return state;
  }

  async removePeer(vni: number, address: string): Promise<void> {
    if (this.failure) throw this.failure;
    const { peers, fdb } = this.#vni(vni);
    const { peerIdx } = this.#peer(vni, address);
    peers.delete(address);
    this.#fold(peerIdx, this.#vni(vni).state.otherIdx);
    for (const [mac, entry] of fdb) if (entry.peer === address) fdb.delete(mac);
    this.#count(vni);
  }

  async putFdb(vni: number, mac: MacParts, peer: string): Promise<void> {
    if (this.failure) throw this.failure;
    this.#peer(vni, peer);
    this.#vni(vni).fdb.set(formatMac(mac.high, mac.low), { mac, peer, type: 'static', ageMs: 0 });
    this.#count(vni);
  }

  async deleteFdb(vni: number, mac: MacParts): Promise<void> {
    const text = formatMac(mac.high, mac.low);
    if (!this.#vni(vni).fdb.delete(text)) {
      throw new DataPlaneError('fdb_entry_not_found', `VNI ${vni} has no entry for ${text}`);
    }
    this.#count(vni);
  }

  async flushFdb(vni: number, filter: FdbFilter): Promise<number> {
    const { fdb } = this.#vni(vni);
    const matching = this.#matching(vni, filter);
    for (const { mac } of matching) fdb.delete(formatMac(mac.high, mac.low));
    this.#count(vni);
    return matching.length;
  }

  async listFdb(vni: number, filter: FdbFilter, limit: number, cursor: number) {
    const all = this.#matching(vni, filter);
    const end = cursor + limit;
    return { items: all.slice(cursor, end), nextCursor: end < all.length ? end : -1 };
  }

  snapshot(vni: number): VniSnapshot {
    this.snapshots++;
    const { state, peers } = this.#vni(vni);
    const row = (base: number, length: number) => this.counters.cells.slice(base, base + length);
    return {
      vni: row(this.counters.vniBase(state.vniIdx), VNI_ROW),
      peers: [
        ...Array.from(peers.values(), (peer) => ({
          peer,
          row: row(this.counters.peerBase(peer.peerIdx), PEER_ROW),
        })),
        { peer: undefined, row: row(this.counters.peerBase(state.otherIdx), PEER_ROW) },
      ],
    };
  }

  rows(vni: number): VniRows {
    const { vni: own, peers } = this.snapshot(vni);
    const list = peers.flatMap(({ peer }) => (peer === undefined ? [] : [peer]));
    const cells = peers.flatMap(({ row }) => [...row]);
    return {
      vni: own,
      peers: Float64Array.from(cells.slice(0, -PEER_ROW)),
      spans: [{ list, from: 0, count: list.length }],
      others: Float64Array.from(cells.slice(-PEER_ROW)),
    };
  }

  totals(vni: number): { vni: Float64Array; peers: number } {
    const leftover = this.#vnis.has(vni) ? undefined : this.unsettled.get(vni);
    if (leftover) return { vni: new Float64Array(VNI_ROW), peers: 0 };
    const base = this.counters.vniBase(this.#vni(vni).state.vniIdx);
    return { vni: this.counters.cells.slice(base, base + VNI_ROW), peers: this.#vni(vni).peers.size };
  }

  globals(): Float64Array {
    return this.counters.cells.slice(0, GLOBAL_ROW);
  }

  /** Adds the counters of a removed peer to the row `otherIdx` of its VNI, as the worker does. */
  #fold(peerIdx: number, otherIdx: number): void {
    const { counters } = this;
    for (const cell of [P_TX_FRAMES, P_TX_BYTES, P_RX_FRAMES, P_RX_BYTES]) {
      counters.cells[counters.peerBase(otherIdx) + cell] += counters.cells[counters.peerBase(peerIdx) + cell];
    }
  }

  #matching(vni: number, { type, peer }: FdbFilter): FdbEntry[] {
    const peers = this.peers(vni).filter((candidate) => isPeerOf(candidate, peer));
    if (peer !== '' && peers.length === 0) this.#peer(vni, peer);
    const addresses = new Set(peers.map(({ address }) => address.text));
    return [...this.#vni(vni).fdb.values()].filter(
      (entry) => (type === 'all' || entry.type === type) && (peer === '' || addresses.has(entry.peer)),
    );
  }

  #count(vni: number): void {
    const { state, fdb } = this.#vni(vni);
    const base = this.counters.vniBase(state.vniIdx);
    const statics = [...fdb.values()].filter(({ type }) => type === 'static').length;
    this.counters.cells[base + V_FDB_STATIC] = statics;
    this.counters.cells[base + V_FDB_DYNAMIC] = fdb.size - statics;
  }

  #vni(vni: number): Vni {
    const found = this.#vnis.get(vni);
    if (found) return found;
    throw new DataPlaneError('vni_not_found', `VNI ${vni} is not configured`);
  }

  #peer(vni: number, address: string): PeerState {
    const found = this.#vni(vni).peers.get(address);
    if (found) return found;
    throw new DataPlaneError('peer_not_found', `${address} is not a peer of VNI ${vni}`);
  }
}
