/**
 * Leases of TCP flows that the kernel forwards by itself (docs/decisions/0008).
 *
 * A station that sends or receives superframes gets a lease: the kernel learns that this MAC is
 * behind that peer and that frames of this length fit. It then forwards plain TCP of the station
 * without this thread, until the lease ends.
 *
 * - Each direction has a lease of its own, which expires by itself. A frame that this thread
 *   forwards in the second half of the lease, or after its end, renews the lease. If that frame was
 *   received from the peer, it also refreshes the FDB entry. Every frame that renews a lease passes
 *   the host's firewall and routing.
 * - A change that affects a lease ends it first: an entry that moves or is removed, a peer, a path,
 *   a policy, a capture.
 * - The kernel counts in slots. Its counts are added to our counters ten times a second, and when a
 *   lease ends.
 *
 * Several workers may forward flows of the same station, each with a lease of its own. A worker
 * that ends its lease for a station ends the leases of all workers for it.
 *
 * The hash of a station determines two slots, and the station gets one of them. If other stations
 * use both slots, the station's frames stay in user space. One writer, the data-plane thread. While
 * flow offload is off, this module costs one branch per frame.
 */

import type { Shim } from '../../abi/binding.js';
import {
  P_LAST_SEEN_MS,
  P_RX_BYTES,
  P_RX_FRAMES,
  P_TX_BYTES,
  P_TX_FRAMES,
  V_TAP_RX_BYTES,
  V_TAP_RX_FRAMES,
  V_TAP_TX_BYTES,
  V_TAP_TX_FRAMES,
} from '../../exchange/counters.js';
import type { FlowsInit } from '../../exchange/protocol.js';
import { type Clock, NOW_MS } from '../fdb/clock.js';
import type { Tables } from '../fdb/tables.js';
import type { StationObserver } from '../forward/observer.js';
import { type OuterOptions, tosOption } from '../frame/outer-header.js';
import { FlowMaps } from './flow-maps.js';
import {
  COUNT_CELLS,
  type FlowPort,
  type FlowRow,
  FROM_STATION,
  IN_BYTES,
  IN_FRAMES,
  OUT_BYTES,
  OUT_FRAMES,
  TO_STATION,
} from './flow-port.js';

/**
 * Longest lease, ms. It bounds the time for which plain TCP bypasses a new firewall rule. Frames of
 * a flow may be reordered once per lease.
 */
export const LEASE_MS = 10_000;
const MS_PER_TICK = 100;
/** Period of reading the kernel's counts, ms. */
const COUNT_PERIOD_MS = 100;
/**
 * Time for which a freed slot is not used again, ms. Without it, a MAC that two peers claim in turn
 * would cost a system call per frame.
 */
const HOLD_OFF_MS = 100;

export interface FlowOptions extends OuterOptions {
  /** UDP port we listen on; the kernel sends to no other. */
  readonly port: number;
}

export class Flows implements StationObserver {
  readonly offload = 'TCX_FLOWS';
  /** True while `sent` and `received` must be called. */
  active = false;
  readonly #tables: Tables;
  readonly #port: number;
  readonly #tos: number;
  readonly #df: OuterOptions['df'];
  #maps: FlowPort | undefined;
  #firstSlot = 0;
  #shared = false;
  #inUse = false;
  #paused = false;
  /** Columns by slot, from the worker's first one on; vniIdx −1: free. */
  #vniIdx = new Int32Array(0);
  #vni = new Int32Array(0);
  #high = new Int32Array(0);
  #low = new Int32Array(0);
  #peerIdx = new Int32Array(0);
  /**
   * End of the lease of each direction; for a direction without a lease, the time at which the slot
   * was allocated.
   */
  #until = [new Int32Array(0), new Int32Array(0)] as const;
  /** Time at which the slot was freed last, ms. */
  #freedMs = new Int32Array(0);
  /** Totals of the kernel that are already counted. */
  #counted = new Float64Array(0);
  readonly #fresh = new Float64Array(COUNT_CELLS);
  #held = 0;
  readonly #clock = new Float64Array(2);
  readonly #countedMs = new Float64Array(1);

  constructor(tables: Tables, options: FlowOptions) {
    this.#tables = tables;
    this.#port = options.port;
    this.#tos = tosOption(options);
    this.#df = options.df;
  }

  /**
   * Opens the kernel's maps. The kernel forwards nothing before `use`.
   *
   * @param init maps and slots; undefined: flow offload is off
   * @param worker index of this thread, which determines its slots
   */
  open(init: FlowsInit | undefined, shim: Shim, worker: number): void {
    if (init === undefined) this.set(undefined, 0, 0, false);
    else this.set(new FlowMaps(shim, init), worker * init.slots, init.slots, init.shared);
  }

