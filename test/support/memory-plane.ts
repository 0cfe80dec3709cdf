/**
 * A whole data plane in memory: tables, loop and ports.
 *
 * It is configured by the same changes as the real one. Tests insert frames and datagrams, run
 * rounds with `breathe`, and read the output and the counters. The test controls the time.
 */
import type { Test } from 'tap';
import type { Batch } from '../../src/abi/batch.js';
import { BATCH_CAP, PEER_ROW_LEN } from '../../src/abi/limits.js';
import { CaptureRing } from '../../src/exchange/capture-ring.js';
import * as layout from '../../src/exchange/counters.js';
import { DROP, DROP_REASONS, type DropReason } from '../../src/exchange/drop-reason.js';
import {
  type Answer,
  type Change,
  type PackedAddress,
  packPeers,
  type VniPolicy,
} from '../../src/exchange/protocol.js';
import { Applier } from '../../src/switch/apply.js';
import { Capture } from '../../src/switch/capture/capture.js';
import { type Clock, EPOCH_MS, makeClock, NOW_MS } from '../../src/switch/fdb/clock.js';
import type { NoteRings } from '../../src/switch/fdb/replication.js';
import { Tables } from '../../src/switch/fdb/tables.js';
import { FdbEvents } from '../../src/switch/fdb-events.js';
import { Flows } from '../../src/switch/flows/flows.js';
import { Loop } from '../../src/switch/forward/loop.js';
import { STATUS_PENDING } from '../../src/switch/port/port.js';
import { parseIpAddress } from '../../src/wire/ip-address.js';
import { concat } from './hex.js';
import { MemoryOverlay, MemoryUnderlay } from './memory-ports.js';

const { Counters } = layout;

export const MAX_VNIS = 32;
export const MAX_PEERS = 2048;
export const LEARNED_ROWS = 32;

/** MAC of the TAP of every VNI. */
export const TAP_MAC = { high: 0x02aa, low: 0x00000001 };

export const POLICY: VniPolicy = {
  learning: true,
  ageingS: 300,
  fdbLimit: 65536,
  flood: true,
  accept: 'peers',
  vlan: 'pass',
  overlayMtu: 1450,
  packetMax: 0,
};

/** Memory that outlives a worker. */
export interface Memory {
  counters: layout.Counters;
  peers: SharedArrayBuffer;
  fdb: SharedArrayBuffer[];
}

export class MemoryPlane {
  readonly memory: Memory;
  readonly tables: Tables;
  readonly overlay: MemoryOverlay;
  readonly underlay: MemoryUnderlay;
  readonly loop: Loop;
  readonly flows: Flows;
  readonly applier: Applier;
  readonly fdbEvents: FdbEvents;
  readonly capture: Capture;
  nowMs = 1_000_000;
  /** Replies to path probes received so far. */
  readonly probeReplies: { peerIdx: number; high: number; low: number; len: number }[] = [];
  #nextPeer = 0;
  #generation = 1;
  readonly #clock = makeClock();

