/**
 * Packet capture at the edges of the data plane.
 *
 * Packets are recorded where they enter and leave the data plane, in a ring that the main thread
 * empties. Capturing ports wrap the real ones, so encap, decap, ICMP answers and path probes need
 * no changes. Without a capture this costs one branch per batch.
 *
 * - *overlay*: frames as read from and written to TAPs. A superframe is one packet; postponed
 *   checksums are recorded unfinished.
 * - *underlay*: UDP payloads from the VXLAN header on, as passed to and received from the kernel. A
 *   superframe that the port will segment, or that was received whole, is one packet; trains are
 *   recorded datagram by datagram. The payloads have no outer headers, so the known fields of these
 *   headers are taken from peer rows and batch columns.
 */

import { type Batch, DF_SET } from '../../abi/batch.js';
import type { Shim } from '../../abi/binding.js';
import { SOURCE_SOCKETS } from '../../abi/limits.js';
import type { PathErrors } from '../../abi/path-errors.js';
import { AF_INET6 } from '../../abi/peer-row.js';
import {
  CAPTURED_DECAP,
  CAPTURED_UNDERLAY,
  type CaptureNote,
  CaptureRing,
} from '../../exchange/capture-ring.js';
import type { CaptureChange } from '../../exchange/protocol.js';
import { hasVni, VXLAN_LEN, vni } from '../../wire/vxlan.js';
import { type Clock, EPOCH_MS } from '../fdb/clock.js';
import type { Tables } from '../fdb/tables.js';
import type { OverlayPort, UnderlayPort } from '../port/port.js';

export interface CaptureSpec {
  /** Row of the VNI to capture; −1: all. */
  readonly vniIdx: number;
  readonly point: 'overlay' | 'underlay';
  /** Bytes kept of a packet. */
  readonly snapLen: number;
  readonly ring: CaptureRing;
  /** UDP port of each pool socket, indexed like UdpFds.send; 0: unknown. */
  readonly sourcePorts: ArrayLike<number>;
}

export class Capture {
  /** True while frames or datagrams are captured; the ports test this once per batch. */
  overlay = false;
  underlay = false;
  readonly #tables: Tables;
  readonly #clock: Clock;
  #spec: CaptureSpec | undefined;
  readonly #note: CaptureNote = {
    flags: 0,
    atMs: 0,
    peerIdx: -1,
    vniIdx: -1,
    sourcePort: 0,
    tos: 0,
  };

  /** @param clock time of the data plane, updated by the thread */
  constructor(tables: Tables, clock: Clock) {
    this.#tables = tables;
    this.#clock = clock;
  }

  /** Wraps a port so that what passes through it is recorded. */
  overlayPort(port: OverlayPort): OverlayPort {
    return new CapturedOverlay(port, this);
  }

  /** Wraps a port so that what passes through it is recorded. */
  underlayPort(port: UnderlayPort): UnderlayPort {
    return new CapturedUnderlay(port, this);
  }

  /**
   * Starts or stops a capture.
   *
   * @param change capture to start; undefined: stop
   * @param sendFds sockets of the source-port pools, indexed like `UdpFds.send`
   */
  set(change: CaptureChange | undefined, shim: Shim, sendFds: readonly number[]): void {
    if (change === undefined) {
      this.stop();
      return;
    }
    const sourcePorts = sendFds.map((fd) => (fd < 0 ? 0 : shim.udpPort(fd)));
    this.start({ ...change, ring: new CaptureRing(change.ring), sourcePorts });
  }

  start(spec: CaptureSpec): void {
    this.#spec = spec;
    this.#note.sourcePort = 0;
    this.#note.tos = 0;
    this.overlay = spec.point === 'overlay';
    this.underlay = spec.point === 'underlay';
  }

  stop(): void {
    this.#spec = undefined;
    this.overlay = false;
    this.underlay = false;
  }

  /** Stops the capture of a VNI whose row is released, because another VNI may get the row. */
  vniRemoved(vniIdx: number): void {
    if (this.#spec?.vniIdx === vniIdx) this.stop();
  }

  /** Records frames read from a TAP, from descriptor `start` on. */
  frames(batch: Batch, start: number, arena: Uint8Array): void {
    for (let i = start; i < batch.count; i++)
      this.#put(0, batch.vniIdx[i], -1, arena, batch.off[i], batch.len[i]);
  }

  /** Records frames before they are written to TAPs. */
  deliveries(batch: Batch, arena: Uint8Array): void {
    for (let i = 0; i < batch.count; i++)
      if (batch.verdict[i] === 0)
        this.#put(CAPTURED_DECAP, batch.vniIdx[i], -1, arena, batch.off[i], batch.len[i]);
  }

  /** Records datagrams before they are sent. */
  sends(batch: Batch, arena: Uint8Array): void {
    for (let i = 0; i < batch.count; i++) {
      if (batch.verdict[i] !== 0) continue;
      this.#note.sourcePort = this.#portOf(batch, i);
      this.#note.tos = batch.tos[i];
      const { vniIdx, peerIdx, off, len } = batch;
      this.#put(CAPTURED_UNDERLAY, vniIdx[i], peerIdx[i], arena, off[i], len[i]);
    }
  }

  /**
   * Records received datagrams.
   *
   * @param sources packed source rows as words
   */
  arrivals(batch: Batch, arena: Uint8Array, sources: Int32Array): void {
    for (let i = 0; i < batch.count; i++) {
      this.#note.sourcePort = sources[i << 3] >>> 16;
      this.#note.tos = batch.tos[i];
      const off = batch.off[i];
      const end = off + batch.len[i];
      const gsoSize = batch.gsoSize[i];
      const step = gsoSize <= 0 ? batch.len[i] : gsoSize;
      for (let at = off; at < end; at += step) this.#arrival(arena, at, Math.min(step, end - at), sources, i);
    }
  }

  #arrival(arena: Uint8Array, off: number, len: number, sources: Int32Array, i: number): void {
    const { vnis, peers } = this.#tables;
    const vniIdx = len >= VXLAN_LEN && hasVni(arena, off) ? vnis.find(vni(arena, off)) : -1;
    const peerIdx = vniIdx < 0 ? -1 : peers.findSource(vniIdx, sources, i);
    this.#put(CAPTURED_DECAP | CAPTURED_UNDERLAY, vniIdx, peerIdx, arena, off, len);
  }

  #put(flags: number, vniIdx: number, peerIdx: number, arena: Uint8Array, off: number, len: number): void {
    const spec = this.#spec;
    if (spec === undefined || (spec.vniIdx >= 0 && spec.vniIdx !== vniIdx)) return;
    const note = this.#note;
    note.flags = flags;
    note.atMs = this.#clock[EPOCH_MS];
    note.vniIdx = vniIdx;
    note.peerIdx = peerIdx;
    spec.ring.put(note, arena, off, len, spec.snapLen);
  }

  #portOf(batch: Batch, i: number): number {
    const family = this.#tables.peers.family(batch.peerIdx[i]);
    const pool = (family === AF_INET6 ? 1 : 0) + (batch.df[i] === DF_SET ? 0 : 2);
    return this.#spec?.sourcePorts[pool * SOURCE_SOCKETS + batch.srcPortIdx[i]] ?? 0;
  }
}

