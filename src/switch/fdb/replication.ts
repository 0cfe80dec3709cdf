/**
 * One FDB, several replicas. Each worker has tables of its own and asks nobody on a frame's way; what one hears, it
 * tells the others in notes, by a ring to each of them.
 *
 *     word 0–5  address that the MAC was heard behind, as a peer row has it     word 10  tick
 *     word 8    vniIdx << 16 | first two bytes of the MAC                       word 11  how often it moved in that tick
 *     word 9    last four bytes of the MAC                                      word 12  epoch
 *
 * - A note names an *address*, not a row: rows of sources that are not configured differ from replica to replica.
 * - The *newest* wins, in every replica the same one: the later tick (one clock for all, CLOCK_MONOTONIC), then more
 *   moves within it, then the larger fingerprint of the address. Whoever is told something older answers with what is
 *   known there. So replicas agree once no note is on its way, unless some were lost.
 * - What is told: a MAC that is new or has moved, and of one that goes on being heard so much that it does not age in
 *   a replica that hears nothing of it.
 * - A full ring loses notes: nobody waits for a reader. The other replica floods that MAC until it hears it itself, or
 *   of it again in the next period.
 * - *Removals* (a flush, a peer, an entry) are changes that every worker makes, in the same order. The epoch counts
 *   them, and a note from before one is not taken after it: it would bring back what was removed.
 */
import { NoteRing } from './note-ring.js';
import type { PeerTable } from './peer-table.js';

export const NOTE_KEY = 8;
export const NOTE_LOW = 9;
export const NOTE_TICK = 10;
export const NOTE_MOVES = 11;
const NOTE_EPOCH = 12;

/** Notes taken in one round at most: some tens of microseconds. */
const NOTES_PER_ROUND = 256;

/** What a worker says to the others, and hears from them. */
export interface NoteRings {
  readonly to: readonly NoteRing[];
  readonly from: readonly NoteRing[];
  /** Removals that were asked for so far. */
  readonly epoch: number;
}

/** Who takes notes. */
export interface NoteReader {
  /** @param notes memory of the note, borrowed for the call @param base its first word */
  applyNote(notes: Int32Array, base: number): void;
}

export class Replication {
  readonly #rings: NoteRings;
  readonly #peers: PeerTable;
  #epoch: number;
  /** Whose notes are taken first in the next round. */
  #turn = 0;

  constructor(rings: NoteRings, peers: PeerTable) {
    this.#rings = rings;
    this.#peers = peers;
    this.#epoch = rings.epoch;
  }

  /** A removal begins: notes from before it are void. */
  advanceEpoch(): void {
    this.#epoch = (this.#epoch + 1) | 0;
  }

  /** Tells all others that a MAC was heard behind a peer. @param moves how often it has moved within this tick */
  publish(vniIdx: number, high: number, low: number, peerIdx: number, tick: number, moves: number): void {
    const { to } = this.#rings;
    for (let i = 0; i < to.length; i++) {
      const ring = to[i];
      const base = ring.claim();
      if (base < 0) continue;
      const { words } = ring;
      this.#peers.copyAddress(peerIdx, words, base);
      words[base + NOTE_KEY] = (vniIdx << 16) | high;
      words[base + NOTE_LOW] = low;
      words[base + NOTE_TICK] = tick;
      words[base + NOTE_MOVES] = moves;
      words[base + NOTE_EPOCH] = this.#epoch;
      ring.publish();
    }
  }

  /** Hands what the others have told to the reader, some notes at most. The others take turns. */
  drain(reader: NoteReader): void {
    const { from } = this.#rings;
    let left = NOTES_PER_ROUND;
    for (let i = 0; i < from.length && left > 0; i++)
      left = this.#drainRing(from[(this.#turn + i) % from.length], reader, left);
    this.#turn = (this.#turn + 1) % from.length;
  }

  /** @returns how many notes may still be taken */
  #drainRing(ring: NoteRing, reader: NoteReader, most: number): number {
    let left = most;
    for (let base = ring.first(); base >= 0 && left > 0; base = ring.first()) {
      if (((ring.words[base + NOTE_EPOCH] - this.#epoch) | 0) >= 0) reader.applyNote(ring.words, base);
      ring.release();
      left--;
    }
    return left;
  }
}

/**
 * The rings of one worker among `workers`. One ring for each ordered pair lies in the buffer, `ringLen` bytes each;
 * memory of rings that nobody uses is never touched.
 */
export function noteRingsOf(
  index: number,
  workers: number,
  buffer: SharedArrayBuffer,
  epoch: number,
): NoteRings {
  const ringLen = buffer.byteLength / workers ** 2;
  const ring = (from: number, to: number) => new NoteRing(buffer, (from * workers + to) * ringLen, ringLen);
  const others = Array.from({ length: workers }, (_, other) => other).filter((other) => other !== index);
  return {
    to: others.map((other) => ring(index, other)),
    from: others.map((other) => ring(other, index)),
    epoch,
  };
}
