/**
 * Captures, one at a time: a ring for each worker, which the workers fill and whoever asked for it empties. A worker that
 * takes another one's place goes on in the same ring.
 */
import { CaptureRing, createCaptureRing } from '../exchange/capture-ring.js';
import { DataPlaneError } from '../exchange/data-plane.js';
import type { CaptureChange } from '../exchange/protocol.js';
import type { DesiredState } from './desired-state.js';
import type { Workers } from './workers.js';

/** A capture that is running. */
export interface RunningCapture {
  /** One a worker. What finds it full is lost. */
  readonly rings: readonly CaptureRing[];
  /** Nothing comes any more: it was stopped, or its VNI is gone. */
  readonly over: boolean;
  /** Ends it, at once; ended twice is ended once. */
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
      throw new DataPlaneError('capture_busy', 'packets are being captured already: end that capture first');
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

  /** The VNI's row is to be another's: what was asked for of it has ended. */
  vniRemoved(vniIdx: number): void {
    if (this.#desired.capture?.what.vniIdx === vniIdx) this.#desired.capture = undefined;
  }

  async #stop(): Promise<void> {
    const { what, rings } = this.#desired.capture!;
    this.#desired.capture = undefined;
    await this.#workers.askLiving([{ op: 'capture', on: false, ...what, ring: rings[0] }]);
  }
}
