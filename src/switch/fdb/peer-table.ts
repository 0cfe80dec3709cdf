/**
 * Remote VTEPs, one row per (VNI, peer).
 *
 * A row has 32 packed bytes that the shim reads when it sends (`struct peer_row`):
 *
 *     word 0    family | port << 16          word 5  scope id
 *     word 1–4  address in network order     word 6  vniIdx     word 7  flags
 *
 * Received datagrams have source rows of the same form; `findSource` returns the peer of a VNI, by
 * address only: the source port is flow entropy.
 *
 * Configured peers have the rows that the main thread assigns. With `--accept any`, a stranger
 * (a source that is not configured) has a row at the end of the table while FDB entries point at
 * that row. The number of these rows is fixed; `strangers.ts` allocates and evicts them. Strangers
 * share the counters of the VNI's `other` row, and BUM frames are never sent to them.
 */
import { PEER_HELD, ROW_SHIFT } from '../../abi/peer-row.js';
import { Strangers } from './strangers.js';

const FAMILY_PORT = 0;
const ADDRESS = 1;
const SCOPE = 5;
const VNI = 6;
const FLAGS = 7;
const ADDRESS_LEN = 16;

const CONFIGURED = 1;
const LEARNED = 2;
/**
 * PEER_TUNNEL of the shim: superframes for the peer may leave whole. Set for configured peers only.
 */
const TUNNEL = 4;

/** Default number of rows of the VNI table. */
const MAX_VNIS = 4096;

const FREE = -1;
const DELETED = -2;

export class PeerTable {
  /** The packed rows, in the form of the shim. */
  readonly bytes: Uint8Array;
  /**
   * Largest frame that goes to the peer without further checks, bytes; 0 while its path is unknown.
   * Computed by `path-mtu.ts`. It is a column here because removing a row must reset it.
   */
  readonly frameLimit: Int32Array;
  /** Allocation of the rows of sources that are not configured. */
  readonly strangers: Strangers;
  readonly #words: Int32Array;
  readonly #capacity: number;
  readonly #seed: number;
  #index = new Int32Array(64).fill(FREE);
  /** Cells of the index that are not FREE. */
  #used = 0;
  /** Row of the first learned peer: those before it are configured. */
  readonly #firstLearned: number;
  /** The `other` row of the VNI of each learned peer. */
  readonly #otherIdx: Int32Array;
  #tunnelled = new Int32Array(0);
  /** Addresses of this host, as rows. */
  #own: Int32Array = new Int32Array(0);
  /** Hashes of these addresses: a host can have thousands, and remotes choose the source. */
  readonly #ownHashes = new Set<number>();

