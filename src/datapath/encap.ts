/**
 * Overlay → underlay: from each frame that a TAP gave to the datagrams that carry it (RFC 7348 §4.1).
 *
 * Known unicast goes to one peer, broadcast, multicast and unknown unicast to every peer of the VNI's flood list: a
 * copy is one more descriptor that names the same bytes. The VXLAN header is written once, into the headroom;
 * nothing is moved. A superframe is forwarded as one frame and counted as those it stands for: the port cuts it up.
 * Called by the loop with what one round of reads brought; sends as often as its batch fills up.
 */

import type { Tables } from '../fdb/tables.js';
import { Batch, FRAME_NEEDS_CSUM, GSO_NONE, GSO_UDP_L4 } from '../frame/batch.js';
import { BATCH_CAP, SOURCE_SOCKETS, VXLAN_HEADROOM } from '../frame/limits.js';
import { FRAME_FIRST_COPY, type OverlayPort, type UnderlayPort } from '../port/port.js';
import { DROP } from '../stats/drop-reason.js';
import { flowHash } from '../wire/flow-hash.js';
import { isMulticastMac, macHigh, macLow } from '../wire/mac.js';
import * as tcp from '../wire/tcp.js';
import { UDP_LEN } from '../wire/udp.js';
import { writeVxlanHeader } from '../wire/vxlan.js';
import { accountEncap, FRAME_BROADCAST, FRAME_MULTICAST, FRAME_UNKNOWN_UNICAST } from './account.js';

const SOURCE_SOCKET_MASK = SOURCE_SOCKETS - 1;

export class Encap {
  readonly #tables: Tables;
  readonly #underlay: UnderlayPort;
  readonly #arena: Uint8Array;
  /** Datagrams to be sent, in the order of their frames. */
  readonly #out = new Batch();
  /** Hashes of the destinations of the batch that is being forwarded. */
  readonly #hashes = new Int32Array(BATCH_CAP);

  constructor(tables: Tables, overlay: OverlayPort, underlay: UnderlayPort) {
    this.#tables = tables;
    this.#underlay = underlay;
    this.#arena = overlay.arena;
  }

  /** Forwards and counts every frame of the batch; on return its memory may be used again. */
  forward(frames: Batch): void {
    this.#hashDestinations(frames);
    for (let i = 0; i < frames.count; i++) this.#forwardOne(frames, i);
    this.#flush();
  }

  /** Of all frames before the first is looked up: so their lookups wait for memory together. */
  #hashDestinations(frames: Batch): void {
    const { table } = this.#tables.fdb;
    for (let i = 0; i < frames.count; i++) {
      const off = frames.off[i];
      this.#hashes[i] = table.hash(frames.vniIdx[i], macHigh(this.#arena, off), macLow(this.#arena, off));
    }
    table.touch(this.#hashes, frames.count);
  }

