/**
 * A capture as a stream of bytes. It reads what the workers have captured only as fast as its reader reads it: behind a slow reader the
 * rings fill, the workers drop what does not fit and count it, and the data plane is not held up. What waits here is bounded.
 *
 * Workers cannot wake the main thread for a packet without cost, so it looks: at once while there is something, else
 * every POLL_MS.
 */
import { Readable } from 'node:stream';
import type { Encoder } from './encoder.js';
import { fileHeader } from './pcap.js';

const POLL_MS = 20;
/** Bytes that wait for the reader. */
const WAITING_LEN = 1024 * 1024;

export interface StreamListener {
  /** Nothing new is captured any more. */
  readonly isOver: () => boolean;
  /** Called once, however it ends. */
  readonly closed: () => void;
}

export class CaptureStream extends Readable {
  readonly #encoder: Encoder;
  readonly #listener: StreamListener;
  #timer: NodeJS.Timeout | undefined;
  #immediate: NodeJS.Immediate | undefined;
  #ending = false;

  constructor(encoder: Encoder, snapLen: number, listener: StreamListener) {
    super({ highWaterMark: WAITING_LEN });
    this.#encoder = encoder;
    this.#listener = listener;
    this.push(fileHeader(snapLen));
  }

  /** Nothing new is captured: it ends when what there is has been read. */
  finish(): void {
    this.#ending = true;
  }

  override _read(): void {
    clearImmediate(this.#immediate);
    this.#immediate = setImmediate(() => this.#look());
  }

  override _destroy(error: Error | null, callback: (error?: Error | null) => void): void {
    clearTimeout(this.#timer);
    clearImmediate(this.#immediate);
    this.#listener.closed();
    callback(error);
  }

  #look(): void {
    clearTimeout(this.#timer);
    if (this.destroyed) return;
    // Asked first: what came before the end is still read.
    const isOver = this.#ending || this.#listener.isOver();
    const chunk = this.#encoder.nextRecords();
    if (chunk !== undefined) this.push(chunk);
    else if (isOver || this.#encoder.full) this.push(null);
    else this.#timer = setTimeout(() => this.#look(), POLL_MS);
  }
}
