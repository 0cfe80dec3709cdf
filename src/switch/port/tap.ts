/**
 * The overlay's TAP devices, through the shim. Frames are read one behind the other into one region of the arena,
 * each taking only the room it needs, so that what is in use stays in the cache; the region is used again after
 * each round (`reset`). Devices are opened and closed by the main thread; here are only their descriptors.
 */
import type { Batch } from '../../abi/batch.js';
import type { Shim } from '../../abi/binding.js';
import { BACKLOG_LEN, OVERLAY_REGION_LEN, SLOT_MAX_LEN, VXLAN_HEADROOM } from '../../abi/limits.js';
import type { OverlayPort } from './port.js';

/** What the shim may merge when it writes. */
export const MERGE_TCP = 1;
export const MERGE_UDP = 2;

export class TapPort implements OverlayPort {
  readonly arena = new Uint8Array(OVERLAY_REGION_LEN + BACKLOG_LEN);
  /** TAP descriptor by VNI row; −1: none. */
  readonly fds: Int32Array;
  /** Flows whose segments are written as superframes: MERGE_, or-ed. */
  merge: number;
  readonly #shim: Shim;
  /** What the kernel has made of those, MERGE_ or-ed: took, refused although it took their segments. */
  readonly #result = new Int32Array(2);
  #free = 0;

  /** @param merge what `merge` is at first */
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
   * Kinds of superframes, MERGE_ or-ed, that the kernel has refused and never taken. What it took once it knows: a
   * refusal is then about that one superframe, which a remote may have had a hand in.
   */
  get refused(): number {
    return this.#result[1] & ~this.#result[0];
  }
}
