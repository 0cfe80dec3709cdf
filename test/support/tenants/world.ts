/**
 * A data plane in memory that serves several tenants, its input, and checks of its output.
 *
 * A tenant is the user of one VNI; its number is the row of that VNI. Invariants, for any content
 * of a frame:
 *
 * - *Isolation.* A frame that is written, sent, answered or captured for a VNI contains marks of
 *   one frame only, and that frame entered in this VNI. A frame without a whole mark is attributed
 *   by its source MAC.
 * - *No uncounted loss.* The frame of a datagram is written once, with its original bytes, or
 *   counted as one drop of its own VNI. Each copy of a frame of a TAP is sent whole, sent in
 *   fragments that are exactly the frame, or counted as a drop. The identity of the counters holds.
 * - *Bounds.* Segments of a superframe are neither too short nor too many, and fragments contain
 *   the frame's own bytes once.
 * - *Policy.* With `--vlan strip` and `--vlan drop` no tagged frame is written.
 */

import { FRAME_NEEDS_CSUM } from '../../../src/abi/batch.js';
import { SLOT_MAX_LEN } from '../../../src/abi/limits.js';
import { type Captured, CaptureRing, createCaptureRing } from '../../../src/exchange/capture-ring.js';
import { NOTE_WORDS } from '../../../src/switch/fdb/note-ring.js';
import { noteRingsOf } from '../../../src/switch/fdb/replication.js';
import { MemoryPlane, PendingUnderlay } from '../memory-plane.js';
import { MemoryOverlay, MemoryUnderlay, type SentDatagram, type WrittenFrame } from '../memory-ports.js';
import {
  type BuiltFrame,
  buildFrame,
  type FrameSpec,
  sourceMac,
  stationMac,
  TO_STATION,
  TO_UNKNOWN,
  UDP4,
  UDP6,
} from './frame.js';
import { type Mark, markOf, marksIn, tenantOf } from './marks.js';
import type { FromTap, Op, Single, Train, WorldSpec } from './operations.js';
import {
  checkCopy,
  checkDelivery,
  fail,
  type Known,
  list,
  MOST_SEGMENTS,
  named,
  STRAY,
  text,
  VNIS,
  VXLAN_LEN,
  vxlanHeader,
} from './oracle.js';

export const ADDRESSES = ['192.0.2.1', '192.0.2.2', '2001:db8::3'];
export const STRANGER = '203.0.113.9';
/** Peers of each VNI, as indices of ADDRESSES. */
const PEERS = [
  [0, 1, 2],
  [0, 2],
  [0, 1],
];

/** Ports, which all worlds reuse, so that their memory contains frames of earlier worlds. */
const ports = [0, 1].map(() => ({
  overlay: new MemoryOverlay(),
  underlay: new MemoryUnderlay(),
  later: new PendingUnderlay(),
}));
let nextNumber = 1;

export class World {
  readonly #spec: WorldSpec;
  readonly #planes: MemoryPlane[];
  readonly #rings: CaptureRing[] = [];
  /** VNI rows, indexed by peer row. */
  readonly #rowOf = new Map<number, number>();
  readonly #known = new Map<Mark, Known>();
  readonly #strays: number[] = [];

