/**
 * From a request to the tables: what each change of the protocol means. Runs on the data-plane thread between two
 * rounds. Most changes are done at once; those that walk the FDB are jobs that take a bounded piece a round, and the
 * next request waits until the job is done, so that changes happen in the order they were asked for.
 */
import type { MacTable } from '../fdb/mac-table.js';
import type { Tables } from '../fdb/tables.js';
import {
  ACCEPT_ANY,
  ACCEPT_PEERS,
  TICKS_PER_SECOND,
  VLAN_DROP,
  VLAN_PASS,
  VLAN_STRIP,
} from '../fdb/vni-table.js';
import {
  P_GENERATION,
  P_RX_BYTES,
  P_RX_FRAMES,
  P_TX_BYTES,
  P_TX_FRAMES,
  PEER_ROW,
  V_GENERATION,
  VNI_ROW,
} from '../stats/counters.js';
import { type Answer, type Change, type FdbItem, isRemoval } from './protocol.js';

const AF_INET = 2;
const AF_INET6 = 10;

/** Slots of the FDB that one piece of a job looks at. */
const PIECE_SLOTS = 16_384;
const HASH_END = 2 ** 32;

const VLAN_POLICY = { pass: VLAN_PASS, strip: VLAN_STRIP, drop: VLAN_DROP };

/** A piece of work that takes several rounds. @returns the answer once it is done */
type Job = (tick: number) => Answer | undefined;

/** A change that the data plane refuses, with its stable code. */
export class Refusal extends Error {
  readonly code: 'fdb_entry_not_found';
  constructor(code: 'fdb_entry_not_found', message: string) {
    super(message);
    this.code = code;
  }
}

export class Applier {
  readonly #tables: Tables;
  readonly #attachTap: (vniIdx: number, tapFd: number) => void;
  #job: Job | undefined;

  /** @param attachTap begins to read a VNI's TAP */
  constructor(tables: Tables, attachTap: (vniIdx: number, tapFd: number) => void) {
    this.#tables = tables;
    this.#attachTap = attachTap;
  }

  /** True while a job is under way: take no further request. */
  get busy(): boolean {
    return this.#job !== undefined;
  }

  /** @returns the answer, or undefined when a job has begun @throws Refusal */
  apply(change: Change, tick: number): Answer | undefined {
    if (isRemoval(change)) this.#tables.fdb.beginRemoval();
    switch (change.op) {
      case 'vni.add':
        return this.#addVni(change);
      case 'vni.mtu':
        this.#tables.vnis.overlayMtu[change.vniIdx] = change.overlayMtu;
        return {};
      case 'peer.add':
        return this.#addPeer(change);
      case 'peer.del':
        return this.#begin(this.#removePeer(change.peerIdx), tick);
      case 'fdb.put':
        this.#tables.fdb.putStatic(change.vniIdx, change.mac.high, change.mac.low, change.peerIdx);
        return {};
      case 'fdb.del':
        if (!this.#tables.fdb.delete(change.vniIdx, change.mac.high, change.mac.low)) {
          throw new Refusal('fdb_entry_not_found', 'no such FDB entry');
        }
        return { removed: 1 };
      case 'fdb.flush':
        return this.#begin(this.#flush(change), tick);
      case 'fdb.list':
        return this.#begin(this.#list(change), tick);
      case 'fdb.adopt':
        this.#tables.fdb.adopt();
        return {};
      case 'stop':
        return {};
    }
  }

  /** The next piece of the job under way. @returns its answer once it is done */
  step(tick: number): Answer | undefined {
    const answer = this.#job?.(tick);
    if (answer) this.#job = undefined;
    return answer;
  }

