/**
 * Lock-free ring buffer of notes in shared memory, one writer and one reader thread.
 *
 * Each side does one atomic store per note.
 *
 *     header   word 0 notes written, word 16 notes read (on separate cache lines, so that the two
 *              sides do not contend)
 *     notes    NOTE_WORDS words each, a power of two of them
 *
 * Both counts wrap at 32 bits. A note becomes visible with the count that includes it, so a note
 * whose writer dies while writing it never becomes visible, and a note whose reader dies while
 * reading it is read again. `replication.ts` defines the content of a note.
 */

/**
 * One cache line. The first eight words have the form of a peer row, so notes are aligned like
 * rows.
 */
export const NOTE_WORDS = 16;

const WRITTEN = 0;
const READ = 16;
const HEADER_LEN = 128;
const NOTE_LEN = NOTE_WORDS * 4;

export class NoteRing {
  /** Memory of the notes; `claim` and `first` return the first word of one. */
  readonly words: Int32Array;
  readonly #counts: Int32Array;
  readonly #capacity: number;

  /** @param length bytes of this ring from `byteOffset` on: a header of 128, and notes */
  constructor(buffer: SharedArrayBuffer, byteOffset: number, length: number) {
    this.#capacity = 2 ** Math.floor(Math.log2((length - HEADER_LEN) / NOTE_LEN));
    this.#counts = new Int32Array(buffer, byteOffset, HEADER_LEN / 4);
    this.words = new Int32Array(buffer, byteOffset + HEADER_LEN, this.#capacity * NOTE_WORDS);
  }

  /**
   * Writer: reserves the next note, which becomes visible with `publish`. @returns its first word;
   * −1 when the ring is full
   */
  claim(): number {
    const written = this.#counts[WRITTEN];
    if (((written - Atomics.load(this.#counts, READ)) | 0) >= this.#capacity) return -1;
    return this.#base(written);
  }

  publish(): void {
    Atomics.store(this.#counts, WRITTEN, (this.#counts[WRITTEN] + 1) | 0);
  }

  /**
   * Reader: the oldest note, which stays until `release`. @returns its first word; −1 when the ring
   * is empty
   */
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