  constructor(spec: WorldSpec) {
    this.#spec = spec;
    const notes = new SharedArrayBuffer(spec.workers ** 2 * (128 + 256 * NOTE_WORDS * 4));
    this.#planes = Array.from({ length: spec.workers }, (_, index) => {
      const { overlay, underlay, later } = ports[index];
      const plane = new MemoryPlane({
        df: spec.df,
        overlay,
        underlay: spec.pending ? later : underlay,
        ...(spec.workers > 1 ? { notes: noteRingsOf(index, spec.workers, notes, 0) } : {}),
      });
      overlay.waiting.length = 0;
      plane.underlay.waiting.length = 0;
      plane.clear();
      return plane;
    });
    for (const plane of this.#planes) this.#configure(plane);
    this.#prime();
    if (spec.capture) this.#capture(spec.capture);
  }

  /** @param index number of the operation; the workers take turns */
  put(op: Op, index: number): void {
    const plane = this.#planes[index % this.#planes.length];
    if (op.op === 'train') this.#putTrain(plane, op);
    else if (op.op === 'single') this.#putSingle(plane, op);
    else this.#putFrame(plane, op);
  }

  /** Runs rounds and completes pending sends until nothing is pending. */
  breathe(): void {
    for (const plane of this.#planes) {
      plane.breathe();
      if (!(plane.underlay instanceof PendingUnderlay)) continue;
      plane.underlay.answer(plane.underlay.pending);
      for (let round = 0; round < 100; round++) plane.loop.housekeeping(plane.clock);
    }
  }

  /** @throws Error with the violated invariant */
  check(): void {
    for (const plane of this.#planes) {
      for (const written of plane.overlay.written) this.#checkWritten(written);
      for (const sent of plane.underlay.sent) this.#checkSent(sent);
    }
    for (const known of this.#known.values())
      for (const [peerIdx, sent] of known.sent) checkCopy(known, sent, `to peer row ${peerIdx}`);
    for (const ring of this.#rings) for (const packet of takeAll(ring)) this.#checkCaptured(packet);
    this.#checkCounts();
  }

  #configure(plane: MemoryPlane): void {
    VNIS.forEach((vni, row) => {
      plane.addVni(row, vni, { ...this.#spec.vnis[row], ageingS: 300 });
      for (const peer of PEERS[row]) {
        const peerIdx = plane.addPeer(row, ADDRESSES[peer], { pathMtu: this.#spec.pathMtus[peer] });
        this.#rowOf.set(peerIdx, row);
        const mac = stationMac(row, peer);
        plane.tables.fdb.putStatic(row, mac.readUInt16BE(0), mac.readInt32BE(2), peerIdx);
      }
    });
  }

  /**
   * Fills the memory that VNIs share with frames of each VNI, so that a read past the end of a
   * frame returns marks of these frames.
   */
  #prime(): void {
    for (const plane of this.#planes) {
      for (const tenant of VNIS.keys()) {
        // An oversized packet: the ICMP answer to it fills the memory of answers, which VNIs share.
        const packet = this.#make({ ...valid(tenant), kind: UDP6, postponed: false }, 3_000);
        plane.overlay.waiting.push({ vniIdx: tenant, bytes: packet.frame.bytes });
        const { frame } = this.#make(valid(tenant), 9_000);
        const columns = { gsoSize: 4_000, csumStart: frame.transport, csumOff: 6, flags: FRAME_NEEDS_CSUM };
        plane.overlay.waiting.push({
          vniIdx: tenant,
          bytes: frame.bytes,
          superframe: { gsoType: 5, ...columns },
        });
      }
      plane.breathe();
      if (plane.underlay instanceof PendingUnderlay) plane.underlay.answer(plane.underlay.pending);
      plane.breathe();
      plane.clear();
      plane.memory.counters.cells.fill(0);
    }
  }

  #capture({ point, vniIdx }: NonNullable<WorldSpec['capture']>): void {
    for (const plane of this.#planes) {
      const ring = createCaptureRing();
      plane.apply({ op: 'capture', on: true, vniIdx, point, snapLen: 262_144, ring });
      this.#rings.push(new CaptureRing(ring));
    }
  }

  #make(spec: FrameSpec, len: number, around = { segment: 1000, rest: 0 }, source?: Buffer) {
    const number = nextNumber++;
    const mark = markOf(spec.tenant, number);
    const foreign = VNIS[(spec.tenant + 1) % VNIS.length];
    const mac = source ?? sourceMac(spec.tenant, number);
    return { mark, frame: buildFrame(spec, len, mac, mark, around, foreign) };
  }

  #know(spec: FrameSpec, mark: Mark, frame: BuiltFrame, rest: Partial<Known>): void {
    this.#known.set(mark, {
      mark,
      tenant: spec.tenant,
      frame,
      isSuper: false,
      fromTap: false,
      copies: 1,
      written: 0,
      sent: new Map(),
      ...rest,
    });
  }

  #putTrain(plane: MemoryPlane, { source, size, frames, flags, ...train }: Train): void {
    const count = Math.max(2, Math.min(train.count, Math.floor(65_000 / size)));
    const total = (count - 1) * size + Math.min(size, train.lastLen);
    const bytes = Buffer.alloc(total);
    for (let at = 0; at < total; at += size) {
      const spec = frames[(at / size) % frames.length];
      const len = Math.min(size, total - at);
      const around = { segment: size, rest: total - at - len };
      const { mark, frame } = this.#make(spec, Math.max(0, len - VXLAN_LEN), around);
      vxlanHeader(spec.tenant, flags).copy(bytes, at, 0, len);
      frame.bytes.copy(bytes, at + VXLAN_LEN);
      const isOfVni = len >= VXLAN_LEN + 14 && (flags & 0x08) !== 0 && spec.tenant !== STRAY;
      if (isOfVni) this.#know(spec, mark, frame, { isSuper: mayBeSuper(frame) });
      else this.#strays.push(mark);
    }
    plane.fromUnderlay(addressOf(source), bytes, size);
  }

  #putSingle(plane: MemoryPlane, { source, frame: spec, len, segment, badSource }: Single): void {
    const mac = badSource ? Buffer.of(0x01, 0, 0, 0, 0, 1) : undefined;
    const { mark, frame } = this.#make(spec, len, { segment, rest: segment }, mac);
    if (spec.tenant === STRAY) this.#strays.push(mark);
    else this.#know(spec, mark, frame, { isSuper: mayBeSuper(frame) });
    plane.fromUnderlay(addressOf(source), Buffer.concat([vxlanHeader(spec.tenant, 0x08), frame.bytes]));
  }

  #putFrame(plane: MemoryPlane, { frame: spec, len, superframe }: FromTap): void {
    const segment = Math.max(30, superframe?.gsoSize ?? 1000);
    const { mark, frame } = this.#make(spec, Math.min(len, SLOT_MAX_LEN), { segment, rest: segment });
    const isFlooded =
      spec.to < TO_STATION || spec.to === TO_UNKNOWN || !PEERS[spec.tenant].includes(spec.to - TO_STATION);
    const isDropped = spec.to >= TO_STATION && isFlooded && !this.#spec.vnis[spec.tenant].flood;
    const copies = isFlooded && !isDropped ? PEERS[spec.tenant].length : 1;
    this.#know(spec, mark, frame, {
      fromTap: true,
      copies,
      isSuper: superframe !== null && superframe.gsoType !== 0,
    });
    const { overlay } = plane;
    if (superframe === null) {
      overlay.waiting.push({ vniIdx: spec.tenant, bytes: frame.bytes });
      return;
    }
    const { gsoType, gsoSize, csumOff, csumStartBy, needsCsum } = superframe;
    const csumStart = Math.max(0, frame.transport + csumStartBy);
    const flags = needsCsum ? FRAME_NEEDS_CSUM : 0;
    overlay.waiting.push({
      vniIdx: spec.tenant,
      bytes: frame.bytes,
      superframe: { gsoType, gsoSize, csumStart, csumOff, flags },
    });
  }

  /**
   * Checks that a frame written to a TAP is a datagram of this VNI, or an answer to a frame of this
   * TAP.
   */
  #checkWritten(written: WrittenFrame): void {
    const where = `written to VNI ${VNIS[written.vniIdx]}`;
    const bytes = Buffer.from(written.bytes);
    const marks = marksIn(bytes);
    const delivered = this.#known.get(named(bytes, 6));
    if (delivered && !delivered.fromTap) {
      this.#checkOwner(delivered, written.vniIdx, marks, where);
      if (++delivered.written > 1) fail(`${where}: ${text(delivered.mark)} is written twice`);
      checkDelivery(delivered, written, this.#spec.vnis[delivered.tenant].vlan, where);
      return;
    }
    const answered = this.#known.get(named(bytes, 0));
    if (!answered?.fromTap) fail(`${where}: an unknown frame, ${bytes.length} bytes, ${list(marks)}`);
    else this.#checkOwner(answered, written.vniIdx, marks, `${where} as an answer`);
  }

  #checkSent(sent: SentDatagram): void {
    const bytes = Buffer.from(sent.bytes);
    const row = this.#rowOf.get(sent.peerIdx) ?? -1;
    const where = `sent to peer row ${sent.peerIdx} of VNI ${VNIS[row]}`;
    if (bytes.length < VXLAN_LEN + 14) fail(`${where}: ${bytes.length} bytes are too short`);
    if (!bytes.subarray(0, VXLAN_LEN).equals(vxlanHeader(row, 0x08)))
      fail(`${where}: the VXLAN header is wrong`);
    const known = this.#known.get(named(bytes, VXLAN_LEN + 6));
    const marks = marksIn(bytes);
    if (!known?.fromTap)
      throw new Error(`${where}: a frame that no TAP delivered, ${bytes.length} bytes, ${list(marks)}`);
    this.#checkOwner(known, row, marks, where);
    if (sent.segCount > MOST_SEGMENTS)
      fail(`${where}: ${text(known.mark)} has too many segments: ${sent.segCount}`);
    const copy = known.sent.get(sent.peerIdx);
    if (copy) copy.push(sent);
    else known.sent.set(sent.peerIdx, [sent]);
  }

  #checkOwner(known: Known, row: number, marks: Set<Mark>, where: string): void {
    if (known.tenant !== row) fail(`${where}: ${text(known.mark)} is in the wrong VNI`);
    for (const mark of marks)
      if (mark !== known.mark) fail(`${where}: ${text(known.mark)} contains bytes of ${text(mark)}`);
  }

  #checkCaptured({ vniIdx, bytes, received }: Captured): void {
    const requested = this.#spec.capture!.vniIdx;
    const where = `captured as VNI row ${vniIdx}${received ? ', received' : ''}`;
    if (requested >= 0 && vniIdx !== requested) fail(`${where}, but row ${requested} was requested`);
    const marks = marksIn(bytes);
    if (marks.size > 1) fail(`${where}: a packet contains ${list(marks)}`);
    for (const mark of marks)
      if (vniIdx >= 0 && tenantOf(mark) !== vniIdx) fail(`${where}: a packet contains ${text(mark)}`);
  }

  #checkCounts(): void {
    let strays = 0;
    for (const plane of this.#planes) {
      strays += dropsOf(plane, -1, 'decap');
      for (const row of VNIS.keys()) {
        const { encap, decap } = plane.identity(row);
        if (encap[0] !== encap[1])
          fail(`VNI ${VNIS[row]}: the counter identity of encap is violated: ${encap.join(' ≠ ')}`);
        if (decap[0] !== decap[1])
          fail(`VNI ${VNIS[row]}: the counter identity of decap is violated: ${decap.join(' ≠ ')}`);
      }
    }
    if (strays !== this.#strays.length)
      fail(`${this.#strays.length} datagrams had no configured VNI, ${strays} were counted`);
    for (const row of VNIS.keys())
      for (const direction of ['encap', 'decap'] as const) this.#checkLosses(row, direction);
  }

  /**
   * Checks that as many frames are counted as dropped as were lost. A superframe is counted as the
   * number of its segments, so the count may exceed the number of lost superframes.
   */
  #checkLosses(row: number, direction: 'encap' | 'decap'): void {
    const fromTap = direction === 'encap';
    let lost = 0;
    let hasSuperframes = false;
    for (const known of this.#known.values()) {
      if (known.tenant !== row || known.fromTap !== fromTap) continue;
      lost += fromTap ? lostCopies(known) : 1 - known.written;
      hasSuperframes ||= known.isSuper;
    }
    let counted = 0;
    for (const plane of this.#planes) counted += dropsOf(plane, row, direction);
    const isRight = hasSuperframes ? counted >= lost && (lost > 0 || counted === 0) : counted === lost;
    if (!isRight) fail(`VNI ${VNIS[row]}: ${lost} frames were lost in ${direction}, ${counted} were counted`);
  }
}

