/**
 * Fragments inner IPv4 packets without DF before encapsulation (RFC 791 §3.2; RFC 4459 §3.4).
 *
 * Each fragment is a frame with the Ethernet header of the original frame, and the receiving host
 * reassembles the packet. The outer datagrams stay whole, as RFC 7348 §4.3 requires.
 *
 * A UDP superframe is first segmented into its datagrams, whose checksums are completed; each is
 * then fragmented. Other frames come from the TAP with complete checksums. Fragments lie one after
 * another in a separate arena. They are sent before `send` returns. To keep the order of frames,
 * the caller therefore sends the frames it has collected before it calls `send`.
 *
 * All fragments of one packet have the same outer source port, so later fragments, which lack the
 * inner ports, take the same path as the first one.
 */

import { Batch, FRAME_NEEDS_CSUM, GSO_NONE } from '../../abi/batch.js';
import { BATCH_CAP, SLOT_MAX_LEN, VXLAN_HEADROOM } from '../../abi/limits.js';
import { checksum16, pseudoHeaderSumIpv4, put16 } from '../../wire/checksum.js';
import * as ipv4 from '../../wire/ipv4.js';
import { copyHeader, copyLaterHeader, finishHeader, fragmentDataLen } from '../../wire/ipv4-fragment.js';
import * as udp from '../../wire/udp.js';
import { writeVxlanHeader } from '../../wire/vxlan.js';
import type { Tables } from '../fdb/tables.js';
import { accountEncap, FRAGMENT_HEADERS_SHIFT, FRAME_FRAGMENT } from '../frame/account.js';
import { FRAME_FIRST_COPY, type UnderlayPort } from '../port/port.js';

/**
 * Room for two frames of the largest size, so that a fragmented frame with all its headers is sent
 * in one or two batches.
 */
const ARENA_LEN = 2 * SLOT_MAX_LEN;

/**
 * True when frame i can be sent in fragments of at most `packetMax` bytes: each fragment must have
 * room for data behind its header. The columns of a superframe must also agree with its headers,
 * and each of its datagrams must fit into an IPv4 packet.
 *
 * @param ip offset of its IPv4 header, already checked, without DF
 */
export function canFragment(b: Uint8Array, frames: Batch, i: number, ip: number, packetMax: number): boolean {
  const headerLen = ipv4.headerLen(b, ip);
  if (fragmentDataLen(packetMax, headerLen) === 0) return false;
  if (frames.gsoType[i] === GSO_NONE) return true;
  const datagramLen = Math.min(frames.gsoSize[i] + udp.UDP_LEN, frames.len[i] - frames.csumStart[i]);
  return (
    (frames.flags[i] & FRAME_NEEDS_CSUM) !== 0 &&
    frames.gsoSize[i] > 0 &&
    frames.csumStart[i] === ip + headerLen - frames.off[i] &&
    ipv4.protocol(b, ip) === ipv4.PROTOCOL_UDP &&
    !ipv4.isFragment(b, ip) &&
    datagramLen > udp.UDP_LEN &&
    headerLen + datagramLen <= ipv4.IPV4_PACKET_MAX
  );
}

export class Fragmenter {
  readonly #tables: Tables;
  readonly #underlay: UnderlayPort;
  /** Arena of the frames. */
  readonly #source: Uint8Array;
  readonly #out = new Batch();
  readonly #arena = new Uint8Array(ARENA_LEN);
  /** One datagram of a superframe, with its headers. */
  readonly #datagram = new Uint8Array(SLOT_MAX_LEN);
  #free = 0;
  /** Properties that all fragments of the current copy share. */
  #packetMax = 0;
  #vniIdx = 0;
  #peerIdx = 0;
  #srcPortIdx = 0;
  #tos = 0;
  #df = 0;
  #flags = 0;

  /** @param source arena of the frames */
  constructor(tables: Tables, underlay: UnderlayPort, source: Uint8Array) {
    this.#tables = tables;
    this.#underlay = underlay;
    this.#source = source;
  }

  /**
   * Sends one copy of frame i in fragments, and counts them. `canFragment` must have returned true.
   *
   * @param ip offset of its IPv4 header @param packetMax bytes of the largest fragment with its IP
   * header
   * @param flags flags of the copy: the first fragment gets all, the others only FRAME_FIRST_COPY
   */
  send(
    frames: Batch,
    i: number,
    ip: number,
    packetMax: number,
    peerIdx: number,
    srcPortIdx: number,
    flags: number,
  ): void {
    this.#packetMax = packetMax;
    this.#vniIdx = frames.vniIdx[i];
    this.#peerIdx = peerIdx;
    this.#srcPortIdx = srcPortIdx;
    this.#tos = frames.tos[i];
    this.#df = frames.df[i];
    this.#flags = flags;
    if (frames.gsoType[i] === GSO_NONE) this.#fragment(this.#source, frames.off[i], ip);
    else this.#fragmentEach(frames, i, ip);
    this.#flush();
  }

