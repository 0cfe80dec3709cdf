/**
 * A ring of captured packets in shared memory, from one data-plane thread to the main thread: one writer, one reader, no
 * lock. What finds it full is lost and counted, so a capture never holds up a frame.
 *
 *     header   word 0 written · word 1 lost · word 16 taken (the two sides do not share a cache line)
 *     records  each at a multiple of 8 bytes and in one piece, the rest before the end being skipped
 *
 *      0  bytes of the record, this included          24  row of the peer, −1: not known
 *      4  flags: CAPTURED_, or-ed                     28  row of the VNI, −1: not known
 *      8  ms since the epoch, a double                32  UDP source port, 0: not known
 *     16  bytes of the packet                         36  TOS of the outer header
 *     20  bytes of it that are here                   40  those
 *
 * Written and taken count units of 8 bytes for ever, and wrap at 32 bits. A packet is seen with the count that includes it,
 * so a writer that dies in the middle of one has written nothing, and its successor goes on behind the last.
 */
import { CAPTURE_RING_LEN } from '../abi/limits.js';

/** `flags`: it came from a peer, and goes to the overlay. Otherwise the other way. */
export const CAPTURED_DECAP = 1;
/** `flags`: a UDP payload of the underlay, from its VXLAN header on. Otherwise a frame of the overlay. */
export const CAPTURED_UNDERLAY = 2;
/** `flags`: no packet, but the unused end of the memory. */
const SKIPPED = 1 << 31;

const WRITTEN = 0;
const LOST = 1;
const READ = 16;
const HEADER_LEN = 128;

const UNIT_SHIFT = 3;
const RECORD_HEADER_LEN = 40;
/** Words of a record. */
const LENGTH = 0;
const FLAGS = 1;
const AT_MS = 2;
const PACKET_LEN = 4;
const CAPTURED_LEN = 5;
const PEER = 6;
const VNI = 7;
const SOURCE_PORT = 8;
const TOS = 9;

/** A packet as it is read: valid until it is released. */
export interface Captured {
  /** Since the epoch, ms. */
  readonly atMs: number;
  /** It came from a peer; else it goes to one. */
  readonly received: boolean;
  /** −1: not known. */
  readonly peerIdx: number;
  readonly vniIdx: number;
  /** UDP source port; 0: not known. */
  readonly sourcePort: number;
  /** Of the outer header; 0 too where it is not known. */
  readonly tos: number;
  /** Bytes that there were: a frame, or a UDP payload. */
  readonly len: number;
  /** The first of them. */
  readonly bytes: Uint8Array;
}

/** What the writer knows of a packet beside its bytes. */
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
  /** Units, a power of two. */
  readonly #capacity: number;

  constructor(buffer: SharedArrayBuffer) {
    const units = 2 ** Math.floor(Math.log2((buffer.byteLength - HEADER_LEN) >> UNIT_SHIFT));
    this.#capacity = units;
    this.#counts = new Int32Array(buffer, 0, HEADER_LEN / 4);
    this.#bytes = new Uint8Array(buffer, HEADER_LEN, units << UNIT_SHIFT);
    this.#words = new Int32Array(buffer, HEADER_LEN, units << 1);
    this.#doubles = new Float64Array(buffer, HEADER_LEN, units);
  }

  /** Packets that found it full, for ever. */
  get lost(): number {
    return Atomics.load(this.#counts, LOST) >>> 0;
  }

  /** Writer: takes down a packet, or counts it as lost. @param snapLen bytes of it that are kept at most */
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

  /** Reader: the oldest packet, which stays until `release`. @returns undefined when there is none now */
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

  /** Reader: the oldest packet has been read. */
  release(): void {
    const word = this.#firstWord();
    if (word >= 0) this.#advance(word);
  }

  /** Word of the oldest packet; −1: there is none. */
  #firstWord(): number {
    for (;;) {
      const taken = this.#counts[READ];
      if (Atomics.load(this.#counts, WRITTEN) === taken) return -1;
      const word = this.#place(taken) << 1;
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