function valid(tenant: number): FrameSpec {
  const rest = { tos: 0, syn: false, nested: false, dontFragment: false, tags: [], lies: [] };
  return { tenant, kind: UDP4, to: TO_STATION, postponed: true, ...rest };
}

/**
 * Number of copies that were not sent. A superframe with too many segments is dropped before it is
 * copied, so it counts as one drop for a flood list of any length.
 */
function lostCopies({ isSuper, copies, sent }: Known): number {
  return isSuper && sent.size === 0 ? 1 : copies - sent.size;
}

/**
 * A TCP segment that exceeds the overlay MTU and has a partial checksum counts as several frames.
 */
function mayBeSuper({ isTcp, bytes }: BuiltFrame): boolean {
  return isTcp && bytes.length > 1400;
}

function addressOf(source: number): string {
  return ADDRESSES[source] ?? STRANGER;
}

function dropsOf(plane: MemoryPlane, row: number, direction: 'encap' | 'decap'): number {
  return Object.values(plane.drops(row, direction)).reduce((sum, count) => sum + count, 0);
}

function takeAll(ring: CaptureRing): Captured[] {
  const packets: Captured[] = [];
  for (let packet = ring.first(); packet; packet = ring.first()) {
    packets.push({ ...packet, bytes: packet.bytes.slice() });
    ring.release();
  }
  return packets;
}
