/**
 * FIFO queue of the VNIs that have a turn (deficit round robin).
 *
 * A VNI whose TAP is ready or that has a backlog is in the queue once. A round may end before every
 * VNI in the queue has had its turn; the next round begins with the VNI that has waited longest.
 * One call of epoll reports a limited number of ready TAPs. Later calls report the other TAPs
 * (epoll(7), round robin), so every ready TAP gets a turn.
 */
export class Turns {
  /** VNIs in the queue. */
  count = 0;
  readonly #ring: Int32Array;
  readonly #queued: Uint8Array;
  readonly #mask: number;
  #head = 0;

  /** @param maxVnis rows of the VNI table, a power of two */
  constructor(maxVnis: number) {
    this.#ring = new Int32Array(maxVnis);
    this.#queued = new Uint8Array(maxVnis);
    this.#mask = maxVnis - 1;
  }

  /** Appends a VNI that is not in the queue yet. */
  add(vniIdx: number): void {
    if (this.#queued[vniIdx] !== 0) return;
    this.#queued[vniIdx] = 1;
    this.#ring[(this.#head + this.count++) & this.#mask] = vniIdx;
  }

  /** Removes and returns the first VNI. The queue must not be empty. */
  next(): number {
    const vniIdx = this.#ring[this.#head];
    this.#head = (this.#head + 1) & this.#mask;
    this.#queued[vniIdx] = 0;
    this.count--;
    return vniIdx;
  }

  /** Removes a VNI. The other VNIs keep their order. */
  remove(vniIdx: number): void {
    if (this.#queued[vniIdx] === 0) return;
    for (let left = this.count; left > 0; left--) {
      const first = this.next();
      if (first !== vniIdx) this.add(first);
    }
  }
}
