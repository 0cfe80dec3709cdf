/**
 * Lists of peer rows per VNI. The flood list says who gets a copy of a broadcast, multicast or unknown unicast
 * frame (head-end replication). Split horizon is data: a frame of the overlay goes to the peers listed here, a
 * frame of the underlay goes to the TAP alone and is never looked up here. Lists are made anew when peers
 * change, never on a frame's way.
 */

export class PeerLists {
  readonly #lists: Int32Array[];

  constructor(maxVnis: number) {
    this.#lists = new Array<Int32Array>(maxVnis).fill(EMPTY);
  }

  /** Peer rows of a VNI. Borrowed until peers change. */
  of(vniIdx: number): Int32Array {
    return this.#lists[vniIdx];
  }

  /** `front`: before the others. Peers of one family side by side share a system call when flooded to. */
  add(vniIdx: number, peerIdxs: ArrayLike<number>, front: boolean): void {
    const list = this.#lists[vniIdx];
    const longer = new Int32Array(list.length + peerIdxs.length);
    longer.set(list, front ? peerIdxs.length : 0);
    longer.set(peerIdxs, front ? 0 : list.length);
    this.#lists[vniIdx] = longer;
  }

  remove(vniIdx: number, peerIdx: number): void {
    this.#lists[vniIdx] = this.#lists[vniIdx].filter((member) => member !== peerIdx);
  }
}

const EMPTY = new Int32Array(0);
