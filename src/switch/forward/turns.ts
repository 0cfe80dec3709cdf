/**
 * FIFO queue of the VNIs whose TAPs are ready or whose backlog waits: deficit round robin, each once. Not all of them may
 * have their turn in one round, so the next round begins with the one that has waited longest. epoll hands out the
 * ready TAPs beyond its limit in later calls (epoll(7), round robin), so each of them comes to stand here.
 */
export class Turns {
  /** VNIs in the queue. */
  count = 0;
  readonly #ring: Int32Array;
  readonly #queued: Uint8Array;
  readonly #mask: number;
  #head = 0;

  /** @param maxVnis a power of two */
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

  /** Takes the first one. The queue is not empty. */
  next(): number {
    const vniIdx = this.#ring[this.#head];
    this.#head = (this.#head + 1) & this.#mask;
    this.#queued[vniIdx] = 0;
    this.count--;
    return vniIdx;
  }

  /** A VNI that is removed has no turn. The others keep their order. */
  remove(vniIdx: number): void {
    if (this.#queued[vniIdx] === 0) return;
    for (let left = this.count; left > 0; left--) {
      const first = this.next();
      if (first !== vniIdx) this.add(first);
    }
  }
}
