/**
 * The VNIs of this VTEP: which row a VNI of the wire has, and how each row behaves. Columns, so that a policy is
 * one load on the frame's way. Rows are assigned by the main thread; the worker is the only writer.
 */

export const ACCEPT_PEERS = 0;
export const ACCEPT_ANY = 1;
export const VLAN_PASS = 0;
export const VLAN_STRIP = 1;
export const VLAN_DROP = 2;

/** FDB stamps count tenths of a second: an entry is rewritten at most ten times a second. */
export const TICKS_PER_SECOND = 10;

export class VniTable {
  /** Rows in use are those with vni[row] ≥ 0. */
  readonly vni: Int32Array;
  readonly learning: Uint8Array;
  /** Ticks; 0: never. */
  readonly ageingTicks: Int32Array;
  readonly fdbLimit: Int32Array;
  readonly flood: Uint8Array;
  readonly accept: Uint8Array;
  readonly vlan: Uint8Array;
  /** Bytes of the largest IP packet of the overlay. */
  readonly overlayMtu: Int32Array;
  /** Bytes of the largest IP packet taken from the TAP, whatever the paths carry; 0: as large as they carry. */
  readonly packetMax: Int32Array;
  /** MAC of the TAP. */
  readonly macHigh: Int32Array;
  readonly macLow: Int32Array;
  /** Peer row that counts frames of sources that are not peers. */
  readonly otherIdx: Int32Array;
  /** VNI → row, open addressing; −1: free. Four times as many cells as rows, so probes are short. */
  readonly #index: Int32Array;
  readonly #mask: number;

  /** @param maxVnis a power of two */
  constructor(maxVnis: number) {
    this.vni = new Int32Array(maxVnis).fill(-1);
    this.learning = new Uint8Array(maxVnis);
    this.ageingTicks = new Int32Array(maxVnis);
    this.fdbLimit = new Int32Array(maxVnis);
    this.flood = new Uint8Array(maxVnis);
    this.accept = new Uint8Array(maxVnis);
    this.vlan = new Uint8Array(maxVnis);
    this.overlayMtu = new Int32Array(maxVnis);
    this.packetMax = new Int32Array(maxVnis);
    this.macHigh = new Int32Array(maxVnis);
    this.macLow = new Int32Array(maxVnis);
    this.otherIdx = new Int32Array(maxVnis).fill(-1);
    this.#index = new Int32Array(maxVnis * 4).fill(-1);
    this.#mask = maxVnis * 4 - 1;
  }

  /** @returns the row of a VNI, or −1 */
  find(vni: number): number {
    const index = this.#index;
    let cell = Math.imul(vni, 0x9e3779b1) >>> 8;
    for (;;) {
      cell &= this.#mask;
      const row = index[cell];
      if (row < 0 || this.vni[row] === vni) return row;
      cell++;
    }
  }

  /** Puts a VNI into a free row. The policy columns are the caller's to fill. */
  add(row: number, vni: number): void {
    this.vni[row] = vni;
    let cell = this.#home(row);
    while (this.#index[cell] >= 0) cell = (cell + 1) & this.#mask;
    this.#index[cell] = row;
  }

  /** Frees a row: nothing finds its VNI any more. What stood behind it in the index closes the gap. */
  remove(row: number): void {
    const index = this.#index;
    let gap = this.#home(row);
    while (index[gap] !== row) gap = (gap + 1) & this.#mask;
    for (let cell = (gap + 1) & this.#mask; index[cell] >= 0; cell = (cell + 1) & this.#mask) {
      // A row may fill the gap unless its home lies behind it, in probing order.
      if (((cell - this.#home(index[cell])) & this.#mask) < ((cell - gap) & this.#mask)) continue;
      index[gap] = index[cell];
      gap = cell;
    }
    index[gap] = -1;
    this.vni[row] = -1;
  }

  #home(row: number): number {
    return (Math.imul(this.vni[row], 0x9e3779b1) >>> 8) & this.#mask;
  }
}
