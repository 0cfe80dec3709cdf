/**
 * Ports without a kernel: an overlay and an underlay in memory.
 *
 * Tests and benchmarks insert frames and read the output. The thread of `memory-thread.ts` uses
 * these ports, too.
 */
import { type Batch, GSO_NONE } from '../../src/abi/batch.js';
import {
  BACKLOG_LEN,
  BATCH_CAP,
  PEER_ROW_LEN,
  RECEIVE_SLOT_STRIDE,
  SLOT_MAX_LEN,
  VXLAN_HEADROOM,
} from '../../src/abi/limits.js';
import { PathErrors } from '../../src/abi/path-errors.js';
import type { OverlayPort, UnderlayPort } from '../../src/switch/port/port.js';

/** A frame written to the overlay: its bytes and the batch columns that describe it. */
export interface WrittenFrame {
  vniIdx: number;
  bytes: Uint8Array;
  gsoType: number;
  gsoSize: number;
  csumStart: number;
  csumOff: number;
  flags: number;
}

/** Batch columns of a superframe that the kernel hands over; all other columns are 0. */
export type Superframe = Pick<WrittenFrame, 'gsoType' | 'gsoSize' | 'csumStart' | 'csumOff' | 'flags'>;

const NOT_SUPER: Superframe = { gsoType: GSO_NONE, gsoSize: 0, csumStart: 0, csumOff: 0, flags: 0 };

/** A datagram sent to the underlay: UDP payload and peer row. */
export interface SentDatagram {
  peerIdx: number;
  srcPortIdx: number;
  /** Outer TOS. */
  tos: number;
  /** Value of the batch column `df`. */
  df: number;
  bytes: Uint8Array;
  gsoSize: number;
  /** Number of frames on the wire that the datagram represents. */
  segCount: number;
  /** Offset of the inner transport header of a superframe, from the first byte of the datagram. */
  csumStart: number;
}

export class MemoryOverlay implements OverlayPort {
  readonly arena = new Uint8Array(BATCH_CAP * 2048 + SLOT_MAX_LEN + BACKLOG_LEN);
  /** Frames that `read` will deliver. */
  readonly waiting: { vniIdx: number; bytes: Uint8Array; superframe?: Superframe }[] = [];
  readonly written: WrittenFrame[] = [];
  /** Status of writes; 0: success. */
  writeStatus = 0;
  /** False in benchmarks: written frames are discarded. */
  keep = true;
  #free = 0;

  read(batch: Batch, vniIdx: number): number {
    let got = 0;
    while (batch.count < BATCH_CAP) {
      const at = this.waiting.findIndex((frame) => frame.vniIdx === vniIdx);
      if (at < 0) break;
      const [frame] = this.waiting.splice(at, 1);
      const i = batch.count++;
      const off = (this.#free + 63 + VXLAN_HEADROOM) & ~63;
      this.arena.set(frame.bytes, off);
      this.#free = off + frame.bytes.length;
      batch.off[i] = off;
      batch.len[i] = frame.bytes.length;
      batch.vniIdx[i] = vniIdx;
      const { gsoType, gsoSize, csumStart, csumOff, flags } = frame.superframe ?? NOT_SUPER;
      batch.gsoType[i] = gsoType;
      batch.gsoSize[i] = gsoSize;
      batch.csumStart[i] = csumStart;
      batch.csumOff[i] = csumOff;
      batch.flags[i] = flags;
      batch.segCount[i] = 1;
      got++;
    }
    return got;
  }

  reset(): void {
    this.#free = 0;
  }

  write(batch: Batch, arena: Uint8Array): number {
    let failed = 0;
    for (let i = 0; i < batch.count; i++) {
      batch.status[i] = 0;
      if (batch.verdict[i] !== 0) continue;
      batch.status[i] = this.writeStatus;
      if (this.writeStatus !== 0) failed++;
      else if (this.keep) this.written.push(writtenFrame(batch, i, arena));
    }
    return failed;
  }
}

export class MemoryUnderlay implements UnderlayPort {
  readonly arena = new Uint8Array(BATCH_CAP * RECEIVE_SLOT_STRIDE);
  readonly sources = new Uint8Array(BATCH_CAP * PEER_ROW_LEN);
  /** Datagrams that `receive` will deliver; a `gsoSize` other than 0 marks a train. */
  readonly waiting: {
    source: Uint8Array;
    bytes: Uint8Array;
    gsoSize: number;
    tos: number;
    ifindex?: number;
  }[] = [];
  readonly sent: SentDatagram[] = [];
  /** Status of sends, indexed by peer row; sends to a row without an entry succeed. */
  readonly sendStatus = new Map<number, number>();
  /** Path errors that `takePathErrors` will return. */
  readonly pathErrors = new PathErrors();
  overflow = 0;
  strangersOverflow = 0;
  keep = true;

  hold(): void {}

  open(): void {}

  receive(batch: Batch): number {
    batch.count = 0;
    if (this.waiting.length === 0) return 0;
    for (const { source, bytes, gsoSize, tos, ifindex = 0 } of this.waiting.splice(0, BATCH_CAP)) {
      const i = batch.count++;
      const off = i * RECEIVE_SLOT_STRIDE;
      this.arena.set(bytes, off);
      this.sources.set(source, i * PEER_ROW_LEN);
      batch.off[i] = off;
      batch.len[i] = bytes.length;
      batch.gsoSize[i] = gsoSize;
      batch.tos[i] = tos;
      batch.ifindex[i] = ifindex;
      batch.segCount[i] = 1;
    }
    return batch.count;
  }

  send(batch: Batch, arena: Uint8Array): number {
    let failed = 0;
    for (let i = 0; i < batch.count; i++) {
      batch.status[i] = 0;
      if (batch.verdict[i] !== 0) continue;
      const status = this.sendStatus.get(batch.peerIdx[i]) ?? 0;
      batch.status[i] = status;
      if (status !== 0) failed++;
      else if (this.keep) {
        const bytes = arena.slice(batch.off[i], batch.off[i] + batch.len[i]);
        this.sent.push({
          peerIdx: batch.peerIdx[i],
          srcPortIdx: batch.srcPortIdx[i],
          tos: batch.tos[i],
          df: batch.df[i],
          bytes,
          gsoSize: batch.gsoSize[i],
          segCount: batch.segCount[i],
          csumStart: batch.csumStart[i],
        });
      }
    }
    return failed;
  }

  completions(batch: Batch): number {
    batch.count = 0;
    return 0;
  }

  /** Nothing to do: sends complete at once. */
  vniRemoved(_vniIdx: number): void {}

  /** Nothing to do: this engine does not share time among peers. */
  delivered(): void {}

  takeOverflow(): number {
    const { overflow } = this;
    this.overflow = 0;
    return overflow;
  }

  takeStrangersOverflow(): number {
    const { strangersOverflow } = this;
    this.strangersOverflow = 0;
    return strangersOverflow;
  }

  markReadable(): void {}

  drainErrors(): void {}

  takePathErrors(report: PathErrors): number {
    return report.moveFrom(this.pathErrors);
  }

  peersChanged(): void {}
}

function writtenFrame(batch: Batch, i: number, arena: Uint8Array): WrittenFrame {
  return {
    vniIdx: batch.vniIdx[i],
    bytes: arena.slice(batch.off[i], batch.off[i] + batch.len[i]),
    gsoType: batch.gsoType[i],
    gsoSize: batch.gsoSize[i],
    csumStart: batch.csumStart[i],
    csumOff: batch.csumOff[i],
    flags: batch.flags[i],
  };
}
