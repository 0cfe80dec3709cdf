/**
 * A capture as a readable stream of pcap bytes.
 *
 * The stream reads captured packets only as fast as its consumer reads the stream. If the consumer
 * is slow, the rings become full. Packets that do not fit are forwarded as usual, but they are
 * counted as lost and are missing from the capture. The buffer of the stream is bounded.
 *
 * Waking the main thread for each packet would cost the workers time, so the stream polls the
 * rings: at once while there are packets, otherwise every POLL_MS.
 */
import { Readable } from 'node:stream';
import type { Encoder } from './encoder.js';
import { fileHeader } from './pcap.js';

const POLL_MS = 20;
/** Maximum number of buffered bytes. */
const BUFFER_LEN = 1024 * 1024;

export interface StreamListener {
  /** Returns true when no more packets will be captured. */
  readonly isOver: () => boolean;
  /** Called once when the stream ends for any reason. */
  readonly closed: () => void;
}

export class CaptureStream extends Readable {
  readonly #encoder: Encoder;
  readonly #listener: StreamListener;
  #timer: NodeJS.Timeout | undefined;
  #immediate: NodeJS.Immediate | undefined;
  #ending = false;

  constructor(encoder: Encoder, snapLen: number, listener: StreamListener) {
    super({ highWaterMark: BUFFER_LEN });
    this.#encoder = encoder;
    this.#listener = listener;
    this.push(fileHeader(snapLen));
  }

  /** Ends the stream after the packets already captured have been read. */
  finish(): void {
    this.#ending = true;
  }

  override _read(): void {
    clearImmediate(this.#immediate);
    this.#immediate = setImmediate(() => this.#poll());
  }

  override _destroy(error: Error | null, callback: (error?: Error | null) => void): void {
    clearTimeout(this.#timer);
    clearImmediate(this.#immediate);
    this.#listener.closed();
    callback(error);
  }

  #poll(): void {
    clearTimeout(this.#timer);
    if (this.destroyed) return;
    // The end is checked before the rings are read, so that packets captured until the end are
    // still read.
    const isOver = this.#ending || this.#listener.isOver();
    const chunk = this.#encoder.nextRecords();
    if (chunk !== undefined) this.push(chunk);
    else if (isOver || this.#encoder.full) this.push(null);
    else this.#timer = setTimeout(() => this.#poll(), POLL_MS);
  }
}