  /** Counts sends whose answer came later than their `send`. */
  settle(): void {
    for (;;) {
      this.#underlay.completions(this.#out);
      const settled = this.#out.count;
      if (settled > 0) accountEncap(this.#out, this.#tables);
      this.#out.count = 0;
      if (settled < BATCH_CAP) return;
    }
  }

  #forwardOne(frames: Batch, i: number): void {
    const { vnis, fdb } = this.#tables;
    const arena = this.#arena;
    const off = frames.off[i];
    const vniIdx = frames.vniIdx[i];
    const high = macHigh(arena, off);
    const low = macLow(arena, off);
    countSegments(arena, frames, i);
    writeVxlanHeader(arena, off - VXLAN_HEADROOM, vnis.vni[vniIdx]);
    const srcPortIdx = flowHash(arena, off, frames.len[i]) & SOURCE_SOCKET_MASK;
    if (isMulticastMac(high)) {
      const isBroadcast = high === 0xffff && low === -1;
      this.#floodOne(frames, i, srcPortIdx, isBroadcast ? FRAME_BROADCAST : FRAME_MULTICAST);
      return;
    }
    const peerIdx = fdb.lookupHashed(this.#hashes[i], vniIdx, high, low);
    if (peerIdx >= 0) this.#emit(frames, i, srcPortIdx, peerIdx, FRAME_FIRST_COPY, 0);
    else if (vnis.flood[vniIdx] !== 0) this.#floodOne(frames, i, srcPortIdx, FRAME_UNKNOWN_UNICAST);
    else this.#emit(frames, i, srcPortIdx, -1, FRAME_FIRST_COPY, DROP.flood_off);
  }

  #floodOne(frames: Batch, i: number, srcPortIdx: number, why: number): void {
    const runs = this.#tables.flood.runs(frames.vniIdx[i]);
    if (runs.length === 0) {
      this.#emit(frames, i, srcPortIdx, -1, FRAME_FIRST_COPY, DROP.no_tx_target);
      return;
    }
    let flags = FRAME_FIRST_COPY | why;
    for (let run = 0; run < runs.length; run += 2) {
      const end = runs[run] + runs[run + 1];
      for (let peerIdx = runs[run]; peerIdx < end; peerIdx++) {
        this.#emit(frames, i, srcPortIdx, peerIdx, flags, 0);
        flags = 0;
      }
    }
  }

  /** Lists one copy of frame i, or its drop, so that both are counted in one place. */
  #emit(frames: Batch, i: number, srcPortIdx: number, peerIdx: number, flags: number, verdict: number): void {
    const out = this.#out;
    const o = out.count;
    out.off[o] = frames.off[i] - VXLAN_HEADROOM;
    out.len[o] = frames.len[i] + VXLAN_HEADROOM;
    out.vniIdx[o] = frames.vniIdx[i];
    out.peerIdx[o] = peerIdx;
    out.srcPortIdx[o] = srcPortIdx;
    out.gsoType[o] = frames.gsoType[i];
    out.gsoSize[o] = frames.gsoSize[i];
    out.csumStart[o] = frames.csumStart[i] + VXLAN_HEADROOM;
    out.csumOff[o] = frames.csumOff[i];
    out.flags[o] = (frames.flags[i] & FRAME_NEEDS_CSUM) | flags;
    out.segCount[o] = frames.segCount[i];
    out.wireLen[o] = frames.wireLen[i];
    out.verdict[o] = verdict;
    out.status[o] = 0;
    if (++out.count === BATCH_CAP) this.#flush();
  }

  #flush(): void {
    const out = this.#out;
    if (out.count === 0) return;
    this.#underlay.send(out, this.#arena);
    accountEncap(out, this.#tables);
    out.count = 0;
  }
}

/** Sets segCount and wireLen of frame i. A superframe whose columns lie counts as one: the port refuses it. */
function countSegments(b: Uint8Array, frames: Batch, i: number): void {
  const len = frames.len[i];
  frames.segCount[i] = 1;
  frames.wireLen[i] = len;
  if (frames.gsoType[i] === GSO_NONE) return;
  const headersLen = superframeHeadersLen(b, frames, i);
  const size = frames.gsoSize[i];
  if (headersLen < 0 || size <= 0 || headersLen >= len) return;
  frames.segCount[i] = Math.ceil((len - headersLen) / size);
  frames.wireLen[i] = len + (frames.segCount[i] - 1) * headersLen;
}

/** Bytes up to the payload, which each segment repeats; −1: not all there. */
function superframeHeadersLen(b: Uint8Array, frames: Batch, i: number): number {
  const start = frames.csumStart[i];
  if ((frames.flags[i] & FRAME_NEEDS_CSUM) === 0 || start < 0) return -1;
  if (frames.gsoType[i] === GSO_UDP_L4) return start + UDP_LEN;
  const off = frames.off[i];
  return tcp.check(b, off + start, off + frames.len[i]) ? start + tcp.headerLen(b, off + start) : -1;
}