  constructor(
    options: {
      strictHeader?: boolean;
      memory?: Memory;
      overlay?: MemoryOverlay;
      underlay?: MemoryUnderlay;
      notes?: NoteRings;
      /** True for the first worker, and for the only one. */
      isFirst?: boolean;
      df?: 'set' | 'unset' | 'inherit';
      tos?: number | 'inherit';
      mssClamp?: boolean;
      /** Number of peer rows for sources that are not configured. */
      learnedRows?: number;
    } = {},
  ) {
    this.memory = options.memory ?? {
      counters: new Counters(MAX_VNIS, MAX_PEERS + (options.learnedRows ?? 0)),
      peers: new SharedArrayBuffer((MAX_PEERS + (options.learnedRows ?? 0)) * PEER_ROW_LEN),
      fdb: [],
    };
    this.overlay = options.overlay ?? new MemoryOverlay();
    this.underlay = options.underlay ?? new MemoryUnderlay();
    this.tables = new Tables({
      maxVnis: MAX_VNIS,
      counters: this.memory.counters,
      peers: this.memory.peers,
      learnedRows: options.learnedRows ?? LEARNED_ROWS,
      fdb: this.memory.fdb,
      seed: 0x5eed,
      onFdbGrown: (buffers) => (this.memory.fdb = buffers),
      notes: options.notes,
    });
    this.fdbEvents = new FdbEvents(this.tables.fdb, options.isFirst ?? true);
    this.capture = new Capture(this.tables, this.#clock);
    const overlay = this.capture.overlayPort(this.overlay);
    const outer = { df: options.df ?? 'set', tos: options.tos ?? 'inherit', port: 4789 } as const;
    this.flows = new Flows(this.tables, outer);
    this.loop = new Loop(this.tables, overlay, this.capture.underlayPort(this.underlay), {
      strictHeader: options.strictHeader ?? false,
      ...outer,
      observer: this.flows,
      mssClamp: options.mssClamp ?? true,
      flowSecret: 0x5ec,
      probeReplied: (peerIdx, high, low, len) => this.probeReplies.push({ peerIdx, high, low, len }),
    });
    this.applier = new Applier(this.tables, {
      lowerPath: (row, mtu, nowS) => this.loop.lowerPath(row, 0, mtu, nowS),
      hold: () => {},
      beginForwarding: () => {},
      attachTap: () => {},
      detachVni: (vniIdx) => {
        this.loop.vniRemoved(vniIdx);
        this.underlay.vniRemoved(vniIdx);
        this.capture.vniRemoved(vniIdx);
      },
      setTunnel: () => {},
      setFlows: () => {},
      setOverlayDevices: (indexes) => this.loop.setOverlayDevices(indexes),
      setEvents: (on) => this.fdbEvents.enable(on),
      setCapture: (change) => {
        if (change) this.capture.start({ ...change, ring: new CaptureRing(change.ring), sourcePorts: [] });
        else this.capture.stop();
      },
    });
  }

  get clock(): Clock {
    this.#clock[NOW_MS] = this.nowMs;
    // The wall clock is independent of the monotonic clock, and runs backward here.
    this.#clock[EPOCH_MS] = 1e12 - this.nowMs;
    return this.#clock;
  }

  get tick(): number {
    return Math.floor(this.nowMs / 100);
  }

  /** Applies a change completely, in as many steps as it needs. */
  apply(change: Change): Answer {
    let answer = this.applier.apply(change, this.tick);
    for (let rounds = 0; !answer; rounds++) {
      if (rounds > 100_000) throw new Error(`${change.op} does not end`);
      answer = this.applier.step(this.tick);
    }
    return answer;
  }

  /** @returns the VNI's row */
  addVni(vniIdx: number, vni: number, policy: Partial<VniPolicy> = {}): number {
    const otherIdx = this.#nextPeer++;
    const generation = this.#generation++;
    this.apply({
      op: 'vni.add',
      vniIdx,
      vni,
      mac: TAP_MAC,
      policy: { ...POLICY, ...policy },
      otherIdx,
      generation,
      otherGeneration: generation,
    });
    this.apply({ op: 'vni.up', vniIdx, tapFd: -1 });
    return vniIdx;
  }

  /**
   * Adds a peer; by default its path carries frames of any size.
   *
   * @returns the peer's row
   */
  addPeer(
    vniIdx: number,
    address: string,
    options: { flood?: boolean; port?: number; pathMtu?: number } = {},
  ): number {
    const peerIdx = this.#nextPeer++;
    const generation = this.#generation++;
    const packed = packAddress(address, options.port ?? 4789);
    const { flood = true, pathMtu = 100_000 } = options;
    const peers = packPeers([{ address: packed, flood, pathMtu }]);
    this.apply({ op: 'peer.add', vniIdx, peers, from: 0, count: 1, peerIdx, generation });
    return peerIdx;
  }

  removePeer(peerIdx: number): void {
    this.apply({ op: 'peer.del', peerIdx });
  }

  /** Queues a frame that the next `breathe` reads from a VNI's TAP. */
  fromTap(vniIdx: number, frame: Uint8Array): void {
    this.overlay.waiting.push({ vniIdx, bytes: frame });
  }

  /** Queues a datagram that the next `breathe` receives. */
  fromUnderlay(source: string, bytes: Uint8Array, gsoSize = 0, tos = 0, ifindex = 0): void {
    this.underlay.waiting.push({ source: sourceRow(source), bytes, gsoSize, tos, ifindex });
  }

  /** Queues a well-formed VXLAN datagram. */
  fromPeer(source: string, vni: number, frame: Uint8Array): void {
    this.fromUnderlay(source, concat(vxlanHeader(vni), frame));
  }

  /** Runs rounds until no frame, datagram or send is pending. */
  breathe(): void {
    do {
      const { clock } = this;
      this.fdbEvents.tick = this.tick;
      this.tables.replication?.drain(this.tables.fdb);
      for (let vniIdx = 0; vniIdx < MAX_VNIS; vniIdx++) this.loop.readOverlay(vniIdx);
      this.loop.forwardOverlay();
      this.loop.readUnderlay(clock);
      this.loop.housekeeping(clock);
    } while (this.overlay.waiting.length > 0 || this.underlay.waiting.length > 0 || this.loop.isPending);
  }

  /** Advances the time in steps of 100 ms, with a `breathe` after each. */
  pass(ms: number): void {
    for (const endMs = this.nowMs + ms; this.nowMs < endMs; ) {
      this.nowMs = Math.min(endMs, this.nowMs + 100);
      this.breathe();
    }
  }

  vniCell(vniIdx: number, cell: number): number {
    return this.memory.counters.cells[this.memory.counters.vniBase(vniIdx) + cell];
  }

  peerCell(peerIdx: number, cell: number): number {
    return this.memory.counters.cells[this.memory.counters.peerBase(peerIdx) + cell];
  }

  /**
   * Drops of a VNI's row, indexed by reason; for `vniIdx` −1, those of frames without a VNI.
   * Reasons without drops are left out.
   */
  drops(vniIdx: number, direction: 'encap' | 'decap'): Partial<Record<DropReason, number>> {
    const isEncap = direction === 'encap';
    const { counters } = this.memory;
    if (vniIdx < 0 && isEncap) return {};
    const base =
      vniIdx < 0
        ? layout.G_DROPS_DECAP
        : counters.vniBase(vniIdx) + (isEncap ? layout.V_DROPS_ENCAP : layout.V_DROPS_DECAP);
    const entries = DROP_REASONS.map(([label], reason) => [label, counters.cells[base + reason]] as const);
    return Object.fromEntries(entries.filter(([, count]) => count !== 0));
  }

  /**
   * Both sides of the counter identity (`exchange/counters.ts`), summed over all peer rows of the
   * VNI.
   */
  identity(vniIdx: number): { encap: [number, number]; decap: [number, number] } {
    let tx = 0;
    let rx = 0;
    for (const peerIdx of this.tables.members.rows(vniIdx)) {
      tx += this.peerCell(peerIdx, layout.P_TX_FRAMES);
      rx += this.peerCell(peerIdx, layout.P_RX_FRAMES);
    }
    const sum = (direction: 'encap' | 'decap') =>
      Object.values(this.drops(vniIdx, direction)).reduce((total, count) => total + count, 0);
    const copies =
      this.vniCell(vniIdx, layout.V_TAP_RX_FRAMES) +
      this.vniCell(vniIdx, layout.V_REPLICATED) +
      this.vniCell(vniIdx, layout.V_FRAGMENTS);
    return {
      encap: [copies, tx + sum('encap')],
      decap: [rx, this.vniCell(vniIdx, layout.V_TAP_TX_FRAMES) + sum('decap')],
    };
  }

  /** Checks the identity of every VNI; reports only violations. */
  checkIdentity(t: Test, what: string): void {
    for (let vniIdx = 0; vniIdx < MAX_VNIS; vniIdx++) {
      if (this.tables.vnis.vni[vniIdx] < 0) continue;
      const { encap, decap } = this.identity(vniIdx);
      if (encap[0] !== encap[1]) t.fail(`${what}: encap of VNI row ${vniIdx}: ${encap.join(' ≠ ')}`);
      if (decap[0] !== decap[1]) t.fail(`${what}: decap of VNI row ${vniIdx}: ${decap.join(' ≠ ')}`);
    }
  }

  /** Discards all output so far. */
  clear(): void {
    this.underlay.sent.length = 0;
    this.overlay.written.length = 0;
  }
}

export function dropIndex(reason: DropReason): number {
  return DROP[reason];
}

export function vxlanHeader(vni: number, flags = 0x08): Uint8Array {
  return Uint8Array.of(flags, 0, 0, 0, vni >>> 16, (vni >>> 8) & 0xff, vni & 0xff, 0);
}

/** Packs `192.0.2.1`, `2001:db8::1` or `fe80::1%7`; a scope is an interface index here. */
export function packAddress(text: string, port: number): PackedAddress {
  const address = parseIpAddress(text);
  if (!address) throw new Error(`no address: ${text}`);
  return { family: address.family, bytes: address.bytes, port, scopeId: Number(address.scope || 0) };
}

/** A source row as the shim fills it; the port is flow entropy. */
export function sourceRow(text: string, port = 50000): Uint8Array {
  const address = packAddress(text, port);
  const row = Buffer.alloc(PEER_ROW_LEN);
  row.writeUInt16LE(address.family === 4 ? 2 : 10, 0);
  row.writeUInt16LE(port, 2);
  row.set(address.bytes, 4);
  row.writeUInt32LE(address.scopeId, 20);
  return new Uint8Array(row);
}

/** Returns a seeded generator of integers from 0 to `below` − 1 (mulberry32). */
export function random(seed: number): (below: number) => number {
  let state = seed | 0;
  return (below) => {
    state = (state + 0x6d2b79f5) | 0;
    let z = Math.imul(state ^ (state >>> 15), state | 1);
    z ^= z + Math.imul(z ^ (z >>> 7), z | 61);
    return Math.floor((((z ^ (z >>> 14)) >>> 0) / 2 ** 32) * below);
  };
}

/**
 * An underlay with asynchronous sends, as `dgram`: a send is pending until `answer` completes it.
 */
export class PendingUnderlay extends MemoryUnderlay {
  readonly #pending: Send[] = [];
  readonly #completed: Send[] = [];

