/**
 * Packet captures, one at a time.
 *
 * Each worker fills a ring, which the requester empties. A successor of a worker continues in the
 * same ring.
 */
import { CaptureRing, createCaptureRing } from '../exchange/capture-ring.js';
import { DataPlaneError } from '../exchange/data-plane.js';
import type { CaptureChange } from '../exchange/protocol.js';
import type { DesiredState } from './desired-state.js';
import type { Workers } from './workers.js';

/** A running capture. */
export interface RunningCapture {
  /** One ring for each worker. Packets that find the ring full are lost. */
  readonly rings: readonly CaptureRing[];
  /** True when no more packets follow: the capture was stopped, or its VNI was removed. */
  readonly over: boolean;
  /** Ends the capture at once. Idempotent. */
  stop(): Promise<void>;
}

export class Captures {
  readonly #desired: DesiredState;
  readonly #workers: Workers;

  constructor(desired: DesiredState, workers: Workers) {
    this.#desired = desired;
    this.#workers = workers;
  }

  /** @throws DataPlaneError capture_busy, dataplane_down */
  async start(what: Omit<CaptureChange, 'ring'>): Promise<RunningCapture> {
    if (this.#desired.capture)
      throw new DataPlaneError('capture_busy', 'a capture is already running: stop it first');
    this.#workers.checkReady();
    const rings = this.#workers.counters.map(createCaptureRing);
    const capture = { what, rings };
    this.#desired.capture = capture;
    const stop = async () => {
      if (this.#desired.capture === capture) await this.#stop();
    };
    try {
      await this.#workers.askEach((index) => ({ op: 'capture', on: true, ...what, ring: rings[index] }));
    } catch (error) {
      await stop();
      throw error;
    }
    const desired = this.#desired;
    return {
      rings: rings.map((ring) => new CaptureRing(ring)),
      get over() {
        return desired.capture !== capture;
      },
      stop,
    };
  }

  /** Ends the capture of a VNI whose row is about to be freed. */
  vniRemoved(vniIdx: number): void {
    if (this.#desired.capture?.what.vniIdx === vniIdx) this.#desired.capture = undefined;
  }

  async #stop(): Promise<void> {
    const { what, rings } = this.#desired.capture!;
    this.#desired.capture = undefined;
    await this.#workers.askLiving([{ op: 'capture', on: false, ...what, ring: rings[0] }]);
  }
}
