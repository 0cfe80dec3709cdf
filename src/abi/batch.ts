/**
 * Batch: descriptors of frames or datagrams, stored in columns.
 *
 * Column k of descriptor i holds one property of frame or datagram i; the bytes lie in an arena.
 * The columns are `struct batch` of the shim in the same memory, so a batch crosses into C without
 * a copy. `abi/layout.ts` checks offsets and sizes at load.
 *
 * The pair of ports that fills and empties a batch owns the batch; the data plane borrows it for
 * one round.
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
  'ifindex',
  'verdict',
  'status',
] as const;

export const COLUMN_LEN = BATCH_CAP * 4;
export const BATCH_LEN = COLUMNS.length * COLUMN_LEN;

/**
 * Bit of the `flags` column: the L4 checksum field holds the pseudo-header sum only, and the kernel
 * completes the checksum.
 */
export const FRAME_NEEDS_CSUM = 1;
/** Values of the `gsoType` column: those of virtio_net_hdr. */
export const GSO_NONE = 0;
export const GSO_TCPV4 = 1;
export const GSO_TCPV6 = 4;
export const GSO_UDP_L4 = 5;
/** Bit added to a TCP type: the flow uses ECN, and the first segment possibly has the CWR flag. */
export const GSO_ECN = 0x80;

/**
 * Values of the `df` column. DF_CLEAR_TOO_BIG marks a datagram larger than the path MTU. Such a
 * datagram is never part of a train, so that the kernel can fragment it.
 */
export const DF_SET = 0;
export const DF_CLEAR = 1;
export const DF_CLEAR_TOO_BIG = 2;

export class Batch {
  /** Descriptors in use; entries 0 … count − 1 are valid. */
  count = 0;
  /** All columns as one view, as passed to the shim. */
  readonly bytes: Uint8Array;
  /** Offset of the first byte in the arena. */
  readonly off: Int32Array;
  /** Length in bytes: of a frame with its Ethernet header, or of a UDP payload. */
  readonly len: Int32Array;
  readonly vniIdx: Int32Array;
  /** Row of the peer table; the table has one row per (VNI, peer). */
  readonly peerIdx: Int32Array;
  /** Index of the sending socket in the source-port pool. */
  readonly srcPortIdx: Int32Array;
  /** Outer TOS or traffic class byte of the datagram, sent or received. */
  readonly tos: Int32Array;
  /** Outer DF for sending: DF_SET, DF_CLEAR, DF_CLEAR_TOO_BIG. */
  readonly df: Int32Array;
  readonly gsoType: Int32Array;
  /** Payload bytes per segment; in a received train, bytes per datagram; 0: not segmented. */
  readonly gsoSize: Int32Array;
  readonly csumStart: Int32Array;
  readonly csumOff: Int32Array;
  readonly flags: Int32Array;
  /** Number of frames on the wire that this descriptor represents, at least 1. */
  readonly segCount: Int32Array;
  /**
   * Device by which a received datagram arrived: the device with the IP address, for example a
   * bridge and not its port; 0: unknown.
   */
  readonly ifindex: Int32Array;
  /** Index of the drop reason; 0: none. The port skips dropped descriptors. */
  readonly verdict: Int32Array;
  /** Result of the port's operation: 0 or a negative errno. */
  readonly status: Int32Array;
  /** Total bytes of the frames on the wire. Not shared: the shim has no such column. */
  readonly wireLen = new Int32Array(BATCH_CAP);
  /** Bytes of the largest frame on the wire. Not shared with the shim. */
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
    this.ifindex = column('ifindex');
    this.verdict = column('verdict');
    this.status = column('status');
  }
}
