/**
 * Applies configuration requests of the main thread to the tables.
 *
 * Runs on the data-plane thread between two rounds. Most changes complete at once. Changes that
 * walk the FDB are jobs that do a bounded piece of work per round (`jobs.ts`). The next request
 * waits until the job is done, so changes take effect in the order of their requests.
 */

import { AF_INET, AF_INET6 } from '../abi/peer-row.js';
import {
  P_GENERATION,
  P_RX_BYTES,
  P_RX_FRAMES,
  P_TX_BYTES,
  P_TX_FRAMES,
  PEER_ROW,
  V_GENERATION,
  VNI_ROW,
} from '../exchange/counters.js';
import {
  ADDRESS_LEN,
  type Answer,
  type CaptureChange,
  type Change,
  type ChangeErrorCode,
  type DropsBefore,
  type FlowsInit,
  type Held,
  isRemoval,
  PATH_HELD,
  type TunnelInit,
  type VniPolicy,
} from '../exchange/protocol.js';
import type { Tables } from './fdb/tables.js';
import {
  ACCEPT_ANY,
  ACCEPT_PEERS,
  TICKS_PER_SECOND,
  VLAN_DROP,
  VLAN_PASS,
  VLAN_STRIP,
} from './fdb/vni-table.js';
import { flush, inTurn, type Job, list, purgeAll, shrink } from './jobs.js';

/** Peers removed per piece of a job: about 0.1 ms. */
const PIECE_PEERS = 1024;

const VLAN_POLICY = { pass: VLAN_PASS, strip: VLAN_STRIP, drop: VLAN_DROP };

/** A change that the data plane refuses, with its stable code. */
export class Refusal extends Error {
  readonly code: ChangeErrorCode;
  constructor(code: ChangeErrorCode, message: string) {
    super(message);
    this.code = code;
  }
}

/** Consequences of changes for the ports, and for subscribers. */
export interface PortChanges {
  /**
   * Lowers a path that the network reported (`Loop.lowerPath`).
   * @param row packed address and port @param mtu bytes @param nowS seconds
   */
  lowerPath(row: Int32Array, mtu: number, nowS: number): void;
  /** Sends nothing by the sockets of the held address families. */
  hold(held: Held): void;
  /** Begins to read TAPs and sockets. */
  beginForwarding(droppedBefore: DropsBefore): void;
  /** Starts reading a VNI's TAP, instead of an earlier one. @throws Refusal when the descriptor cannot be polled */
  attachTap(vniIdx: number, tapFd: number): void;
  /**
   * Stops reading and writing the TAP, whose descriptor may then be closed. Pending frames of the
   * VNI are not counted.
   */
  detachVni(vniIdx: number): void;
  /** Configures the outer TAP for superframes. It is used only while the offload is enabled. */
  setTunnel(tunnel: TunnelInit): void;
  /** Sets the kernel maps for TCP flows; undefined: flow offload is off. */
  setFlows(flows: FlowsInit | undefined): void;
  /** Sets the devices by which no VXLAN is accepted, by interface index. */
  setOverlayDevices(indexes: Int32Array): void;
  /** Switches reports of FDB events on or off. */
  setEvents(on: boolean): void;
  /** Sets the capture; undefined: none. */
  setCapture(capture: CaptureChange | undefined): void;
}

export class Applier {
  readonly #tables: Tables;
  readonly #ports: PortChanges;
  #job: Job | undefined;

  constructor(tables: Tables, ports: PortChanges) {
    this.#tables = tables;
    this.#ports = ports;
  }

  /** True while a job is in progress: no further request may be applied. */
  get busy(): boolean {
    return this.#job !== undefined;
  }

