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
import { FdbPage } from './fdb-page.js';
import { ADDRESS_LEN, type Answer, type Change, isRemoval, type TunnelInit } from './protocol.js';

const AF_INET = 2;
const AF_INET6 = 10;

/** Slots of the FDB that one piece of a job looks at. */
const PIECE_SLOTS = 16_384;
/** Likewise of a listing, which does more with each: some tens of microseconds. */
const LIST_SLOTS = 512;
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

/** What changes of the configuration mean for the ports. */
export interface PortChanges {
  /** Begins to read a VNI's TAP. */
  attachTap(vniIdx: number, tapFd: number): void;
  /** Superframes leave by this way, as soon as the offload is granted. */
  setTunnel(way: TunnelInit): void;
}

export class Applier {
  readonly #tables: Tables;
  readonly #ports: PortChanges;
  #job: Job | undefined;

  constructor(tables: Tables, ports: PortChanges) {
    this.#tables = tables;
    this.#ports = ports;
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
        return this.#addPeers(change);
      case 'peer.paths':
        return this.#setPaths(change);
      case 'peer.del':
        return this.#begin(this.#removePeer(change.peerIdx), tick);
      case 'tunnel':
        this.#ports.setTunnel(change.way);
        this.#tables.peers.setTunnelled(change.peers);
        return {};
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
      case 'path.report':
        this.#tables.paths.report(change.row, 0, change.mtu, (tick / TICKS_PER_SECOND) | 0);
        return {};
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
    this.#startRow(counters.peerBase(change.otherIdx), PEER_ROW, P_GENERATION, change.otherGeneration);
    vnis.learning[vniIdx] = policy.learning ? 1 : 0;
    vnis.ageingTicks[vniIdx] = policy.ageingS * TICKS_PER_SECOND;
    vnis.fdbLimit[vniIdx] = policy.fdbLimit;
    vnis.flood[vniIdx] = policy.flood ? 1 : 0;
    vnis.accept[vniIdx] = policy.accept === 'any' ? ACCEPT_ANY : ACCEPT_PEERS;
    vnis.vlan[vniIdx] = VLAN_POLICY[policy.vlan];
    vnis.overlayMtu[vniIdx] = policy.overlayMtu;
    vnis.packetMax[vniIdx] = policy.packetMax;
    vnis.macHigh[vniIdx] = change.mac.high;
    vnis.macLow[vniIdx] = change.mac.low;
    vnis.otherIdx[vniIdx] = change.otherIdx;
    vnis.add(vniIdx, change.vni);
    members.add(vniIdx, change.otherIdx, 1, false);
    this.#ports.attachTap(vniIdx, change.tapFd);
    return {};
  }

  #addPeers(change: Extract<Change, { op: 'peer.add' }>): Answer {
    const { peers, paths, members, counters } = this.#tables;
    const { vniIdx, peerIdx: first, from, count, generation } = change;
    const { family, bytes, port, scopeId, pathMtu } = change.peers;
    for (let i = 0; i < count; i++) {
      const at = from + i;
      this.#startRow(counters.peerBase(first + i), PEER_ROW, P_GENERATION, generation);
      const af = family[at] === 4 ? AF_INET : AF_INET6;
      peers.add(first + i, vniIdx, af, bytes, port[at], scopeId[at], at * ADDRESS_LEN);
      paths.open(first + i, pathMtu[at]);
    }
    members.add(vniIdx, first, count, false);
    for (const wanted of [4, 6]) this.#flood(change, wanted);
    return {};
  }

  /** A row may be gone by now. */
  #setPaths({ peers, from, count, peerIdx: first }: Extract<Change, { op: 'peer.paths' }>): Answer {
    for (let i = 0; i < count; i++)
      if (this.#tables.peers.isUsed(first + i)) this.#tables.paths.know(first + i, peers.pathMtu[from + i]);
    return {};
  }

  /** Lists the peers of one family that get BUM frames, run by run. */
  #flood({ vniIdx, peerIdx, peers, from, count }: Extract<Change, { op: 'peer.add' }>, wanted: number): void {
    const { family, flood } = peers;
    let start = 0;
    for (let i = 0; i <= count; i++) {
      if (i < count && flood[from + i] === 1 && family[from + i] === wanted) continue;
      this.#tables.flood.add(vniIdx, peerIdx + start, i - start, wanted === 6);
      start = i + 1;
    }
  }

  /**
   * A row begins at zero, unless it is the same one that a predecessor of this worker counted in. One in its first life
   * is of generation 0 and zero as it is: it is read here and never written, so it costs no memory.
   */
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
    const page = new FdbPage(change.limit);
    const answer = (nextCursor: number): Answer => ({ page: page.take(), nextCursor });
    // Whatever is no place in the order of hashes begins at the front: a list always ends.
    let from = change.cursor > 0 ? Math.floor(change.cursor) : 0;
    return (tick) => {
      if (from >= HASH_END) return answer(-1);
      const to = Math.min(HASH_END, from + Math.max(1, Math.floor(HASH_END / table.capacity)) * LIST_SLOTS);
      let last = -1;
      for (const position of table.collect(from, to)) {
        if (!this.#matches(position, change)) continue;
        const hash = table.hashAt(position);
        // Entries with one and the same hash share a page: the cursor cannot tell them apart.
        if (page.count >= change.limit && hash !== last) return answer(hash);
        this.#addTo(page, position, tick);
        last = hash;
      }
      from = to;
      return from >= HASH_END ? answer(-1) : undefined;
    };
  }

  #addTo(page: FdbPage, position: number, tick: number): void {
    const { fdb, peers } = this.#tables;
    const { table } = fdb;
    const isStatic = fdb.isStatic(position);
    const ageMs = isStatic ? 0 : ((tick - table.stamp(position)) | 0) * (1000 / TICKS_PER_SECOND);
    const mac = { high: table.macHigh(position), low: table.macLow(position) };
    page.add(mac, isStatic, ageMs, peers, fdb.peerAt(position));
  }
}

/** @returns true while there is still an old table to be drained: a piece of it has been, now */
function drainOldTable(table: MacTable): boolean {
  if (!table.draining) return false;
  table.moveSome(PIECE_SLOTS);
  return true;
}
