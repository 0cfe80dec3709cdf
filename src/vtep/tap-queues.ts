/**
 * Counts frames that the kernel drops because a TAP queue is full.
 *
 * The count of a VNI is the increase of `tx_dropped` of its device since the VNI came up. It is
 * stored in a cell of the VNI's counter row that only this module writes. `tx_dropped` is read once
 * a second, with one netlink request of about 10 µs per TAP. With many TAPs the interval is longer.
 */

import type { Shim } from '../abi/binding.js';
import type { Handle } from '../controller/handle.js';
import { V_TAP_QUEUE_DROPPED } from '../exchange/counters.js';
import type { OverlayDevice } from '../host/overlay-device.js';

const CHECK_MS = 1000;
/** Minimum pause after a check, as a multiple of its duration. */
const REST_FACTOR = 20;

type Counted = Pick<Handle, 'vnis' | 'counters'>;

type Counts = Pick<OverlayDevice, 'name' | 'index' | 'queueDroppedBefore'>;

interface Queue {
  /** Interface index. */
  readonly index: number;
  /** `tx_dropped` at the last reading. */
  last: number;
  /** Drops since the VNI came up. */
  total: number;
  /** True once the VNI has been listed. If a later list lacks the VNI, it was removed. */
  listed: boolean;
}

export class TapQueues {
  readonly #shim: Pick<Shim, 'deviceTxDropped'>;
  readonly #queues = new Map<string, Queue>();
  #timer: NodeJS.Timeout | undefined;

  constructor(shim: Pick<Shim, 'deviceTxDropped'>) {
    this.#shim = shim;
  }

  /** Registers opened devices; the counts of their VNIs start at zero. */
  opened(devices: readonly Counts[]): void {
    for (const { name, index, queueDroppedBefore } of devices)
      this.#queues.set(name, { index, last: queueDroppedBefore, total: 0, listed: false });
  }

  /** Registers a TAP that replaces a deleted one; the count of its VNI goes on. */
  reopened({ name, index, queueDroppedBefore }: Counts): void {
    const { total = 0 } = this.#queues.get(name) ?? {};
    this.#queues.set(name, { index, last: queueDroppedBefore, total, listed: false });
  }

  /** Checks periodically from now on. The data plane must be running. */
  start(handle: Counted): void {
    const beganMs = performance.now();
    this.check(handle);
    const tookMs = performance.now() - beganMs;
    this.#timer = setTimeout(() => this.start(handle), Math.max(CHECK_MS, REST_FACTOR * tookMs));
  }

  stop(): void {
    clearTimeout(this.#timer);
  }

  check(handle: Counted): void {
    const [counters] = handle.counters;
    const present = new Set<string>();
    for (const { tap, vniIdx } of handle.vnis()) {
      const queue = this.#queues.get(tap);
      if (queue === undefined) continue;
      present.add(tap);
      queue.listed = true;
      this.#update(queue);
      counters.cells[counters.vniBase(vniIdx) + V_TAP_QUEUE_DROPPED] = queue.total;
    }
    for (const [tap, { listed }] of this.#queues) if (listed && !present.has(tap)) this.#queues.delete(tap);
  }

  /**
   * Adds the drops since the last reading. The count of a recreated device restarts at zero; a
   * missing device is skipped.
   */
  #update(queue: Queue): void {
    const dropped = this.#shim.deviceTxDropped(queue.index);
    if (dropped < 0) return;
    queue.total += dropped < queue.last ? dropped : dropped - queue.last;
    queue.last = dropped;
  }
}
