/**
 * Where frames enter and leave: the contracts between the forwarding and what moves bytes.
 *
 * A *frame* is an Ethernet frame of the overlay, a *datagram* a UDP payload of the underlay, a *superframe*
 * one that stands for many frames, a *batch* what one round of system calls brought. Ports work on batches:
 * descriptors in columns (`abi/batch.ts`) over bytes in an arena. Nothing here blocks.
 */
import type { Batch } from '../../abi/batch.js';
import type { PathErrors } from '../../abi/path-errors.js';

/** All TAP devices of the daemon behind one port; the `vniIdx` column says which one a frame belongs to. */
export interface OverlayPort {
  /**
   * The arena that frames read from this port lie in. Frames have VXLAN_HEADROOM free bytes in front. The last BACKLOG_LEN
   * bytes are the reader's own: no read touches them.
   */
  readonly arena: Uint8Array;
  /**
   * Appends frames of one VNI to `batch`, as many as are waiting and fit. Sets off, len, vniIdx, gsoType,
   * gsoSize, csumStart, csumOff, flags, segCount. Checksums are finished, but for superframes. The frames are
   * borrowed until the next `reset`.
   *
   * @returns frames appended; or a negative errno when none were and the device failed.
   */
  read(batch: Batch, vniIdx: number): number;
  /** All frames read so far have been dealt with: their memory may be used again. */
  reset(): void;
  /**
   * Writes the frames of `batch` whose verdict is 0, each to the TAP of its vniIdx. Uses off, len, gsoType,
   * gsoSize, csumStart, csumOff, flags; the bytes lie in `arena`, which may be any arena. Sets status for each.
   *
   * @returns how many entries have a status other than 0.
   */
  write(batch: Batch, arena: Uint8Array): number;
}

/** The underlay: UDP sockets of both families. */
export interface UnderlayPort {
  /** The arena that received datagrams lie in. */
  readonly arena: Uint8Array;
  /** Packed source addresses of the batch received last: row i (PEER_ROW_LEN bytes) belongs to descriptor i. */
  readonly sources: Uint8Array;
  /** A wait has found this receiving socket readable: `receive` reads no other, and this one until it is empty. */
  markReadable(fd: number): void;
  /**
   * Fills `batch` with what is waiting, at most BATCH_CAP. Sets off, len, tos (0 where the engine is not told), gsoSize
   * (0, or bytes a datagram of a train), segCount. Datagrams and sources are borrowed until the next `receive`.
   *
   * @returns datagrams received; 0 when none wait.
   */
  receive(batch: Batch): number;
  /**
   * Reports the delivery of the last batch: an engine that shares time among peers charges for it.
   * @param tapsWait true in a round in which TAPs had frames
   */
  delivered(tapsWait: boolean): void;
  /**
   * Sends the datagrams of `batch` whose verdict is 0, each to the peer row peerIdx, from socket srcPortIdx of the pool
   * that df asks for. Uses off, len and, where the engine can, tos and ttl of the outer header; the bytes lie in `arena`.
   * Several descriptors may name the same bytes.
   * Sets status for each: 0, a negative errno, or STATUS_PENDING when the answer comes by `completions`.
   * The bytes are free again on return, whatever the status.
   *
   * @returns how many entries have a status other than 0.
   */
  send(batch: Batch, arena: Uint8Array): number;
  /**
   * Fills `batch` with sends that were pending and are decided now: vniIdx, peerIdx, len, flags, segCount as
   * they were given to `send`, and status. Always 0 for an engine that answers at once.
   */
  completions(batch: Batch): number;
  /** A VNI's row is free: sends of its that are pending are nobody's any more, and not told by `completions`. */
  vniRemoved(vniIdx: number): void;
  /** Datagrams of peers that the kernel dropped since the last call because a receive buffer was full. */
  takeOverflow(): number;
  /** The same of datagrams whose source is no peer of any VNI. */
  takeStrangersOverflow(): number;
  /**
   * Empties the error queue of a sending socket, so that the wait does not report it again. What it says of paths is
   * kept for `takePathErrors`.
   */
  drainErrors(fd: number): void;
  /**
   * Hands over what was heard of paths that are too small, by error queues or failed sends, since the last call: `report`
   * holds that and nothing else. Hearsay: see PathErrors. An engine without error queues has none.
   *
   * @returns rows of `report`
   */
  takePathErrors(report: PathErrors): number;
  /** Peer rows have changed: what was derived from them is stale. */
  peersChanged(): void;
}

/** Status of a send whose answer comes later. No errno has this value. */
export const STATUS_PENDING = 1;

/** `flags` column, set by encap: the first copy of a frame. The others count as replicated. */
export const FRAME_FIRST_COPY = 1 << 8;
