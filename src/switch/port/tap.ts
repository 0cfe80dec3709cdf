/**
 * Overlay port: TAP devices through the shim.
 *
 * Frames are read back to back into one region of the arena, each using only its own length, so
 * that the used memory stays in the cache. The region is reused after each round (`reset`). The
 * main thread opens and closes the devices; this port holds only their descriptors.
 */
import type { Batch } from '../../abi/batch.js';
import type { Shim } from '../../abi/binding.js';
import { BACKLOG_LEN, OVERLAY_REGION_LEN, SLOT_MAX_LEN, VXLAN_HEADROOM } from '../../abi/limits.js';
import type { OverlayPort } from './port.js';

/** Kinds of segments the shim may merge when it writes. */
export const MERGE_TCP = 1;
export const MERGE_UDP = 2;

export class TapPort implements OverlayPort {
  readonly arena = new Uint8Array(OVERLAY_REGION_LEN + BACKLOG_LEN);
  /** TAP descriptor per VNI row; −1: none. */
  readonly fds: Int32Array;
  /** MERGE_* bit mask: flows whose segments are written as superframes. */
  merge: number;
  readonly #shim: Shim;
  /**
   * MERGE_* bit masks of merged superframes. [0]: kinds that the kernel accepted. [1]: kinds that
   * it refused, while it accepted their segments one by one.
   */
  readonly #result = new Int32Array(2);
  #free = 0;

  /** @param merge initial value of `merge` */
  constructor(shim: Shim, maxVnis: number, merge: number) {
    this.#shim = shim;
    this.merge = merge;
    this.fds = new Int32Array(maxVnis).fill(-1);
  }

  read(batch: Batch, vniIdx: number): number {
    const start = batch.count;
    const got = this.#shim.tapReadBatch(
      this.fds[vniIdx],
      this.arena,
      batch.bytes,
      start,
      vniIdx,
      this.#free,
      OVERLAY_REGION_LEN,
      VXLAN_HEADROOM,
      SLOT_MAX_LEN,
    );
    if (got <= 0) return got;
    batch.count = start + got;
    this.#free = batch.off[batch.count - 1] + batch.len[batch.count - 1];
    return got;
  }

  reset(): void {
    this.#free = 0;
  }

  write(batch: Batch, arena: Uint8Array): number {
    return this.#shim.tapWriteBatch(this.fds, arena, batch.bytes, batch.count, this.merge, this.#result);
  }

  /**
   * MERGE_* bit mask of the kinds of superframes that the kernel has refused and never accepted. A
   * kernel that has ever accepted a kind supports that kind. A later refusal concerns a single
   * superframe, which a remote has possibly crafted.
   */
  get refused(): number {
    return this.#result[1] & ~this.#result[0];
  }
}
