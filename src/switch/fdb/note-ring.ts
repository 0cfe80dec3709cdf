/**
 * A ring of notes in shared memory, from one thread to one other: no lock, and one atomic store a note on each side.
 *
 *     header   word 0 notes written · word 16 notes taken (a cache line each: the two sides do not disturb each other)
 *     notes    NOTE_WORDS words each, a power of two of them
 *
 * Both counts go on for ever and wrap at 32 bits. A note becomes visible with the count that includes it, so a
 * writer that dies in the middle of one has written nothing, and a reader that dies in the middle of one reads it
 * again. What a note says is `replication.ts`'s.
 */

/** One cache line. The first eight words have the form of a peer row, so notes begin where a row may. */
export const NOTE_WORDS = 16;

const WRITTEN = 0;
const READ = 16;
const HEADER_LEN = 128;
const NOTE_LEN = NOTE_WORDS * 4;

export class NoteRing {
  /** The notes' memory: word `base` of it begins a note, as `claim` and `first` say. */
  readonly words: Int32Array;
  readonly #counts: Int32Array;
  readonly #capacity: number;

  /** @param length bytes of this ring from `byteOffset` on: a header of 128, and notes */
  constructor(buffer: SharedArrayBuffer, byteOffset: number, length: number) {
    this.#capacity = 2 ** Math.floor(Math.log2((length - HEADER_LEN) / NOTE_LEN));
    this.#counts = new Int32Array(buffer, byteOffset, HEADER_LEN / 4);
    this.words = new Int32Array(buffer, byteOffset + HEADER_LEN, this.#capacity * NOTE_WORDS);
  }

  /** Writer: where the next note goes; it is seen after `publish`. @returns its first word, or −1: full */
  claim(): number {
    const written = this.#counts[WRITTEN];
    if (((written - Atomics.load(this.#counts, READ)) | 0) >= this.#capacity) return -1;
    return this.#base(written);
  }

  publish(): void {
    Atomics.store(this.#counts, WRITTEN, (this.#counts[WRITTEN] + 1) | 0);
  }

  /** Reader: the oldest note, which stays until `release`. @returns its first word, or −1: none */
  first(): number {
    const taken = this.#counts[READ];
    return Atomics.load(this.#counts, WRITTEN) === taken ? -1 : this.#base(taken);
  }

  release(): void {
    Atomics.store(this.#counts, READ, (this.#counts[READ] + 1) | 0);
  }

  #base(count: number): number {
    return (count & (this.#capacity - 1)) * NOTE_WORDS;
  }
}
