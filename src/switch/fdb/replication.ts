/**
 * Replication of the FDB between workers.
 *
 * Each worker has tables of its own, and asks no other worker while it forwards. A worker announces
 * what it learns in notes, through a ring to each other worker.
 *
 *     word 0–5  address of the peer, as in a peer row         word 10  tick
 *     word 8    vniIdx << 16 | first two bytes of the MAC     word 11  moves in that tick
 *     word 9    last four bytes of the MAC                    word 12  epoch
 *
 * - A note names an *address*, not a row: rows of sources that are not configured differ between
 *   replicas.
 * - The *newest* note wins, and all replicas choose the same one: the later tick (all workers use
 *   CLOCK_MONOTONIC); with equal ticks more moves within the tick; with equal moves the larger
 *   fingerprint of the address. A worker that receives an older note answers with its own entry.
 *   Replicas therefore agree once all notes are applied, unless notes were lost.
 * - A worker announces a MAC that is new or has moved. It repeats the announcement of an active MAC
 *   often enough that the MAC does not age out in other workers.
 * - A full ring loses notes, because writers never wait for readers. A replica that missed a note
 *   floods frames for that MAC until it learns the MAC itself or the next announcement arrives.
 * - *Removals* (a flush, a peer, an entry) are changes that every worker makes, in the same order.
 *   The epoch counts removals. A note of an earlier epoch is ignored, because it could restore a
 *   removed entry.
 */
import { NoteRing } from './note-ring.js';
import type { PeerTable } from './peer-table.js';

export const NOTE_KEY = 8;
export const NOTE_LOW = 9;
export const NOTE_TICK = 10;
export const NOTE_MOVES = 11;
const NOTE_EPOCH = 12;

/** Most notes applied in one round: some tens of microseconds. */
const NOTES_PER_ROUND = 256;

/** Rings to and from the other workers. */
export interface NoteRings {
  readonly to: readonly NoteRing[];
  readonly from: readonly NoteRing[];
  /** Removals requested so far. */
  readonly epoch: number;
}

/** Receiver of notes. */
export interface NoteReader {
  /** @param notes memory of the note, borrowed for the call @param base its first word */
  applyNote(notes: Int32Array, base: number): void;
}

export class Replication {
  readonly #rings: NoteRings;
  readonly #peers: PeerTable;
  #epoch: number;
  /** Index of the ring that is drained first in the next round. */
  #turn = 0;

  constructor(rings: NoteRings, peers: PeerTable) {
    this.#rings = rings;
    this.#peers = peers;
    this.#epoch = rings.epoch;
  }

  /** Begins a removal: notes of earlier epochs become invalid. */
  advanceEpoch(): void {
    this.#epoch = (this.#epoch + 1) | 0;
  }

  /**
   * Announces to all other workers that a MAC is behind a peer. @param moves moves within this tick
   */
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

  /** Passes the notes of the other workers to the reader, at most NOTES_PER_ROUND, round robin. */
  drain(reader: NoteReader): void {
    const { from } = this.#rings;
    let left = NOTES_PER_ROUND;
    for (let i = 0; i < from.length && left > 0; i++)
      left = this.#drainRing(from[(this.#turn + i) % from.length], reader, left);
    this.#turn = (this.#turn + 1) % from.length;
  }

  /** @returns number of further notes that may be applied in this round */
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
 * Returns the rings of one worker among `workers`. The buffer holds one ring of equal length for
 * each ordered pair; memory of unused rings is never touched.
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