  /** @returns the answer; undefined when a job has begun @throws Refusal */
  apply(change: Change, tick: number): Answer | undefined {
    if (isRemoval(change)) this.#tables.fdb.beginRemoval();
    switch (change.op) {
      case 'vni.add':
        return this.#addVni(change);
      case 'vni.up':
        return this.#startVni(change);
      case 'vni.tap':
        return this.#replaceTap(change);
      case 'vni.set':
        return this.#begin(this.#setPolicy(change.vniIdx, change.policy), tick);
      case 'vni.del':
        return this.#begin(this.#removeVni(change.vniIdx), tick);
      case 'peer.add':
        return this.#addPeers(change);
      case 'peer.paths':
        return this.#setPaths(change);
      case 'peer.del':
        return this.#begin(this.#removePeer(change.peerIdx), tick);
      case 'tunnel':
        this.#ports.setTunnel(change.tunnel);
        this.#tables.peers.setTunnelled(change.peers);
        return {};
      case 'flows':
        this.#ports.setFlows(change.flows);
        return {};
      case 'overlay.devices':
        this.#ports.setOverlayDevices(change.indexes);
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
        return this.#begin(flush(this.#tables.fdb, change), tick);
      case 'fdb.list':
        return this.#begin(list(this.#tables.fdb, change), tick);
      case 'path.report':
        this.#ports.lowerPath(change.row, change.mtu, (tick / TICKS_PER_SECOND) | 0);
        return {};
      case 'events':
        this.#ports.setEvents(change.on);
        return {};
      case 'capture':
        this.#ports.setCapture(change.on ? change : undefined);
        return {};
      case 'fdb.adopt':
        this.#tables.fdb.adopt();
        return {};
      case 'underlay.hold':
        this.#ports.hold(change);
        return {};
      case 'underlay.own':
        this.#tables.peers.setOwn(change.rows);
        return {};
      case 'forward':
        this.#ports.beginForwarding(change.droppedBefore);
        return {};
      case 'stop':
        return {};
    }
  }

