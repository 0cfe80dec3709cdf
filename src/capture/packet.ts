/** What the data plane hands up of a packet, and in what form the main thread takes it. No file format here. */

export type CapturePoint = 'overlay' | 'underlay';

/** One packet as a worker has seen it. Valid until its queue releases it. */
export interface CapturedPacket {
  /** Since the epoch, ms. */
  readonly atMs: number;
  /** It came from a peer; else it went to one. */
  readonly received: boolean;
  /** −1: not known. */
  readonly peerIdx: number;
  readonly vniIdx: number;
  /** UDP source port; 0: not known. */
  readonly sourcePort: number;
  readonly tos: number;
  readonly ttl: number;
  /** Bytes that there were: a frame, or a UDP payload. */
  readonly len: number;
  /** The first of them. */
  readonly bytes: Uint8Array;
}

/** What one worker has captured and nobody has read, in the order of time. */
export interface PacketQueue {
  /** The oldest packet; undefined: there is none now. */
  first(): CapturedPacket | undefined;
  /** The oldest packet has been read. */
  release(): void;
  /** Packets that found the queue full. */
  readonly lost: number;
}
