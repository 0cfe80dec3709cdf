/** Unread packets of one worker in the order of time: the reader's side of `exchange/capture-ring.ts`. */
import type { Captured } from '../exchange/capture-ring.js';

export type CapturePoint = 'overlay' | 'underlay';

export interface PacketQueue {
  /** The oldest packet; undefined: there is none now. */
  first(): Captured | undefined;
  /** The oldest packet has been read. */
  release(): void;
  /** Packets that found the queue full. */
  readonly lost: number;
}
