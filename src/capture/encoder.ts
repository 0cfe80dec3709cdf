/**
 * Encodes the packets of all workers as records of one capture file.
 *
 * Each record is the oldest packet that is available in any queue when the record is written.
 */

import type { Captured } from '../exchange/capture-ring.js';
import { type OuterHeader, outerLen, writeOuterHeader } from './outer-headers.js';
import { RECORD_HEADER_LEN, writeRecordHeader } from './pcap.js';
import type { PacketQueue } from './queue.js';

/** Maximum number of bytes per chunk; limits the time that the main thread is busy. */
const CHUNK_LEN = 256 * 1024;

export interface EncoderOptions {
  readonly queues: readonly PacketQueue[];
  /** Maximum number of bytes per packet, including outer headers. */
  readonly snapLen: number;
  /** Maximum number of packets. */
  readonly limit: number;
  /**
   * Returns the outer headers of a packet; undefined when packets are Ethernet frames without outer
   * headers.
   */
  readonly outer: ((packet: Captured) => OuterHeader) | undefined;
}

export class Encoder {
  readonly #options: EncoderOptions;
  /** Buffer for encoding; a chunk is copied out at its actual length, which is usually small. */
  readonly #scratch = Buffer.alloc(CHUNK_LEN);
  #packets = 0;

  constructor(options: EncoderOptions) {
    this.#options = options;
  }

  get packets(): number {
    return this.#packets;
  }

  /** True when the maximum number of packets has been encoded. */
  get full(): boolean {
    return this.#packets >= this.#options.limit;
  }

  get lost(): number {
    return this.#options.queues.reduce((sum, { lost }) => sum + lost, 0);
  }

  /** Returns the next chunk of records; undefined when no packet is available. */
  nextRecords(): Buffer | undefined {
    let queue = this.#oldest();
    if (queue === undefined || this.full) return undefined;
    let used = 0;
    while (queue !== undefined && !this.full) {
      const written = this.#write(used, queue.first()!);
      if (written === 0) break;
      used += written;
      this.#packets++;
      queue.release();
      queue = this.#oldest();
    }
    return Buffer.from(this.#scratch.subarray(0, used));
  }

  #oldest(): PacketQueue | undefined {
    let oldest: PacketQueue | undefined;
    let oldestMs = Number.POSITIVE_INFINITY;
    for (const queue of this.#options.queues) {
      const packet = queue.first();
      if (packet === undefined || packet.atMs >= oldestMs) continue;
      oldest = queue;
      oldestMs = packet.atMs;
    }
    return oldest;
  }

  /** @returns length of the record, bytes; 0 when the chunk has no room for it */
  #write(off: number, packet: Captured): number {
    const chunk = this.#scratch;
    const outer = this.#options.outer?.(packet);
    const headersLen = outer === undefined ? 0 : outerLen(outer.family);
    const capturedLen = Math.min(headersLen + packet.bytes.length, this.#options.snapLen);
    const end = off + RECORD_HEADER_LEN + headersLen + packet.bytes.length;
    if (end > chunk.length) return 0;
    writeRecordHeader(chunk, off, packet.atMs, capturedLen, headersLen + packet.len);
    const packetOff = off + RECORD_HEADER_LEN;
    chunk.fill(0, packetOff, packetOff + headersLen);
    if (outer !== undefined) writeOuterHeader(chunk, packetOff, outer, packet.len);
    chunk.set(packet.bytes, packetOff + headersLen);
    return RECORD_HEADER_LEN + capturedLen;
  }
}
