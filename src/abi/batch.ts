/**
 * A batch: descriptors in columns. Column k of descriptor i says one thing about frame or datagram i; the
 * bytes themselves lie in an arena. The columns are `struct batch` of the shim, in the same memory, so a
 * batch crosses into C without being copied or packed. `abi/layout.ts` checks offsets and sizes at load.
 *
 * Owned by the port pair that fills and empties it; the data plane borrows it for one round.
 */
import { BATCH_CAP } from './limits.js';

/** Order of the columns in memory. */
export const COLUMNS = [
  'off',
  'len',
  'vniIdx',
  'peerIdx',
  'srcPortIdx',
  'tos',
  'df',
  'gsoType',
  'gsoSize',
  'csumStart',
  'csumOff',
  'flags',
  'segCount',
  'verdict',
  'status',
] as const;

export const COLUMN_LEN = BATCH_CAP * 4;
export const BATCH_LEN = COLUMNS.length * COLUMN_LEN;

/** The L4 checksum holds the pseudo-header sum only; the kernel finishes it (`flags` column). */
export const FRAME_NEEDS_CSUM = 1;
/** Values of the `gsoType` column: those of virtio_net_hdr. */
export const GSO_NONE = 0;
export const GSO_TCPV4 = 1;
export const GSO_TCPV6 = 4;
export const GSO_UDP_L4 = 5;
/** Bit of the same: TCP with ECN, a CWR flag in the first segment. */
export const GSO_ECN = 0x80;

/** Values of the `df` column. The last: larger than the path carries, for the kernel to fragment; never in a train. */
export const DF_SET = 0;
export const DF_CLEAR = 1;
export const DF_CLEAR_TOO_BIG = 2;

export class Batch {
  /** Descriptors in use; entries 0 … count − 1 are valid. */
  count = 0;
  /** All columns as one view, as the shim takes it. */
  readonly bytes: Uint8Array;
  /** First byte, offset into the arena. */
  readonly off: Int32Array;
  /** Bytes: a frame with its Ethernet header, or a UDP payload. */
  readonly len: Int32Array;
  readonly vniIdx: Int32Array;
  /** Row of the peer table, one per (VNI, peer). */
  readonly peerIdx: Int32Array;
  /** Socket of the source-port pool. */
  readonly srcPortIdx: Int32Array;
  /** Outer TOS or traffic class byte: to be sent with, or received with. */
  readonly tos: Int32Array;
  /** Outer DF of what is sent: DF_SET, DF_CLEAR, DF_CLEAR_TOO_BIG. */
  readonly df: Int32Array;
  readonly gsoType: Int32Array;
  /** Payload bytes a segment; of a received train, bytes a datagram; 0: a single one. */
  readonly gsoSize: Int32Array;
  readonly csumStart: Int32Array;
  readonly csumOff: Int32Array;
  readonly flags: Int32Array;
  /** Frames on the wire that this descriptor stands for, at least 1. */
  readonly segCount: Int32Array;
  /** 0, or a drop reason's index: the port skips it. */
  readonly verdict: Int32Array;
  /** The port's answer: 0, or a negative errno. */
  readonly status: Int32Array;
  /** Bytes of the frames on the wire that this descriptor stands for. Ours alone: the shim has no such column. */
  readonly wireLen = new Int32Array(BATCH_CAP);
  /** Bytes of the largest frame on the wire among them. Ours alone, too. */
  readonly largestLen = new Int32Array(BATCH_CAP);

  constructor(buffer: ArrayBuffer | SharedArrayBuffer = new ArrayBuffer(BATCH_LEN), byteOffset = 0) {
    const column = (name: (typeof COLUMNS)[number]) =>
      new Int32Array(buffer, byteOffset + COLUMNS.indexOf(name) * COLUMN_LEN, BATCH_CAP);
    this.bytes = new Uint8Array(buffer, byteOffset, BATCH_LEN);
    this.off = column('off');
    this.len = column('len');
    this.vniIdx = column('vniIdx');
    this.peerIdx = column('peerIdx');
    this.srcPortIdx = column('srcPortIdx');
    this.tos = column('tos');
    this.df = column('df');
    this.gsoType = column('gsoType');
    this.gsoSize = column('gsoSize');
    this.csumStart = column('csumStart');
    this.csumOff = column('csumOff');
    this.flags = column('flags');
    this.segCount = column('segCount');
    this.verdict = column('verdict');
    this.status = column('status');
  }
}