  #fragmentEach(frames: Batch, i: number, ip: number): void {
    for (let k = 0; k < frames.segCount[i]; k++) {
      this.#buildDatagram(frames, i, ip, k);
      this.#fragment(this.#datagram, 0, ip - frames.off[i]);
    }
  }

  /** Builds datagram k of a UDP superframe as the kernel would: lengths, id, checksum. */
  #buildDatagram(frames: Batch, i: number, ip: number, k: number): void {
    const to = this.#datagram;
    const off = frames.off[i];
    const l4 = frames.csumStart[i];
    const from = off + l4 + udp.UDP_LEN + k * frames.gsoSize[i];
    // The length is computed from the length of the frame. The length in the IP header, which the
    // sender chooses, is ignored.
    const dataLen = Math.min(frames.gsoSize[i], off + frames.len[i] - from);
    copy(to, 0, this.#source, off, l4 + udp.UDP_LEN);
    copy(to, l4 + udp.UDP_LEN, this.#source, from, dataLen);
    const at = ip - off;
    const udpLen = udp.UDP_LEN + dataLen;
    put16(to, at + ipv4.TOTAL_LEN_OFF, l4 - at + udpLen);
    put16(to, at + ipv4.ID_OFF, ((to[at + ipv4.ID_OFF] << 8) | to[at + ipv4.ID_OFF + 1]) + k);
    put16(to, l4 + udp.LENGTH_OFF, udpLen);
    put16(to, l4 + udp.CHECKSUM_OFF, 0);
    const pseudo = pseudoHeaderSumIpv4(to, at, ipv4.PROTOCOL_UDP, udpLen);
    // Zero would mean no checksum (RFC 768).
    put16(to, l4 + udp.CHECKSUM_OFF, checksum16(to, l4, udpLen, pseudo) || 0xffff);
  }

  /** Appends the fragments of the packet at `ip`, whose frame begins at `off` in `b`. */
  #fragment(b: Uint8Array, off: number, ip: number): void {
    const arena = this.#arena;
    const linkLen = ip - off;
    const begin = ip + ipv4.headerLen(b, ip);
    const end = ip + ipv4.totalLen(b, ip);
    const field = ipv4.fragmentField(b, ip);
    for (let from = begin; from < end; ) {
      const isFirst = from === begin;
      const frame = this.#slot(linkLen + this.#packetMax) + VXLAN_HEADROOM;
      const at = frame + linkLen;
      copy(arena, frame, b, off, linkLen);
      const headerLen = isFirst ? copyHeader(arena, at, b, ip) : copyLaterHeader(arena, at, b, ip);
      const isLast = end - from <= this.#packetMax - headerLen;
      const dataLen = isLast ? end - from : fragmentDataLen(this.#packetMax, headerLen);
      finishHeader(arena, at, dataLen, field, from - begin, isLast);
      copy(arena, at + headerLen, b, from, dataLen);
      this.#list(frame, linkLen + headerLen, dataLen, isFirst);
      from += dataLen;
    }
  }

  /**
   * Returns room for a frame and its VXLAN header. If there is none, the pending fragments are sent
   * first.
   */
  #slot(frameLen: number): number {
    const isFull = this.#out.count === BATCH_CAP || this.#free + VXLAN_HEADROOM + frameLen > ARENA_LEN;
    if (isFull) this.#flush();
    return this.#free;
  }

  #list(frame: number, headersLen: number, dataLen: number, isFirst: boolean): void {
    const out = this.#out;
    const o = out.count++;
    writeVxlanHeader(this.#arena, frame - VXLAN_HEADROOM, this.#tables.vnis.vni[this.#vniIdx]);
    out.off[o] = frame - VXLAN_HEADROOM;
    out.len[o] = VXLAN_HEADROOM + headersLen + dataLen;
    out.vniIdx[o] = this.#vniIdx;
    out.peerIdx[o] = this.#peerIdx;
    out.srcPortIdx[o] = this.#srcPortIdx;
    out.tos[o] = this.#tos;
    out.df[o] = this.#df;
    out.flags[o] = isFirst
      ? this.#flags
      : (headersLen << FRAGMENT_HEADERS_SHIFT) | FRAME_FRAGMENT | (this.#flags & FRAME_FIRST_COPY);
    out.segCount[o] = 1;
    out.wireLen[o] = headersLen + dataLen;
    this.#free = frame + headersLen + dataLen;
  }

  #flush(): void {
    const out = this.#out;
    if (out.count > 0) {
      this.#underlay.send(out, this.#arena);
      accountEncap(out, this.#tables);
    }
    out.count = 0;
    this.#free = 0;
  }
}

/** Byte by byte: a view to copy from would allocate an object per fragment. */
function copy(to: Uint8Array, at: number, b: Uint8Array, from: number, len: number): void {
  for (let i = 0; i < len; i++) to[at + i] = b[from + i];
}