  /** Sets the kernel's maps and this worker's slots; undefined: flow offload is off. */
  set(maps: FlowPort | undefined, firstSlot: number, slots: number, shared: boolean): void {
    this.withdrawAll();
    maps?.clear();
    this.#maps = maps;
    this.#firstSlot = firstSlot;
    this.#shared = shared;
    this.#vniIdx = new Int32Array(slots).fill(-1);
    this.#vni = new Int32Array(slots);
    this.#high = new Int32Array(slots);
    this.#low = new Int32Array(slots);
    this.#peerIdx = new Int32Array(slots);
    this.#until = [new Int32Array(slots), new Int32Array(slots)];
    this.#freedMs = new Int32Array(slots).fill(this.#now - HOLD_OFF_MS);
    this.#counted = new Float64Array(slots * COUNT_CELLS);
    this.#update();
  }

  /** Switches the offload on or off. */
  use(on: boolean): void {
    this.#inUse = on;
    this.#update();
  }

  /**
   * Always returns 0. The kernel refuses a row only for lack of room; such a refusal ends one lease
   * and does not disable the offload.
   */
  takeError(): number {
    return 0;
  }

  /** Suspends leases while `on`, so that every frame passes this thread, as during a capture. */
  pause(on: boolean): void {
    this.#paused = on;
    this.#update();
  }

  /** Observes a frame from the TAP for a station behind a peer, before it is sent. */
  sent(vniIdx: number, high: number, low: number, peerIdx: number, isSuperframe: boolean): void {
    this.#seen(vniIdx, high, low, peerIdx, isSuperframe, TO_STATION);
  }

  /** Observes a frame from a station behind a peer, before it is written to the TAP. */
  received(vniIdx: number, high: number, low: number, peerIdx: number, isSuperframe: boolean): void {
    this.#seen(vniIdx, high, low, peerIdx, isSuperframe, FROM_STATION);
  }

