/**
 * Hash table from (tag, MAC) to (value, stamp). The tag is a 16-bit number of the caller (the FDB
 * uses the VNI row), not a VLAN tag.
 *
 * The table is one Int32Array with four words per slot, so that a lookup costs one cache line:
 *
 *     word 0  last four bytes of the MAC        word 2  value; 0: the slot is empty; −1: moved
 *     word 1  tag << 16 | first two bytes       word 3  stamp
 *
 * Open addressing, linear probing, at most three quarters full. The home slot is the *top* bits of
 * the hash, so entries lie in hash order at any capacity: a cursor that is a hash stays valid while
 * the table grows.
 *
 * Growth is incremental: a table of twice the size becomes current, and each insertion moves a few
 * slots of the old one. Until the old table is drained, a lookup that misses also searches it.
 *
 * Hostile input: MACs are chosen by remotes, so the hash is seeded. The table does not depend on
 * VXLAN. It has one writer and no locks. The memory is shared, so that the successor of a worker
 * that crashed finds the entries of its predecessor.
 */

export const SLOT_WORDS = 4;
const LOW = 0;
const KEY = 1;
const VALUE = 2;
const STAMP = 3;

const EMPTY = 0;
const MOVED = -1;

/** Words in front of the slots: the seed, and padding that keeps the slots on cache lines. */
const HEADER_WORDS = 16;
const SMALLEST_CAPACITY = 1024;

/** Slots of a table that fits into the cache (2 MB), which needs no prefetch. */
const CACHED_SLOTS = 131_072;
/** Words from a slot to the second slot after it. */
const TOUCH_AHEAD = 2 * SLOT_WORDS;

/**
 * Old slots moved with each insertion. Any integer above 1 drains them before the new table is
 * full.
 */
const MOVES_PER_INSERT = 8;

/** Allocates an empty table. @param seed random 32-bit integer */
export function createMacTableBuffer(seed: number, capacity = SMALLEST_CAPACITY): SharedArrayBuffer {
  const buffer = new SharedArrayBuffer((HEADER_WORDS + capacity * SLOT_WORDS) * 4);
  new Int32Array(buffer)[0] = seed;
  return buffer;
}

export class MacTable {
  /** Entries stored, in the current and the old table. */
  size = 0;
  /** Slots of the current table, a power of two. */
  capacity = 0;
  #buffers: SharedArrayBuffer[] = [];
  #slots: Int32Array = new Int32Array(0);
  #shift = 0;
  #seed = 0;
  #old: Int32Array = new Int32Array(0);
  #oldCapacity = 0;
  #oldShift = 0;
  /** Next slot of the old table to move; oldCapacity when it is drained. */
  #moved = 0;
  /** Receives the sum of the touched words, so that the compiler cannot omit the loads. */
  readonly #touched = new Int32Array(1);
  readonly #onGrow: (buffers: SharedArrayBuffer[]) => void;

  /**
   * @param buffers the current table and, during growth, the old one; their entries are kept
   * @param onGrow callback with the buffers in use, whenever they change
   */
  constructor(buffers: SharedArrayBuffer[], onGrow: (buffers: SharedArrayBuffer[]) => void) {
    this.#onGrow = onGrow;
    this.#adopt(buffers);
  }

  /** True while entries are still being moved from the old table. */
  get draining(): boolean {
    return this.#moved < this.#oldCapacity;
  }

  /** @returns position of the entry in the current table; −1 when there is none */
  find(tag: number, high: number, low: number): number {
    return this.findHashed(this.hash(tag, high, low), tag, high, low);
  }

  /** An int32 for `touch` and `findHashed`; it stays valid while the table grows. */
  hash(tag: number, high: number, low: number): number {
    return this.#hash((tag << 16) | high, low);
  }

  /**
   * Prefetches the slots at which `count` lookups begin. Successive lookups would wait for memory
   * each time: a lookup ends in branches on loaded data, and a misprediction discards the following
   * loads. The loads here are independent, and about ten are in flight at a time. This halves the
   * 60 ns of a lookup among 1 M entries (bench/micro/fdb.ts). A table that fits into the cache is
   * skipped.
   */
  touch(hashes: Int32Array, count: number): void {
    if (this.capacity <= CACHED_SLOTS) return;
    const slots = this.#slots;
    const shift = this.#shift;
    const mask = slots.length - 1;
    let sum = 0;
    for (let i = 0; i < count; i++) {
      const base = (hashes[i] >>> shift) << 2;
      // Probing may continue on the next cache line.
      sum ^= slots[base] ^ slots[(base + TOUCH_AHEAD) & mask];
    }
    this.#touched[0] = sum;
  }

