/**
 * Ring buffer of captured packets, from one data-plane thread to the main thread.
 *
 * One writer and one reader share the memory without a lock. A packet that does not fit is lost and
 * counted, so a capture never delays a frame.
 *
 *     header   word 0 written · word 1 lost · word 16 read (on another cache line)
 *     records  at multiples of 8 bytes, contiguous; a record that does not fit before the end
 *              of the memory is placed at the start of the memory
 *
 *      0  bytes of the record, including this word    24  row of the peer, −1: unknown
 *      4  flags: CAPTURED_, or-ed                     28  row of the VNI, −1: unknown
 *      8  ms since the epoch, a double                32  UDP source port, 0: unknown
 *     16  bytes of the packet                         36  TOS of the outer header
 *     20  bytes of the packet in this record          40  packet bytes
 *
 * The counts `written` and `read` are in units of 8 bytes and wrap at 32 bits. A packet becomes
 * visible when `written` includes it. A record that a dying writer left incomplete is therefore
 * never visible, and the successor continues behind the last complete record.
 */
import { CAPTURE_RING_LEN } from '../abi/limits.js';

/** Flag: the packet comes from a peer and goes to the overlay; clear: the opposite direction. */
export const CAPTURED_DECAP = 1;
/** Flag: the packet is a UDP payload of the underlay, from its VXLAN header on; clear: a frame. */
export const CAPTURED_UNDERLAY = 2;
/** Flag: the record has no packet and fills the unused end of the memory. */
const SKIPPED = 1 << 31;

const WRITTEN = 0;
const LOST = 1;
const READ = 16;
const HEADER_LEN = 128;

const UNIT_SHIFT = 3;
const RECORD_HEADER_LEN = 40;
/** Word offsets in a record. */
const LENGTH = 0;
const FLAGS = 1;
const AT_MS = 2;
const PACKET_LEN = 4;
const CAPTURED_LEN = 5;
const PEER = 6;
const VNI = 7;
const SOURCE_PORT = 8;
const TOS = 9;

/** A captured packet, valid until it is released. */
export interface Captured {
  /** Capture time, ms since the epoch. */
  readonly atMs: number;
  /** True if the packet comes from a peer, false if it goes to a peer. */
  readonly received: boolean;
  /** Row of the peer; −1: unknown. */
  readonly peerIdx: number;
  /** Row of the VNI; −1: unknown. */
  readonly vniIdx: number;
  /** UDP source port; 0: unknown. */
  readonly sourcePort: number;
  /** TOS of the outer header; 0 also if unknown. */
  readonly tos: number;
  /** Original length in bytes, of a frame or a UDP payload. */
  readonly len: number;
  /** The first bytes of the packet, up to the snap length. */
  readonly bytes: Uint8Array;
}

/** Metadata of a packet, as the writer knows it. */
export interface CaptureNote {
  flags: number;
  atMs: number;
  peerIdx: number;
  vniIdx: number;
  sourcePort: number;
  tos: number;
}

export function createCaptureRing(): SharedArrayBuffer {
  return new SharedArrayBuffer(CAPTURE_RING_LEN);
}

export class CaptureRing {
  readonly #counts: Int32Array;
  readonly #bytes: Uint8Array;
  readonly #words: Int32Array;
  readonly #doubles: Float64Array;
  /** Capacity in units, a power of two. */
  readonly #capacity: number;

  constructor(buffer: SharedArrayBuffer) {
    const units = 2 ** Math.floor(Math.log2((buffer.byteLength - HEADER_LEN) >> UNIT_SHIFT));
    this.#capacity = units;
    this.#counts = new Int32Array(buffer, 0, HEADER_LEN / 4);
    this.#bytes = new Uint8Array(buffer, HEADER_LEN, units << UNIT_SHIFT);
    this.#words = new Int32Array(buffer, HEADER_LEN, units << 1);
    this.#doubles = new Float64Array(buffer, HEADER_LEN, units);
  }

  /** Packets lost because the ring was full, in total. */
  get lost(): number {
    return Atomics.load(this.#counts, LOST) >>> 0;
  }

  /**
   * Writer: adds a packet, or counts it as lost.
   *
   * @param snapLen most bytes of the packet to keep
   */
  put(note: CaptureNote, arena: Uint8Array, off: number, len: number, snapLen: number): void {
    const captured = Math.min(len, snapLen);
    const units = unitsOf(RECORD_HEADER_LEN + captured);
    let written = this.#counts[WRITTEN];
    const toEnd = this.#capacity - this.#place(written);
    const skipped = units > toEnd ? toEnd : 0;
    const free = this.#capacity - ((written - Atomics.load(this.#counts, READ)) | 0);
    if (skipped + units > free) {
      Atomics.add(this.#counts, LOST, 1);
      return;
    }
    if (skipped > 0) {
      this.#begin(written, skipped << UNIT_SHIFT, SKIPPED);
      written = (written + skipped) | 0;
    }
    const word = this.#begin(written, units << UNIT_SHIFT, note.flags);
    this.#doubles[(word + AT_MS) >> 1] = note.atMs;
    this.#words[word + PACKET_LEN] = len;
    this.#words[word + CAPTURED_LEN] = captured;
    this.#words[word + PEER] = note.peerIdx;
    this.#words[word + VNI] = note.vniIdx;
    this.#words[word + SOURCE_PORT] = note.sourcePort;
    this.#words[word + TOS] = note.tos;
    this.#bytes.set(arena.subarray(off, off + captured), (word << 2) + RECORD_HEADER_LEN);
    Atomics.store(this.#counts, WRITTEN, (written + units) | 0);
  }

  /**
   * Reader: returns the oldest packet, which stays until `release`.
   *
   * @returns undefined if the ring is empty
   */
  first(): Captured | undefined {
    const word = this.#firstWord();
    if (word < 0) return undefined;
    const words = this.#words;
    const off = (word << 2) + RECORD_HEADER_LEN;
    return {
      atMs: this.#doubles[(word + AT_MS) >> 1],
      received: (words[word + FLAGS] & CAPTURED_DECAP) !== 0,
      peerIdx: words[word + PEER],
      vniIdx: words[word + VNI],
      sourcePort: words[word + SOURCE_PORT],
      tos: words[word + TOS],
      len: words[word + PACKET_LEN],
      bytes: this.#bytes.subarray(off, off + words[word + CAPTURED_LEN]),
    };
  }

  /** Reader: removes the oldest packet. */
  release(): void {
    const word = this.#firstWord();
    if (word >= 0) this.#advance(word);
  }

  /** Word offset of the oldest packet; −1: the ring is empty. */
  #firstWord(): number {
    for (;;) {
      const read = this.#counts[READ];
      if (Atomics.load(this.#counts, WRITTEN) === read) return -1;
      const word = this.#place(read) << 1;
      if ((this.#words[word + FLAGS] & SKIPPED) === 0) return word;
      this.#advance(word);
    }
  }

  #advance(word: number): void {
    const units = unitsOf(this.#words[word + LENGTH]);
    Atomics.store(this.#counts, READ, (this.#counts[READ] + units) | 0);
  }

  #begin(at: number, length: number, flags: number): number {
    const word = this.#place(at) << 1;
    this.#words[word + LENGTH] = length;
    this.#words[word + FLAGS] = flags;
    return word;
  }

  #place(count: number): number {
    return count & (this.#capacity - 1);
  }
}

function unitsOf(length: number): number {
  return (length + 7) >> UNIT_SHIFT;
}
