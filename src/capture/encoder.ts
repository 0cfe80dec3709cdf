/**
 * Packets of all workers to records of one capture file, in the order of time as far as it is known when they are read.
 */

import type { Captured } from '../exchange/capture-ring.js';
import { type OuterHeader, outerLen, writeOuterHeader } from './outer-headers.js';
import { RECORD_HEADER_LEN, writeRecordHeader } from './pcap.js';
import type { PacketQueue } from './queue.js';

/** Most bytes that are made at once: the main thread has other things to do. */
const CHUNK_LEN = 256 * 1024;

export interface EncoderOptions {
  readonly queues: readonly PacketQueue[];
  /** Most bytes of a packet, outer headers included. */
  readonly snapLen: number;
  /** Most packets. */
  readonly limit: number;
  /** What a packet had around it; undefined: it is an Ethernet frame as it is. */
  readonly outer: ((packet: Captured) => OuterHeader) | undefined;
}

export class Encoder {
  readonly #options: EncoderOptions;
  /** Records are made here and copied out as they are long: most of the time there are few. */
  readonly #scratch = Buffer.alloc(CHUNK_LEN);
  #packets = 0;

  constructor(options: EncoderOptions) {
    this.#options = options;
  }

  get packets(): number {
    return this.#packets;
  }

  /** As many packets as were asked for have been made. */
  get full(): boolean {
    return this.#packets >= this.#options.limit;
  }

  get lost(): number {
    return this.#options.queues.reduce((sum, { lost }) => sum + lost, 0);
  }

  /** The records of what has come, some at a time; undefined: nothing. */
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

  /** @returns bytes of the record; 0: there is no room for it */
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
