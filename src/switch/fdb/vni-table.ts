/**
 * VNIs of this VTEP: row and policy of each.
 *
 * Stored in columns, so that a policy is one load per frame. The main thread assigns the rows; the
 * data-plane thread is the only writer.
 */

export const ACCEPT_PEERS = 0;
export const ACCEPT_ANY = 1;
export const VLAN_PASS = 0;
export const VLAN_STRIP = 1;
export const VLAN_DROP = 2;

/** Ticks per second of the stamps of FDB entries. An entry is rewritten at most once per tick. */
export const TICKS_PER_SECOND = 10;

export class VniTable {
  /** VNI of each row; −1 for a free row. */
  readonly vni: Int32Array;
  readonly learning: Uint8Array;
  /** Ageing time, ticks; 0: never. */
  readonly ageingTicks: Int32Array;
  readonly fdbLimit: Int32Array;
  readonly flood: Uint8Array;
  readonly accept: Uint8Array;
  readonly vlan: Uint8Array;
  /** Largest IP packet of the overlay, bytes. */
  readonly overlayMtu: Int32Array;
  /** Configured limit of IP packets from the TAP (`--mtu`), bytes; 0: the path alone decides. */
  readonly packetMax: Int32Array;
  /** MAC of the TAP. */
  readonly macHigh: Int32Array;
  readonly macLow: Int32Array;
  /** Peer row that counts frames of sources that are not peers. */
  readonly otherIdx: Int32Array;
  /**
   * VNI → row, open addressing; −1: free. Four times as many cells as rows, so probes are short.
   */
  readonly #index: Int32Array;
  readonly #mask: number;

  /** @param maxVnis rows, a power of two */
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

  /** @returns the row of a VNI; −1 when it is not configured */
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

  /**
   * Puts a VNI into a free row. The caller fills the policy columns. Frames do not find the VNI
   * before `publish`.
   */
  add(row: number, vni: number): void {
    this.vni[row] = vni;
  }

  /** Makes the VNI of a row known to `find`. */
  publish(row: number): void {
    let cell = this.#home(row);
    while (this.#index[cell] >= 0) cell = (cell + 1) & this.#mask;
    this.#index[cell] = row;
  }

  /** Frees a row and makes its VNI unknown. */
  remove(row: number): void {
    this.#withdraw(row);
    this.vni[row] = -1;
  }

  /** Removes a published row from the index. Later cells move to close the gap. */
  #withdraw(row: number): void {
    const index = this.#index;
    let gap = this.#home(row);
    while (index[gap] !== row) {
      if (index[gap] < 0) return;
      gap = (gap + 1) & this.#mask;
    }
    for (let cell = (gap + 1) & this.#mask; index[cell] >= 0; cell = (cell + 1) & this.#mask) {
      // A row can fill the gap unless its home lies behind the gap, in probing order.
      if (((cell - this.#home(index[cell])) & this.#mask) < ((cell - gap) & this.#mask)) continue;
      index[gap] = index[cell];
      gap = cell;
    }
    index[gap] = -1;
  }

  #home(row: number): number {
    return (Math.imul(this.vni[row], 0x9e3779b1) >>> 8) & this.#mask;
  }
}