  /** Runs the next piece of the current job. @returns its answer when it is done */
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
    this.#writePolicy(vniIdx, policy);
    vnis.macHigh[vniIdx] = change.mac.high;
    vnis.macLow[vniIdx] = change.mac.low;
    vnis.otherIdx[vniIdx] = change.otherIdx;
    vnis.add(vniIdx, change.vni);
    members.add(vniIdx, change.otherIdx, 1, false);
    return {};
  }

  /** The TAP comes first: if it is refused, the VNI stays unknown to frames. */
  #startVni({ vniIdx, tapFd }: Extract<Change, { op: 'vni.up' }>): Answer {
    this.#ports.attachTap(vniIdx, tapFd);
    this.#tables.vnis.publish(vniIdx);
    return {};
  }

  #replaceTap({ vniIdx, tapFd, mac }: Extract<Change, { op: 'vni.tap' }>): Answer {
    const { vnis } = this.#tables;
    this.#ports.attachTap(vniIdx, tapFd);
    vnis.macHigh[vniIdx] = mac.high;
    vnis.macLow[vniIdx] = mac.low;
    return {};
  }

  #writePolicy(vniIdx: number, policy: VniPolicy): void {
    const { vnis } = this.#tables;
    vnis.learning[vniIdx] = policy.learning ? 1 : 0;
    vnis.ageingTicks[vniIdx] = policy.ageingS * TICKS_PER_SECOND;
    vnis.fdbLimit[vniIdx] = policy.fdbLimit;
    vnis.flood[vniIdx] = policy.flood ? 1 : 0;
    vnis.accept[vniIdx] = policy.accept === 'any' ? ACCEPT_ANY : ACCEPT_PEERS;
    vnis.vlan[vniIdx] = VLAN_POLICY[policy.vlan];
    vnis.overlayMtu[vniIdx] = policy.overlayMtu;
    vnis.packetMax[vniIdx] = policy.packetMax;
  }

  /**
   * Applies a policy, which takes effect for the next frame. Entries beyond the new limit, and
   * entries of sources that are no longer accepted, are removed afterwards.
   */
  #setPolicy(vniIdx: number, policy: VniPolicy): Job {
    const { vnis, fdb, peers, paths, members } = this.#tables;
    const acceptedAny = vnis.accept[vniIdx] === ACCEPT_ANY;
    const oldMax = vnis.packetMax[vniIdx];
    this.#writePolicy(vniIdx, policy);
    if (oldMax !== policy.packetMax)
      for (const peerIdx of [...members.rows(vniIdx), ...peers.learnedOf(vniIdx)]) paths.recompute(peerIdx);
    const evicted = shrink(fdb, vniIdx);
    if (!acceptedAny || policy.accept === 'any') return evicted;
    const isStrangers = (position: number) =>
      fdb.table.tag(position) === vniIdx && peers.isLearned(fdb.peerAt(position));
    return inTurn(purgeAll(fdb, isStrangers), evicted);
  }

  /**
   * Removes a VNI. The VNI becomes unknown first: its frames count as `vni_not_found`, and its TAP
   * is no longer read. Its peers and entries are removed afterwards, piece by piece. A row without
   * a VNI needs no removal.
   */
  #removeVni(vniIdx: number): Job {
    const { vnis, flood, members, fdb } = this.#tables;
    if (vnis.vni[vniIdx] < 0) return () => ({});
    const rows = members.rows(vniIdx);
    this.#ports.detachVni(vniIdx);
    vnis.remove(vniIdx);
    flood.clear(vniIdx);
    members.clear(vniIdx);
    return inTurn(
      this.#forgetPeers(rows),
      purgeAll(fdb, (position) => fdb.table.tag(position) === vniIdx),
    );
  }

  #forgetPeers(rows: readonly number[]): Job {
    const { peers } = this.#tables;
    let next = 0;
    return () => {
      const end = Math.min(rows.length, next + PIECE_PEERS);
      for (; next < end; next++) if (peers.isUsed(rows[next])) peers.remove(rows[next]);
      return next === rows.length ? {} : undefined;
    };
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
      paths.open(first + i, Math.max(0, pathMtu[at]));
      peers.hold(first + i, pathMtu[at] === PATH_HELD);
    }
    members.add(vniIdx, first, count, false);
    for (const wanted of [4, 6]) this.#flood(change, wanted);
    return {};
  }

  /**
   * The row has possibly been removed since the request was made. A held peer keeps its path MTU.
   */
  #setPaths({ peers: list, from, count, peerIdx: first }: Extract<Change, { op: 'peer.paths' }>): Answer {
    const { peers, paths } = this.#tables;
    for (let i = 0; i < count; i++) {
      const mtu = list.pathMtu[from + i];
      if (!peers.isUsed(first + i)) continue;
      peers.hold(first + i, mtu === PATH_HELD);
      if (mtu !== PATH_HELD) paths.know(first + i, mtu);
    }
    return {};
  }

  /** Adds the peers of one family that receive BUM frames to the flood list, by ranges of rows. */
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
   * Resets a counter row, unless a predecessor of this worker counted in the same generation. A row
   * in its first use has generation 0, and its counters are zero. Such a row is read here but not
   * written, so it uses no memory.
   */
  #startRow(base: number, length: number, generationCell: number, generation: number): void {
    const { counters } = this.#tables;
    if (counters.cells[base + generationCell] !== generation) counters.resetRow(base, length, generation);
  }

  /**
   * Removes a peer. The peer becomes unknown first; its entries are removed afterwards, piece by
   * piece, until a pass finds none. A row without a peer was removed by an earlier request, whose
   * caller did not wait for the answer.
   */
  #removePeer(peerIdx: number): Job {
    const { peers, flood, members, fdb } = this.#tables;
    if (!peers.isUsed(peerIdx)) return () => ({});
    const vniIdx = peers.vniIdx(peerIdx);
    this.#foldRow(peerIdx, this.#tables.vnis.otherIdx[vniIdx]);
    flood.remove(vniIdx, peerIdx);
    peers.remove(peerIdx);
    const emptied = () => {
      members.remove(vniIdx, peerIdx);
      return {};
    };
    return inTurn(
      purgeAll(fdb, (position) => fdb.peerAt(position) === peerIdx),
      emptied,
    );
  }

  /**
   * Adds the counts of a removed peer to the VNI's `other` row, so that the VNI's sums are kept.
   */
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
}