class CapturedOverlay implements OverlayPort {
  readonly arena: Uint8Array;
  readonly #port: OverlayPort;
  readonly #capture: Capture;

  constructor(port: OverlayPort, capture: Capture) {
    this.arena = port.arena;
    this.#port = port;
    this.#capture = capture;
  }

  read(batch: Batch, vniIdx: number): number {
    const start = batch.count;
    const got = this.#port.read(batch, vniIdx);
    if (this.#capture.overlay) this.#capture.frames(batch, start, this.arena);
    return got;
  }

  reset(): void {
    this.#port.reset();
  }

  write(batch: Batch, arena: Uint8Array): number {
    if (this.#capture.overlay) this.#capture.deliveries(batch, arena);
    return this.#port.write(batch, arena);
  }
}

class CapturedUnderlay implements UnderlayPort {
  readonly arena: Uint8Array;
  readonly sources: Uint8Array;
  readonly #port: UnderlayPort;
  readonly #capture: Capture;
  readonly #sourceWords: Int32Array;

  constructor(port: UnderlayPort, capture: Capture) {
    const { sources } = port;
    this.arena = port.arena;
    this.sources = sources;
    this.#port = port;
    this.#capture = capture;
    this.#sourceWords = new Int32Array(sources.buffer, sources.byteOffset, sources.length >> 2);
  }

  receive(batch: Batch): number {
    const got = this.#port.receive(batch);
    if (this.#capture.underlay) this.#capture.arrivals(batch, this.arena, this.#sourceWords);
    return got;
  }

  send(batch: Batch, arena: Uint8Array): number {
    if (this.#capture.underlay) this.#capture.sends(batch, arena);
    return this.#port.send(batch, arena);
  }

  completions(batch: Batch): number {
    return this.#port.completions(batch);
  }

  vniRemoved(vniIdx: number): void {
    this.#port.vniRemoved(vniIdx);
  }

  delivered(tapsWait: boolean): void {
    this.#port.delivered(tapsWait);
  }

  hold(ipv4: boolean, ipv6: boolean): void {
    this.#port.hold(ipv4, ipv6);
  }

  open(): void {
    this.#port.open();
  }

  takeOverflow(): number {
    return this.#port.takeOverflow();
  }

  takeStrangersOverflow(): number {
    return this.#port.takeStrangersOverflow();
  }

  markReadable(fd: number): void {
    this.#port.markReadable(fd);
  }

  drainErrors(fd: number): void {
    this.#port.drainErrors(fd);
  }

  takePathErrors(report: PathErrors): number {
    return this.#port.takePathErrors(report);
  }

  peersChanged(): void {
    this.#port.peersChanged();
  }
}
