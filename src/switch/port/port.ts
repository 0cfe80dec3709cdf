/**
 * Contracts between forwarding and the ports that move frames and datagrams.
 *
 * A *frame* is an Ethernet frame of the overlay. A *datagram* is a UDP payload of the underlay. A
 * *superframe* is a frame that stands for several frames. A *batch* is the descriptors of one round
 * of system calls. Ports operate on batches: descriptors in columns (`abi/batch.ts`) over bytes in
 * an arena. No port call blocks.
 */
import type { Batch } from '../../abi/batch.js';
import type { PathErrors } from '../../abi/path-errors.js';

/** Port to all TAP devices of the daemon; the `vniIdx` column selects the device. */
export interface OverlayPort {
  /**
   * Arena that holds the frames read from this port, each with VXLAN_HEADROOM free bytes in front.
   * Reads never touch the last BACKLOG_LEN bytes; they belong to the caller.
   */
  readonly arena: Uint8Array;
  /**
   * Appends the waiting frames of one VNI to `batch`, as many as fit. Sets off, len, vniIdx,
   * gsoType, gsoSize, csumStart, csumOff, flags, segCount. Checksums are completed, except for
   * superframes. The frames are borrowed until the next `reset`.
   *
   * @returns frames appended; a negative errno when none were appended and the device failed
   */
  read(batch: Batch, vniIdx: number): number;
  /** Releases the memory of all frames read so far for reuse. */
  reset(): void;
  /**
   * Writes the frames of `batch` whose verdict is 0, each to the TAP of its vniIdx. Uses off, len,
   * gsoType, gsoSize, csumStart, csumOff, flags. The bytes lie in `arena`, which may be any arena.
   * Sets the status of each entry.
   *
   * @returns entries with a status other than 0
   */
  write(batch: Batch, arena: Uint8Array): number;
}

/** Port to the underlay: UDP sockets of both address families. */
export interface UnderlayPort {
  /** Arena that holds the received datagrams. */
  readonly arena: Uint8Array;
  /**
   * Packed source addresses of the last received batch: row i (PEER_ROW_LEN bytes) belongs to
   * descriptor i.
   */
  readonly sources: Uint8Array;
  /**
   * Marks a receiving socket as readable. `receive` reads only marked sockets, until they are
   * empty.
   */
  markReadable(fd: number): void;
  /**
   * Fills `batch` with waiting datagrams, at most BATCH_CAP. Sets off, len, tos (0 if the engine
   * does not receive it), gsoSize (bytes per datagram of a train, else 0), segCount. Datagrams and
   * sources are borrowed until the next `receive`.
   *
   * @returns datagrams received; 0 when none wait
   */
  receive(batch: Batch): number;
  /** Refuses to send in the held address families; such datagrams get the status of no route. */
  hold(ipv4: boolean, ipv6: boolean): void;
  /** Begins to receive; called once, when the VNIs are configured. */
  open(): void;
  /**
   * Reports that the last batch has been delivered. An engine that shares time among peers charges
   * the elapsed time.
   *
   * @param tapsWait true in a round in which TAPs had frames
   */
  delivered(tapsWait: boolean): void;
  /**
   * Sends the datagrams of `batch` whose verdict is 0, each to peer row peerIdx through socket
   * srcPortIdx of the pool selected by df. Uses off, len and, if the engine supports it, tos for
   * the outer header. The bytes lie in `arena`; several descriptors may refer to the same bytes.
   *
   * Sets the status of each entry: 0, a negative errno, or STATUS_PENDING when `completions`
   * reports the result later. The bytes may be reused on return, whatever the status.
   *
   * @returns entries with a status other than 0
   */
  send(batch: Batch, arena: Uint8Array): number;
  /**
   * Fills `batch` with pending sends that have completed: vniIdx, peerIdx, len, flags, segCount as
   * given to `send`, and status. Returns 0 for an engine that completes every send at once.
   */
  completions(batch: Batch): number;
  /**
   * Handles the release of a VNI's row: its pending sends are abandoned and `completions` does not
   * report them.
   */
  vniRemoved(vniIdx: number): void;
  /**
   * Returns the number of datagrams from peers that the kernel has dropped since the last call,
   * because a receive buffer was full.
   */
  takeOverflow(): number;
  /** Returns the same count for datagrams whose source is not a peer of any VNI. */
  takeStrangersOverflow(): number;
  /**
   * Empties the error queue of a sending socket, so that the wait does not report the socket again.
   * Path errors are kept for `takePathErrors`.
   */
  drainErrors(fd: number): void;
  /**
   * Moves the path errors collected since the last call, from error queues and failed sends, into
   * `report`, replacing its content. Path errors are not trustworthy: see PathErrors. An engine
   * without error queues reports no path errors.
   *
   * @returns rows of `report`
   */
  takePathErrors(report: PathErrors): number;
  /** Invalidates data derived from peer rows after they have changed. */
  peersChanged(): void;
}

/** Status of a send that completes later. No errno has this value. */
export const STATUS_PENDING = 1;

/**
 * Bit of the `flags` column, set by encap on the first copy of a frame. Further copies count as
 * replicated.
 */
export const FRAME_FIRST_COPY = 1 << 8;
