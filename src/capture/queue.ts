/** Reader's side of one worker's ring of captured packets (`exchange/capture-ring.ts`). */
import type { Captured } from '../exchange/capture-ring.js';

export type CapturePoint = 'overlay' | 'underlay';

export interface PacketQueue {
  /** Returns the oldest packet; undefined when the ring is empty. */
  first(): Captured | undefined;
  /** Removes the oldest packet. */
  release(): void;
  /** Number of packets that are missing from the capture because the ring was full. */
  readonly lost: number;
}