  /**
   * @param learnedRows rows at the end of the table for sources that are not configured
   * @param seed random 32-bit integer: sources are chosen by remotes, so their hash is seeded
   * @param maxVnis rows of the VNI table
   */
  constructor(buffer: SharedArrayBuffer, learnedRows: number, seed: number, maxVnis = MAX_VNIS) {
    this.bytes = new Uint8Array(buffer);
    this.#words = new Int32Array(buffer);
    this.#capacity = this.#words.length >> ROW_SHIFT;
    this.#firstLearned = this.#capacity - learnedRows;
    this.#otherIdx = new Int32Array(learnedRows);
    this.frameLimit = new Int32Array(this.#capacity);
    this.strangers = new Strangers(this.#firstLearned, learnedRows, maxVnis);
    this.#seed = seed;
    this.#forgetLearned();
  }

  /**
   * Writes a configured peer's row. `addresses` has 16 bytes from `addressOff` on, IPv4 in the
   * first four.
   */
  add(
    peerIdx: number,
    vniIdx: number,
    family: number,
    addresses: Uint8Array,
    port: number,
    scopeId: number,
    addressOff = 0,
  ): void {
    const base = peerIdx << ROW_SHIFT;
    const to = (base + ADDRESS) * 4;
    for (let i = 0; i < ADDRESS_LEN; i++) this.bytes[to + i] = addresses[addressOff + i];
    this.#words[base + FAMILY_PORT] = family | (port << 16);
    this.#words[base + SCOPE] = scopeId;
    this.#words[base + VNI] = vniIdx;
    this.#words[base + FLAGS] = CONFIGURED;
    this.#remember(peerIdx);
  }

  /** Removes a row from the index and clears it, so that the shim refuses to send there. */
  remove(peerIdx: number): void {
    this.#forget(peerIdx);
    const base = peerIdx << ROW_SHIFT;
    this.#words.fill(0, base, base + (1 << ROW_SHIFT));
    this.frameLimit[peerIdx] = 0;
  }

  /**
   * Finds the peer of a VNI that a datagram came from.
   * @param sources source rows as words @param row index of the source row
   * @returns row of the peer; −1 when the source is no peer
   */
  findSource(vniIdx: number, sources: Int32Array, row: number): number {
    const words = this.#words;
    const source = row << ROW_SHIFT;
    const mask = this.#index.length - 1;
    let cell = hashAddress(sources, source, vniIdx, this.#seed) & mask;
    for (;;) {
      const peerIdx = this.#index[cell];
      if (peerIdx === FREE) return -1;
      if (peerIdx !== DELETED) {
        const peer = peerIdx << ROW_SHIFT;
        if (
          words[peer + ADDRESS] === sources[source + ADDRESS] &&
          words[peer + VNI] === vniIdx &&
          words[peer + ADDRESS + 1] === sources[source + ADDRESS + 1] &&
          words[peer + ADDRESS + 2] === sources[source + ADDRESS + 2] &&
          words[peer + ADDRESS + 3] === sources[source + ADDRESS + 3] &&
          words[peer + SCOPE] === sources[source + SCOPE] &&
          (words[peer] & 0xffff) === (sources[source] & 0xffff)
        )
          return peerIdx;
      }
      cell = (cell + 1) & mask;
    }
  }

  /**
   * Allocates a row for a stranger. Frames for the stranger are sent to `port`, as in kernel vxlan,
   * because its source port is flow entropy.
   * @returns the row; −1 for an address of this host, and when the VNI gets no row now
   */
  learnSource(vniIdx: number, sources: Int32Array, row: number, port: number, otherIdx: number): number {
    if (this.#isOwn(sources, row << ROW_SHIFT)) return -1;
    const peerIdx = this.strangers.admit(vniIdx);
    if (peerIdx < 0) return -1;
    const source = row << ROW_SHIFT;
    const base = peerIdx << ROW_SHIFT;
    for (let word = ADDRESS; word <= SCOPE; word++) this.#words[base + word] = sources[source + word];
    this.#words[base + FAMILY_PORT] = (sources[source] & 0xffff) | (port << 16);
    this.#words[base + VNI] = vniIdx;
    this.#words[base + FLAGS] = LEARNED;
    this.#otherIdx[peerIdx - this.#firstLearned] = otherIdx;
    this.#remember(peerIdx);
    return peerIdx;
  }

  /** Row that counts a peer's frames: its own, or the VNI's `other` for a learned one. */
  accountIdx(peerIdx: number): number {
    return peerIdx < this.#firstLearned ? peerIdx : this.#otherIdx[peerIdx - this.#firstLearned];
  }

  isLearned(peerIdx: number): boolean {
    return this.#words[(peerIdx << ROW_SHIFT) + FLAGS] === LEARNED;
  }

  /** Returns the rows of a VNI's learned peers. Not called on the hot path. */
  learnedOf(vniIdx: number): number[] {
    const rows: number[] = [];
    for (let peerIdx = this.#firstLearned; peerIdx < this.#capacity; peerIdx++)
      if (this.isLearned(peerIdx) && this.vniIdx(peerIdx) === vniIdx) rows.push(peerIdx);
    return rows;
  }

  /** Frees the row of a learned peer that no FDB entry points at. */
  releaseLearned(peerIdx: number): void {
    this.remove(peerIdx);
    this.strangers.release(peerIdx);
  }

  /**
   * Evicts a stranger, if a row is wanted. `findSource` then no longer returns its row. Frames that
   * match an FDB entry of the stranger are still sent to its address; the row is freed with the
   * last of these entries.
   * @returns false when no stranger is evicted now
   */
  evictStranger(tick: number): boolean {
    const peerIdx = this.strangers.evictOne(tick);
    if (peerIdx < 0) return false;
    this.#forget(peerIdx);
    return true;
  }

  /**
   * Sets the addresses of this host, in place of the previous ones. A stranger that has one of them is
   * evicted.
   * @param rows packed addresses as words
   */
  setOwn(rows: Int32Array): void {
    this.#own = rows;
    this.#ownHashes.clear();
    for (let base = 0; base < rows.length; base += 1 << ROW_SHIFT)
      this.#ownHashes.add(hashAddress(rows, base, 0, this.#seed));
    for (let peerIdx = this.#firstLearned; peerIdx < this.#capacity; peerIdx++) {
      if (!this.isLearned(peerIdx) || this.strangers.isEvicted(peerIdx)) continue;
      if (!this.#isOwn(this.#words, peerIdx << ROW_SHIFT)) continue;
      this.strangers.evict(peerIdx);
      this.#forget(peerIdx);
    }
  }

  /** @param base first word of a row */
  #isOwn(words: Int32Array, base: number): boolean {
    const own = this.#own;
    if (!this.#ownHashes.has(hashAddress(words, base, 0, this.#seed))) return false;
    for (let at = 0; at < own.length; at += 1 << ROW_SHIFT) {
      let word = ADDRESS;
      while (word <= SCOPE && own[at + word] === words[base + word]) word++;
      if (word > SCOPE && (own[at] & 0xffff) === (words[base] & 0xffff)) return true;
    }
    return false;
  }

  /** True for a row that holds a peer. */
  isUsed(peerIdx: number): boolean {
    return this.#words[(peerIdx << ROW_SHIFT) + FLAGS] !== 0;
  }

  /** True while the row is that of a configured peer of this VNI. */
  isConfigured(peerIdx: number, vniIdx: number): boolean {
    const base = peerIdx << ROW_SHIFT;
    return (this.#words[base + FLAGS] & CONFIGURED) !== 0 && this.#words[base + VNI] === vniIdx;
  }

  /** Sets the configured peers whose superframes may leave whole, in place of the previous ones. */
  setTunnelled(peers: Int32Array): void {
    for (const peerIdx of this.#tunnelled) this.#words[(peerIdx << ROW_SHIFT) + FLAGS] &= ~TUNNEL;
    this.#tunnelled = peers.filter(
      (peerIdx) => (this.#words[(peerIdx << ROW_SHIFT) + FLAGS] & CONFIGURED) !== 0,
    );
    for (const peerIdx of this.#tunnelled) this.#words[(peerIdx << ROW_SHIFT) + FLAGS] |= TUNNEL;
  }

  /** True while superframes for the peer may leave whole. */
  isTunnelled(peerIdx: number): boolean {
    return (this.#words[(peerIdx << ROW_SHIFT) + FLAGS] & TUNNEL) !== 0;
  }

  /** Holds a configured peer: nothing is sent to it until it is released. */
  hold(peerIdx: number, isHeld: boolean): void {
    const flags = (peerIdx << ROW_SHIFT) + FLAGS;
    if (isHeld) this.#words[flags] |= PEER_HELD;
    else this.#words[flags] &= ~PEER_HELD;
  }

  /** IPv4 address as in the row, one word. */
  ipv4(peerIdx: number): number {
    return this.#words[(peerIdx << ROW_SHIFT) + ADDRESS];
  }

  /**
   * True for a row that this worker added; false for a row that only its predecessor wrote. Not
   * called on the hot path.
   */
  isKnown(peerIdx: number): boolean {
    return this.isUsed(peerIdx) && this.#cellOf(peerIdx) >= 0;
  }

  vniIdx(peerIdx: number): number {
    return this.#words[(peerIdx << ROW_SHIFT) + VNI];
  }

  /** AF_INET or AF_INET6. */
  family(peerIdx: number): number {
    return this.#words[peerIdx << ROW_SHIFT] & 0xffff;
  }

  port(peerIdx: number): number {
    return this.#words[peerIdx << ROW_SHIFT] >>> 16;
  }

  scopeId(peerIdx: number): number {
    return this.#words[(peerIdx << ROW_SHIFT) + SCOPE];
  }

  /** Copies family, port, address and scope to a row in other memory. @param base its first word */
  copyAddress(peerIdx: number, words: Int32Array, base: number): void {
    const from = peerIdx << ROW_SHIFT;
    for (let word = FAMILY_PORT; word <= SCOPE; word++) words[base + word] = this.#words[from + word];
  }

  /** An int32 for a peer's VNI and address, equal in every table with the same seed. */
  fingerprint(peerIdx: number): number {
    return this.#home(peerIdx);
  }

  /** Returns a copy of the 16 address bytes. Not called on the hot path. */
  address(peerIdx: number): Uint8Array {
    const from = ((peerIdx << ROW_SHIFT) + ADDRESS) * 4;
    return this.bytes.slice(from, from + ADDRESS_LEN);
  }

  /** Clears the learned rows of a predecessor. */
  #forgetLearned(): void {
    for (let peerIdx = this.#firstLearned; peerIdx < this.#capacity; peerIdx++)
      if (this.isUsed(peerIdx)) this.#words.fill(0, peerIdx << ROW_SHIFT, (peerIdx + 1) << ROW_SHIFT);
  }

  #forget(peerIdx: number): void {
    const cell = this.#cellOf(peerIdx);
    if (cell >= 0) this.#index[cell] = DELETED;
  }

  #remember(peerIdx: number): void {
    if ((this.#used + 1) * 2 > this.#index.length) this.#rebuild();
    const mask = this.#index.length - 1;
    let cell = this.#home(peerIdx) & mask;
    while (this.#index[cell] !== FREE) cell = (cell + 1) & mask;
    this.#index[cell] = peerIdx;
    this.#used++;
  }

  /** Rebuilds the index without deleted rows; afterwards it is at most a quarter full. */
  #rebuild(): void {
    const before = this.#index;
    let rows = 0;
    for (let cell = 0; cell < before.length; cell++) if (before[cell] >= 0) rows++;
    let length = 64;
    while (length < rows * 4) length *= 2;
    this.#index = new Int32Array(length).fill(FREE);
    this.#used = 0;
    for (let cell = 0; cell < before.length; cell++) if (before[cell] >= 0) this.#remember(before[cell]);
  }

  /** @returns cell of the index that holds this row; −1 when no cell holds it */
  #cellOf(peerIdx: number): number {
    const mask = this.#index.length - 1;
    for (let cell = this.#home(peerIdx) & mask; this.#index[cell] !== FREE; cell = (cell + 1) & mask) {
      if (this.#index[cell] === peerIdx) return cell;
    }
    return -1;
  }

  #home(peerIdx: number): number {
    return hashAddress(this.#words, peerIdx << ROW_SHIFT, this.vniIdx(peerIdx), this.#seed);
  }
}

function hashAddress(words: Int32Array, base: number, vniIdx: number, seed: number): number {
  let h = Math.imul(words[base + ADDRESS] ^ Math.imul(vniIdx + seed, 0x9e3779b1), 0x85ebca6b);
  h = Math.imul(h ^ words[base + ADDRESS + 1] ^ (h >>> 15), 0xc2b2ae35);
  h = Math.imul(h ^ words[base + ADDRESS + 2] ^ (h >>> 13), 0x27d4eb2f);
  h = Math.imul(h ^ words[base + ADDRESS + 3] ^ (h >>> 16), 0x165667b1);
  return h ^ (h >>> 15);
}