  /** `find` with the hash of the same key. */
  findHashed(hash: number, tag: number, high: number, low: number): number {
    const key = (tag << 16) | high;
    const slots = this.#slots;
    const mask = this.capacity - 1;
    let position = hash >>> this.#shift;
    for (;;) {
      const base = position << 2;
      if (slots[base + VALUE] === EMPTY) break;
      if (slots[base + LOW] === low && slots[base + KEY] === key) return position;
      position = (position + 1) & mask;
    }
    return this.#moved < this.#oldCapacity ? this.#findOld(key, low) : -1;
  }

  /**
   * Stores a new entry. The caller has made sure that the key is absent and `value` > 0.
   * @returns its position
   */
  insert(tag: number, high: number, low: number, value: number, stamp: number): number {
    if (this.#moved < this.#oldCapacity) this.#moveSome(MOVES_PER_INSERT);
    else if ((this.size + 1) * 4 > this.capacity * 3) this.#grow();
    this.size++;
    return this.#place((tag << 16) | high, low, value, stamp);
  }

  /** Empties a slot and closes the gap. The next entry possibly moves to `position`. */
  remove(position: number): void {
    const slots = this.#slots;
    const mask = this.capacity - 1;
    let gap = position;
    let next = position;
    for (;;) {
      next = (next + 1) & mask;
      const from = next << 2;
      if (slots[from + VALUE] === EMPTY) break;
      const home = this.#hash(slots[from + KEY], slots[from + LOW]) >>> this.#shift;
      // An entry can fill the gap unless its home slot comes after the gap in probing order.
      if (((next - home) & mask) < ((next - gap) & mask)) continue;
      slots.copyWithin(gap << 2, from, from + SLOT_WORDS);
      gap = next;
    }
    slots[(gap << 2) + VALUE] = EMPTY;
    this.size--;
  }

  /** 0 when the slot is empty. */
  value(position: number): number {
    return this.#slots[(position << 2) + VALUE];
  }

  setValue(position: number, value: number): void {
    this.#slots[(position << 2) + VALUE] = value;
  }

  stamp(position: number): number {
    return this.#slots[(position << 2) + STAMP];
  }

  setStamp(position: number, stamp: number): void {
    this.#slots[(position << 2) + STAMP] = stamp;
  }

  tag(position: number): number {
    return this.#slots[(position << 2) + KEY] >>> 16;
  }

  macHigh(position: number): number {
    return this.#slots[(position << 2) + KEY] & 0xffff;
  }

  macLow(position: number): number {
    return this.#slots[(position << 2) + LOW];
  }

  /** Hash of the entry at a position, 0 … 2³² − 1: its place in the order of `collect`. */
  hashAt(position: number): number {
    const base = position << 2;
    return this.#hash(this.#slots[base + KEY], this.#slots[base + LOW]) >>> 0;
  }

  /**
   * Returns the positions of all entries whose hash lies in [from, to), in hash order. Entries of
   * the old table in that range are moved first, so the result is complete. Not called on the hot
   * path, because it allocates.
   */
  collect(from: number, to: number): number[] {
    this.#moveRange(from, to);
    const found: number[] = [];
    const mask = this.capacity - 1;
    let position = from >>> this.#shift;
    const lastHome = (to - 1) >>> this.#shift;
    for (let steps = 0; steps < this.capacity; steps++) {
      const inWindow = steps <= lastHome - (from >>> this.#shift);
      if (this.value(position) !== EMPTY) {
        const hash = this.hashAt(position);
        if (hash >= from && hash < to) found.push(position);
      } else if (!inWindow) break;
      position = (position + 1) & mask;
    }
    return found.sort((a, b) => this.hashAt(a) - this.hashAt(b));
  }

  /**
   * Moves up to `count` slots of the old table. Housekeeping calls this, so that the old table is
   * drained even if no entry is inserted.
   */
  moveSome(count: number): void {
    if (this.#moved < this.#oldCapacity) this.#moveSome(count);
  }

  #adopt(buffers: SharedArrayBuffer[]): void {
    this.#setCurrent(buffers[0]);
    if (buffers.length > 1) this.#setOld(buffers[1]);
    this.#buffers = buffers;
    for (let i = 0; i < this.capacity; i++) if (this.value(i) > 0) this.size++;
    for (let i = 0; i < this.#oldCapacity; i++) if (this.#old[(i << 2) + VALUE] > 0) this.size++;
  }

  #setCurrent(buffer: SharedArrayBuffer): void {
    this.#slots = new Int32Array(buffer, HEADER_WORDS * 4);
    this.#seed = new Int32Array(buffer, 0, 1)[0];
    this.capacity = this.#slots.length / SLOT_WORDS;
    this.#shift = Math.clz32(this.capacity - 1);
  }

  #setOld(buffer: SharedArrayBuffer): void {
    this.#old = new Int32Array(buffer, HEADER_WORDS * 4);
    this.#oldCapacity = this.#old.length / SLOT_WORDS;
    this.#oldShift = Math.clz32(this.#oldCapacity - 1);
    this.#moved = 0;
  }

  #grow(): void {
    const old = this.#buffers[0];
    const buffer = createMacTableBuffer(this.#seed, this.capacity * 2);
    this.#setOld(old);
    this.#setCurrent(buffer);
    this.#buffers = [buffer, old];
    this.#onGrow(this.#buffers);
  }

  #moveSome(count: number): void {
    for (let i = 0; i < count && this.#moved < this.#oldCapacity; i++) this.#moveSlot(this.#moved++);
    if (this.#moved === this.#oldCapacity) this.#drained();
  }

  #drained(): void {
    this.#old = new Int32Array(0);
    this.#oldCapacity = 0;
    this.#moved = 0;
    this.#buffers = [this.#buffers[0]];
    this.#onGrow(this.#buffers);
  }

  #moveSlot(position: number): number {
    const base = position << 2;
    const old = this.#old;
    const value = old[base + VALUE];
    if (value === EMPTY || value === MOVED) return -1;
    old[base + VALUE] = MOVED;
    return this.#place(old[base + KEY], old[base + LOW], value, old[base + STAMP]);
  }