  override send(batch: Batch, arena: Uint8Array): number {
    super.send(batch, arena);
    for (let i = 0; i < batch.count; i++) {
      if (batch.verdict[i] !== 0) continue;
      const [vniIdx, peerIdx, flags] = [batch.vniIdx[i], batch.peerIdx[i], batch.flags[i]];
      const [segCount, wireLen, status] = [batch.segCount[i], batch.wireLen[i], batch.status[i]];
      this.#pending.push({ vniIdx, peerIdx, flags, segCount, wireLen, status });
      batch.status[i] = STATUS_PENDING;
    }
    return batch.count;
  }

  /** Number of pending sends. */
  get pending(): number {
    return this.#pending.length;
  }

  /** Completes the oldest `count` pending sends. */
  answer(count: number): void {
    this.#completed.push(...this.#pending.splice(0, count));
  }

  override vniRemoved(vniIdx: number): void {
    for (const sends of [this.#pending, this.#completed])
      sends.splice(0, sends.length, ...sends.filter((send) => send.vniIdx !== vniIdx));
  }

  override completions(batch: Batch): number {
    const completed = this.#completed.splice(0, BATCH_CAP);
    batch.count = completed.length;
    for (const [i, send] of completed.entries()) {
      for (const name of ['vniIdx', 'peerIdx', 'flags', 'segCount', 'wireLen', 'status'] as const)
        batch[name][i] = send[name];
      batch.verdict[i] = 0;
    }
    return batch.count;
  }
}

interface Send {
  vniIdx: number;
  peerIdx: number;
  flags: number;
  segCount: number;
  wireLen: number;
  status: number;
}
