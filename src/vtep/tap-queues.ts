/**
 * Counts what the kernel drops at the queues of TAPs because frames are read too slowly: `tx_dropped` of each device, since its
 * VNI came up, into a cell of the VNI's counter row that is this module's alone. Asked once a second, one netlink question
 * of some 10 µs a TAP, with a rest after many.
 */

import type { Shim } from '../abi/binding.js';
import type { Handle } from '../controller/handle.js';
import { V_TAP_QUEUE_DROPPED } from '../exchange/counters.js';
import type { OverlayDevice } from '../host/overlay-device.js';

const CHECK_MS = 1000;
/** A look at very many devices is followed by a rest of so many times what it took. */
const REST_FACTOR = 20;

type Counted = Pick<Handle, 'vnis' | 'counters'>;

interface Queue {
  /** The device's count at the last reading. */
  last: number;
  /** Since the VNI came up. */
  total: number;
  /** The VNI has been listed: when it is not any more, it is gone. */
  listed: boolean;
}

export class TapQueues {
  readonly #shim: Pick<Shim, 'deviceTxDropped'>;
  readonly #queues = new Map<string, Queue>();
  #timer: NodeJS.Timeout | undefined;

  constructor(shim: Pick<Shim, 'deviceTxDropped'>) {
    this.#shim = shim;
  }

  /** Devices were opened: their VNIs begin at zero. */
  opened(devices: readonly Pick<OverlayDevice, 'name' | 'queueDroppedBefore'>[]): void {
    for (const { name, queueDroppedBefore } of devices)
      this.#queues.set(name, { last: queueDroppedBefore, total: 0, listed: false });
  }

  /** The data plane runs. */
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
      this.#follow(tap, queue);
      counters.cells[counters.vniBase(vniIdx) + V_TAP_QUEUE_DROPPED] = queue.total;
    }
    for (const [tap, { listed }] of this.#queues) if (listed && !present.has(tap)) this.#queues.delete(tap);
  }

  /** A device that was made again under its name begins at zero; one that is gone says nothing. */
  #follow(tap: string, queue: Queue): void {
    const dropped = this.#shim.deviceTxDropped(tap);
    if (dropped < 0) return;
    queue.total += dropped < queue.last ? dropped : dropped - queue.last;
    queue.last = dropped;
  }
}