  #moveRange(from: number, to: number): void {
    if (this.#moved === this.#oldCapacity) return;
    const mask = this.#oldCapacity - 1;
    const homes = ((to - 1) >>> this.#oldShift) - (from >>> this.#oldShift);
    let position = from >>> this.#oldShift;
    for (let steps = 0; steps < this.#oldCapacity; steps++) {
      if (this.#old[(position << 2) + VALUE] === EMPTY && steps > homes) break;
      this.#moveSlot(position);
      position = (position + 1) & mask;
    }
  }

  #findOld(key: number, low: number): number {
    const old = this.#old;
    const mask = this.#oldCapacity - 1;
    let position = this.#hash(key, low) >>> this.#oldShift;
    for (let steps = 0; steps <= mask; steps++) {
      const base = position << 2;
      const value = old[base + VALUE];
      if (value === EMPTY) return -1;
      if (value !== MOVED && old[base + LOW] === low && old[base + KEY] === key)
        return this.#moveSlot(position);
      position = (position + 1) & mask;
    }
    return -1;
  }

  #place(key: number, low: number, value: number, stamp: number): number {
    const slots = this.#slots;
    const mask = this.capacity - 1;
    let position = this.#hash(key, low) >>> this.#shift;
    while (slots[(position << 2) + VALUE] !== EMPTY) position = (position + 1) & mask;
    const base = position << 2;
    slots[base + LOW] = low;
    slots[base + KEY] = key;
    slots[base + VALUE] = value;
    slots[base + STAMP] = stamp;
    return position;
  }

  /**
   * An int32: a uint32 above 2^31 is boxed when the call is not inlined. Two multiplications mix
   * every input bit into the top bits (murmur3's finaliser).
   */
  #hash(key: number, low: number): number {
    let h = Math.imul(low ^ this.#seed, 0xcc9e2d51) ^ Math.imul(key + this.#seed, 0x9e3779b1);
    h = Math.imul(h ^ (h >>> 16), 0x85ebca6b);
    h = Math.imul(h ^ (h >>> 13), 0xc2b2ae35);
    return h ^ (h >>> 16);
  }
}
