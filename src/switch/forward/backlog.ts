/**
 * Backlogs: frames of a VNI beyond its share of a round.
 *
 * A backlog contains the frames of one batch that were read and not yet forwarded. If the first of
 * them was being flooded, the backlog also records the position of the interruption. The TAP of a
 * VNI with a backlog is not read, so frames keep their order and each VNI has at most one backlog.
 *
 * The frames are copied once, into a slot at the end of the overlay's arena, so `encap.ts` treats
 * them like any other frame. Slots are a bounded pool of two sizes. A VNI that gets no slot loses
 * the frames beyond its share (`fair_share`). `encap.ts` owns this module and calls it only for
 * frames beyond a share.
 */
import { Batch } from '../../abi/batch.js';
import {
  BACKLOG_LARGE_LEN,
  BACKLOG_LARGE_SLOTS,
  BACKLOG_LEN,
  BACKLOG_SMALL_LEN,
  BACKLOG_SMALL_SLOTS,
  CACHE_LINE,
  VXLAN_HEADROOM,
} from '../../abi/limits.js';

const SLOTS = BACKLOG_SMALL_SLOTS + BACKLOG_LARGE_SLOTS;
const NONE = -1;

/** Position of an interrupted flood: the flood list at that time, and the next row in it. */
export interface Position {
  runs: Int32Array;
  run: number;
  peerIdx: number;
  srcPortIdx: number;
}

/** The backlog of one VNI. */
export class Held {
  readonly frames = new Batch();
  /** Index of the first frame that is not sent completely. */
  next = 0;
  /** True when the flood of frame `next` was interrupted, at `at`. */
  isCut = false;
  readonly at: Position = { runs: new Int32Array(0), run: 0, peerIdx: 0, srcPortIdx: 0 };
  vniIdx = NONE;
  readonly #start: number;
  #free = 0;

  /** @param start offset of its slot in the arena, on a cache line */
  constructor(start: number) {
    this.#start = start;
  }

  begin(vniIdx: number): void {
    this.vniIdx = vniIdx;
    this.frames.count = 0;
    this.next = 0;
    this.isCut = false;
    this.#free = this.#start;
  }

  /**
   * Copies frame i with its headroom and its columns. The caller has checked that the frame fits.
   */
  add(arena: Uint8Array, from: Batch, i: number): void {
    const { frames } = this;
    const k = frames.count++;
    const begin = from.off[i] - VXLAN_HEADROOM;
    arena.copyWithin(this.#free, begin, from.off[i] + from.len[i]);
    frames.off[k] = this.#free + VXLAN_HEADROOM;
    frames.len[k] = from.len[i];
    frames.vniIdx[k] = from.vniIdx[i];
    frames.tos[k] = from.tos[i];
    frames.df[k] = from.df[i];
    frames.gsoType[k] = from.gsoType[i];
    frames.gsoSize[k] = from.gsoSize[i];
    frames.csumStart[k] = from.csumStart[i];
    frames.csumOff[k] = from.csumOff[i];
    frames.flags[k] = from.flags[i];
    frames.segCount[k] = from.segCount[i];
    frames.wireLen[k] = from.wireLen[i];
    frames.largestLen[k] = from.largestLen[i];
    this.#free += slotLen(from.len[i]);
  }

  /** Records that the flood of the frame added last was interrupted. */
  cutAt(at: Position): void {
    this.isCut = true;
    copyPosition(this.at, at);
  }
}

export class Backlog {
  /** VNIs with a backlog. */
  count = 0;
  readonly #arena: Uint8Array;
  /** Slot of each VNI row. */
  readonly #slotOf: Int16Array;
  readonly #slots: Held[] = [];
  readonly #freeSmall: number[] = [];
  readonly #freeLarge: number[] = [];

  /** @param arena the overlay's arena, whose last BACKLOG_LEN bytes are the slots */
  constructor(arena: Uint8Array, maxVnis: number) {
    this.#arena = arena;
    this.#slotOf = new Int16Array(maxVnis).fill(NONE);
    let start = lineAfter(arena.length - BACKLOG_LEN);
    for (let slot = 0; slot < SLOTS; slot++) {
      const isSmall = slot < BACKLOG_SMALL_SLOTS;
      (isSmall ? this.#freeSmall : this.#freeLarge).push(slot);
      this.#slots.push(new Held(start));
      start += isSmall ? BACKLOG_SMALL_LEN : BACKLOG_LARGE_LEN;
    }
  }

  of(vniIdx: number): Held | undefined {
    const slot = this.#slotOf[vniIdx];
    return slot < 0 ? undefined : this.#slots[slot];
  }

  has(vniIdx: number): boolean {
    return this.#slotOf[vniIdx] >= 0;
  }

  /** Calls `visit` for each VNI row with a backlog. */
  each(visit: (vniIdx: number) => void): void {
    for (const { vniIdx } of this.#slots) if (vniIdx >= 0) visit(vniIdx);
  }

  /**
   * Stores frame i. A new slot is large enough for all frames of the VNI that follow in the batch.
   * @returns the VNI's backlog; undefined when no slot is free
   */
  hold(frames: Batch, i: number): Held | undefined {
    const vniIdx = frames.vniIdx[i];
    const held = this.of(vniIdx) ?? this.#begin(vniIdx, lenFrom(frames, i));
    held?.add(this.#arena, frames, i);
    return held;
  }

  release(vniIdx: number): void {
    const slot = this.#slotOf[vniIdx];
    if (slot < 0) return;
    this.#slotOf[vniIdx] = NONE;
    this.#slots[slot].vniIdx = NONE;
    (slot < BACKLOG_SMALL_SLOTS ? this.#freeSmall : this.#freeLarge).push(slot);
    this.count--;
  }

  #begin(vniIdx: number, len: number): Held | undefined {
    const slot = this.#takeSlot(len);
    if (slot === undefined) return undefined;
    this.#slotOf[vniIdx] = slot;
    this.#slots[slot].begin(vniIdx);
    this.count++;
    return this.#slots[slot];
  }

  #takeSlot(len: number): number | undefined {
    if (len > BACKLOG_LARGE_LEN) return undefined;
    const small = len <= BACKLOG_SMALL_LEN ? this.#freeSmall.pop() : undefined;
    return small ?? this.#freeLarge.pop();
  }
}

function copyPosition(to: Position, from: Position): void {
  to.runs = from.runs;
  to.run = from.run;
  to.peerIdx = from.peerIdx;
  to.srcPortIdx = from.srcPortIdx;
}

/** Slot bytes for the frames of one VNI from frame i on; they are adjacent in a batch. */
function lenFrom(frames: Batch, i: number): number {
  let len = 0;
  for (let k = i; k < frames.count && frames.vniIdx[k] === frames.vniIdx[i]; k++)
    len += slotLen(frames.len[k]);
  return len;
}

function slotLen(frameLen: number): number {
  return lineAfter(VXLAN_HEADROOM + frameLen);
}

function lineAfter(off: number): number {
  return (off + CACHE_LINE - 1) & ~(CACHE_LINE - 1);
}
