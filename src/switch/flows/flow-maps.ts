/**
 * The kernel maps of TCP flow offload, as used by one worker (native-shims/flow.bpf.c).
 *
 * Leases are written, counters are read. Each operation is a system call, so no operation is done
 * per frame. The maps are shared by all workers; the main thread assigns the slots.
 */
import type { Shim } from '../../abi/binding.js';
import { FLOW_KEY_LEN, FLOW_VALUE_LEN } from '../../abi/flow-layout.js';
import { COUNT_CELLS, type FlowPort, type FlowRow } from './flow-port.js';

/** Words of a row (`struct row`). */
const UNTIL = 0;
const PEER = 1;
const FRAME_LIMIT = 2;
const TOS = 3;
const TTL = 4;
const OPTIONS = 5;
const SLOT = 6;
const ZERO = 7;

const DF = 1;
const NO_CHECKSUM = 2;
const TOS_INHERITED = 256;

/** Set-up of the maps, from the main thread. */
export interface FlowInit {
  /** Descriptors of the maps. */
  readonly rows: number;
  readonly counts: number;
  /** Slots of each worker. */
  readonly slots: number;
  /** True when other workers may hold leases for the same station. */
  readonly shared: boolean;
  readonly ttl: number;
  readonly udpChecksum: boolean;
}

export class FlowMaps implements FlowPort {
  readonly #shim: Shim;
  readonly #init: FlowInit;
  readonly #key = new Uint8Array(FLOW_KEY_LEN);
  readonly #keyView = new DataView(this.#key.buffer);
  readonly #value = new Uint8Array(FLOW_VALUE_LEN);
  readonly #words = new Int32Array(this.#value.buffer);
  /** Each count is a 64-bit number, its lower word first. */
  readonly #counts = new Uint32Array(this.#value.buffer);

  constructor(shim: Shim, init: FlowInit) {
    this.#shim = shim;
    this.#init = init;
  }

  put(row: FlowRow): boolean {
    const words = this.#words;
    words[UNTIL] = row.until;
    words[PEER] = row.peer;
    words[FRAME_LIMIT] = row.frameLimit;
    words[TOS] = row.tos < 0 ? TOS_INHERITED : row.tos;
    words[TTL] = this.#init.ttl;
    words[OPTIONS] = (row.df ? DF : 0) | (this.#init.udpChecksum ? 0 : NO_CHECKSUM);
    words[SLOT] = row.slot;
    words[ZERO] = 0;
    this.#station(row.vni, row.high, row.low, row.direction);
    return this.#shim.flowPut(this.#init.rows, this.#key, this.#value) === 0;
  }

  remove(vni: number, high: number, low: number, direction: number): void {
    this.#station(vni, high, low, direction);
    this.#shim.flowDelete(this.#init.rows, this.#key);
  }

  clear(): void {
    this.#shim.flowClear(this.#init.rows);
  }

  counts(slot: number, into: Float64Array, base: number): boolean {
    this.#keyView.setInt32(0, slot, true);
    if (this.#shim.flowGet(this.#init.counts, this.#key, this.#value) < 0) return false;
    for (let cell = 0; cell < COUNT_CELLS; cell++)
      into[base + cell] = this.#counts[cell * 2] + this.#counts[cell * 2 + 1] * 2 ** 32;
    return true;
  }

  #station(vni: number, high: number, low: number, direction: number): void {
    this.#keyView.setInt32(0, vni, true);
    this.#keyView.setInt16(4, high);
    this.#keyView.setInt32(6, low);
    this.#keyView.setInt16(10, direction, true);
  }
}