  #begin(job: Job, tick: number): Answer | undefined {
    this.#job = job;
    return this.step(tick);
  }

  #addVni(change: Extract<Change, { op: 'vni.add' }>): Answer {
    const { vnis, counters, members } = this.#tables;
    const { vniIdx, policy } = change;
    this.#startRow(counters.vniBase(vniIdx), VNI_ROW, V_GENERATION, change.generation);
    this.#startRow(counters.peerBase(change.otherIdx), PEER_ROW, P_GENERATION, change.generation);
    vnis.learning[vniIdx] = policy.learning ? 1 : 0;
    vnis.ageingTicks[vniIdx] = policy.ageingS * TICKS_PER_SECOND;
    vnis.fdbLimit[vniIdx] = policy.fdbLimit;
    vnis.flood[vniIdx] = policy.flood ? 1 : 0;
    vnis.accept[vniIdx] = policy.accept === 'any' ? ACCEPT_ANY : ACCEPT_PEERS;
    vnis.vlan[vniIdx] = VLAN_POLICY[policy.vlan];
    vnis.overlayMtu[vniIdx] = policy.overlayMtu;
    vnis.macHigh[vniIdx] = change.mac.high;
    vnis.macLow[vniIdx] = change.mac.low;
    vnis.otherIdx[vniIdx] = change.otherIdx;
    vnis.add(vniIdx, change.vni);
    members.add(vniIdx, change.otherIdx, false);
    this.#attachTap(vniIdx, change.tapFd);
    return {};
  }

  #addPeer(change: Extract<Change, { op: 'peer.add' }>): Answer {
    const { peers, flood, members, counters } = this.#tables;
    const { peerIdx, vniIdx, address } = change;
    const isIpv4 = address.family === 4;
    this.#startRow(counters.peerBase(peerIdx), PEER_ROW, P_GENERATION, change.generation);
    peers.add(peerIdx, vniIdx, isIpv4 ? AF_INET : AF_INET6, address.bytes, address.port, address.scopeId);
    members.add(vniIdx, peerIdx, false);
    if (change.flood) flood.add(vniIdx, peerIdx, isIpv4);
    return {};
  }

  /** A row begins at zero, unless it is the same one that a predecessor of this worker counted in. */
  #startRow(base: number, length: number, generationCell: number, generation: number): void {
    const { counters } = this.#tables;
    if (counters.cells[base + generationCell] !== generation) counters.resetRow(base, length, generation);
  }

  /**
   * First nothing finds the peer any more, then its entries go, piece by piece, until a pass finds none. A row
   * that holds no peer is one that was removed before, by a request whose caller did not wait for the answer.
   */
  #removePeer(peerIdx: number): Job {
    const { peers, flood, members, fdb } = this.#tables;
    if (!peers.isUsed(peerIdx)) return () => ({});
    const vniIdx = peers.vniIdx(peerIdx);
    this.#foldRow(peerIdx, this.#tables.vnis.otherIdx[vniIdx]);
    flood.remove(vniIdx, peerIdx);
    peers.remove(peerIdx);
    const pass = () => this.#purge((position) => fdb.peerAt(position) === peerIdx);
    let job = pass();
    return (tick) => {
      const answer = job(tick);
      if (!answer) return undefined;
      if (answer.removed === 0) {
        members.remove(vniIdx, peerIdx);
        return {};
      }
      job = pass();
      return undefined;
    };
  }

  /** What a removed peer counted stays in the VNI's sums: its `other` row goes on with it. */
  #foldRow(peerIdx: number, otherIdx: number): void {
    const { counters } = this.#tables;
    const from = counters.peerBase(peerIdx);
    const to = counters.peerBase(otherIdx);
    counters.begin();
    for (const cell of [P_TX_FRAMES, P_TX_BYTES, P_RX_FRAMES, P_RX_BYTES]) {
      counters.cells[to + cell] += counters.cells[from + cell];
      counters.cells[from + cell] = 0;
    }
    counters.end();
  }

  #flush(change: Extract<Change, { op: 'fdb.flush' }>): Job {
    return this.#purge((position) => this.#matches(position, change));
  }

  #matches(
    position: number,
    filter: { vniIdx: number; type: 'static' | 'dynamic' | 'all'; peerIdx: number },
  ): boolean {
    const { fdb } = this.#tables;
    if (fdb.table.tag(position) !== filter.vniIdx) return false;
    if (filter.type !== 'all' && fdb.isStatic(position) !== (filter.type === 'static')) return false;
    return filter.peerIdx < 0 || fdb.peerAt(position) === filter.peerIdx;
  }

  /** Removes what matches, in one pass over the table. A table that grows meanwhile is walked anew. */
  #purge(matches: (position: number) => boolean): Job {
    const { fdb } = this.#tables;
    const { table } = fdb;
    let position = 0;
    let capacity = 0;
    let removed = 0;
    return () => {
      if (drainOldTable(table)) return undefined;
      if (capacity !== table.capacity) {
        capacity = table.capacity;
        position = 0;
      }
      const end = Math.min(capacity, position + PIECE_SLOTS);
      while (position < end) {
        if (table.value(position) === 0 || !matches(position)) position++;
        else {
          fdb.remove(position);
          removed++;
        }
      }
      return position === capacity ? { removed } : undefined;
    };
  }

  /** One page in hash order: the cursor is a hash, so it stays right while entries come, go and move. */
  #list(change: Extract<Change, { op: 'fdb.list' }>): Job {
    const { table } = this.#tables.fdb;
    const items: FdbItem[] = [];
    // Whatever is no place in the order of hashes begins at the front: a list always ends.
    let from = change.cursor > 0 ? Math.floor(change.cursor) : 0;
    return (tick) => {
      if (from >= HASH_END) return { items, nextCursor: -1 };
      const to = Math.min(
        HASH_END,
        from + Math.max(1, Math.floor(HASH_END / table.capacity)) * (PIECE_SLOTS / 4),
      );
      let last = -1;
      for (const position of table.collect(from, to)) {
        if (!this.#matches(position, change)) continue;
        const hash = table.hashAt(position);
        // Entries with one and the same hash share a page: the cursor cannot tell them apart.
        if (items.length >= change.limit && hash !== last) return { items, nextCursor: hash };
        items.push(this.#item(position, tick));
        last = hash;
      }
      from = to;
      return from >= HASH_END ? { items, nextCursor: -1 } : undefined;
    };
  }

  #item(position: number, tick: number): FdbItem {
    const { fdb, peers } = this.#tables;
    const peerIdx = fdb.peerAt(position);
    const isStatic = fdb.isStatic(position);
    return {
      mac: { high: fdb.table.macHigh(position), low: fdb.table.macLow(position) },
      address: {
        family: peers.family(peerIdx) === AF_INET ? 4 : 6,
        bytes: peers.address(peerIdx),
        port: peers.port(peerIdx),
        scopeId: peers.scopeId(peerIdx),
      },
      type: isStatic ? 'static' : 'dynamic',
      ageMs: isStatic ? 0 : ((tick - fdb.table.stamp(position)) | 0) * (1000 / TICKS_PER_SECOND),
    };
  }
}

/** @returns true while there is still an old table to be drained: a piece of it has been, now */
function drainOldTable(table: MacTable): boolean {
  if (!table.draining) return false;
  table.moveSome(PIECE_SLOTS);
  return true;
}