  /** Ends the lease of a station that moves or is removed. */
  withdraw(vniIdx: number, high: number, low: number): void {
    if (!this.active) return;
    const slot = this.#held === 0 ? -1 : this.#find(vniIdx, high, low);
    if (slot >= 0) this.#end(slot);
    else if (this.#shared) this.#remove(this.#tables.vnis.vni[vniIdx], high, low);
  }

  /** Ends all leases, because a setting or a path that affects them changes. */
  withdrawAll(): void {
    if (this.#shared) this.#maps?.clear();
    for (let slot = 0; this.#held > 0 && slot < this.#vniIdx.length; slot++)
      if (this.#vniIdx[slot] >= 0) this.#end(slot);
  }

  /**
   * Advances the clock. Periodically adds the kernel's counts and frees the slots of expired
   * leases.
   */
  step(clock: Clock): void {
    this.#clock[NOW_MS] = clock[NOW_MS];
    if (this.#held === 0 || clock[NOW_MS] - this.#countedMs[0] < COUNT_PERIOD_MS) return;
    this.#countedMs[0] = clock[NOW_MS];
    for (let slot = 0; slot < this.#vniIdx.length; slot++) {
      if (this.#vniIdx[slot] < 0) continue;
      if (this.#remaining(TO_STATION, slot) < 0 && this.#remaining(FROM_STATION, slot) < 0) this.#end(slot);
      else this.#count(slot);
    }
  }

  #update(): void {
    this.active = this.#maps !== undefined && this.#inUse && !this.#paused && this.#df !== 'inherit';
    if (!this.active) this.withdrawAll();
  }

  #seen(
    vniIdx: number,
    high: number,
    low: number,
    peerIdx: number,
    isSuperframe: boolean,
    direction: number,
  ): void {
    if (!isSuperframe && this.#held === 0) return;
    let slot = this.#find(vniIdx, high, low);
    if (slot < 0) {
      if (!isSuperframe) return;
      slot = this.#allocate(vniIdx, high, low, peerIdx);
      if (slot < 0) return;
    }
    // A frame that arrives here in the first half of a lease does not renew the lease.
    const leaseMs = this.#leaseMs(vniIdx);
    if (this.#remaining(direction, slot) > leaseMs >> 1 || !this.#mayPass(vniIdx, high, low, peerIdx)) return;
    this.#until[direction][slot] = this.#now + leaseMs;
    if (!this.#install(slot, direction)) this.#end(slot);
  }

  /** True when the kernel can and may forward frames of this station. */
  #mayPass(vniIdx: number, high: number, low: number, peerIdx: number): boolean {
    const { peers, fdb } = this.#tables;
    return (
      peers.isTunnelled(peerIdx) &&
      peers.port(peerIdx) === this.#port &&
      peers.frameLimit[peerIdx] > 0 &&
      fdb.lookup(vniIdx, high, low) === peerIdx
    );
  }

  /**
   * Allocates a slot for a station. @returns −1 when none is free or the station may not have one
   */
  #allocate(vniIdx: number, high: number, low: number, peerIdx: number): number {
    const home = this.#home(vniIdx, high, low);
    const slot = this.#isFree(home) ? home : this.#isFree(home ^ 1) ? home ^ 1 : -1;
    if (slot < 0 || !this.#mayPass(vniIdx, high, low, peerIdx)) return -1;
    if (!this.#maps!.counts(this.#firstSlot + slot, this.#counted, slot * COUNT_CELLS)) return -1;
    this.#vniIdx[slot] = vniIdx;
    this.#vni[slot] = this.#tables.vnis.vni[vniIdx];
    this.#high[slot] = high;
    this.#low[slot] = low;
    this.#peerIdx[slot] = peerIdx;
    for (const direction of [TO_STATION, FROM_STATION]) this.#until[direction][slot] = this.#now - 1;
    this.#held++;
    return slot;
  }

  #isFree(slot: number): boolean {
    return this.#vniIdx[slot] < 0 && ((this.#now - this.#freedMs[slot]) | 0) >= HOLD_OFF_MS;
  }

  #install(slot: number, direction: number): boolean {
    const { peers } = this.#tables;
    const peerIdx = this.#peerIdx[slot];
    const row: FlowRow = {
      vni: this.#vni[slot],
      high: this.#high[slot],
      low: this.#low[slot],
      direction,
      until: this.#until[direction][slot],
      peer: peers.ipv4(peerIdx),
      frameLimit: peers.frameLimit[peerIdx],
      tos: this.#tos,
      df: this.#df === 'set',
      slot: this.#firstSlot + slot,
    };
    return this.#maps!.put(row);
  }

  #end(slot: number): void {
    this.#remove(this.#vni[slot], this.#high[slot], this.#low[slot]);
    this.#count(slot);
    this.#vniIdx[slot] = -1;
    this.#freedMs[slot] = this.#now;
    this.#held--;
  }

  #remove(vni: number, high: number, low: number): void {
    for (const direction of [TO_STATION, FROM_STATION]) this.#maps!.remove(vni, high, low, direction);
  }

  /** Adds the kernel's counts since the last call. */
  #count(slot: number): void {
    const fresh = this.#fresh;
    const base = slot * COUNT_CELLS;
    if (!this.#maps!.counts(this.#firstSlot + slot, fresh, 0)) return;
    for (let cell = 0; cell < COUNT_CELLS; cell++) {
      const before = this.#counted[base + cell];
      this.#counted[base + cell] = fresh[cell];
      fresh[cell] -= before;
    }
    if (fresh[OUT_FRAMES] === 0 && fresh[IN_FRAMES] === 0) return;
    const { counters } = this.#tables;
    const { cells } = counters;
    const vniBase = counters.vniBase(this.#vniIdx[slot]);
    const peerBase = counters.peerBase(this.#peerIdx[slot]);
    counters.begin();
    cells[vniBase + V_TAP_RX_FRAMES] += fresh[OUT_FRAMES];
    cells[vniBase + V_TAP_RX_BYTES] += fresh[OUT_BYTES];
    cells[peerBase + P_TX_FRAMES] += fresh[OUT_FRAMES];
    cells[peerBase + P_TX_BYTES] += fresh[OUT_BYTES];
    cells[vniBase + V_TAP_TX_FRAMES] += fresh[IN_FRAMES];
    cells[vniBase + V_TAP_TX_BYTES] += fresh[IN_BYTES];
    cells[peerBase + P_RX_FRAMES] += fresh[IN_FRAMES];
    cells[peerBase + P_RX_BYTES] += fresh[IN_BYTES];
    if (fresh[IN_FRAMES] > 0) cells[peerBase + P_LAST_SEEN_MS] = this.#clock[NOW_MS];
    counters.end();
  }

  /**
   * Returns the duration of a lease, at most a quarter of the ageing time, so that the FDB entry is
   * refreshed before it ages out.
   */
  #leaseMs(vniIdx: number): number {
    const ageing = this.#tables.vnis.ageingTicks[vniIdx];
    return ageing > 0 ? Math.min(LEASE_MS, (ageing * MS_PER_TICK) >> 2) : LEASE_MS;
  }

  get #now(): number {
    return this.#clock[NOW_MS] | 0;
  }

  #remaining(direction: number, slot: number): number {
    return (this.#until[direction][slot] - this.#now) | 0;
  }

  /** @returns the slot of a station; −1 when it has none */
  #find(vniIdx: number, high: number, low: number): number {
    const home = this.#home(vniIdx, high, low);
    if (this.#isAt(home, vniIdx, high, low)) return home;
    return this.#isAt(home ^ 1, vniIdx, high, low) ? home ^ 1 : -1;
  }

  #isAt(slot: number, vniIdx: number, high: number, low: number): boolean {
    return this.#vniIdx[slot] === vniIdx && this.#low[slot] === low && this.#high[slot] === high;
  }

  /** @returns the first of a station's two slots; the number of slots is a power of two */
  #home(vniIdx: number, high: number, low: number): number {
    const hash = Math.imul(low ^ Math.imul(high, 0x9e3779b1) ^ vniIdx, 0x85ebca6b);
    return (hash >>> 16) & (this.#vniIdx.length - 1);
  }
}
