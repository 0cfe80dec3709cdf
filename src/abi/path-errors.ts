/**
 * Path errors: reports of oversized datagrams from the sockets' error queues.
 *
 * A record has 32 packed bytes; the records are `struct path_errors` of the shim in the same
 * memory. A record begins like a peer row, so that the peer lookup accepts it:
 *
 *     word 0  family | port << 16     word 5  scope id
 *     word 1–4  address               word 6  MTU     word 7  origin
 *
 * Records are not trustworthy. A local error comes from this kernel, but anyone who guesses a
 * source port can forge an ICMP error with any content. The reader must check that the address and
 * port are those of a peer.
 */

import { PATH_ERRORS_CAP } from './limits.js';
import { ROW_SHIFT } from './peer-row.js';

const MTU = 6;
const ORIGIN = 7;
/** Word offset of the count, after the records. */
const COUNT = PATH_ERRORS_CAP << ROW_SHIFT;

export const PATH_ERRORS_LEN = (COUNT + 1) * 4;

/**
 * Value of `origin`: this machine refused the datagram, because it exceeds the device MTU of this
 * machine. Over IPv4 the port is unknown (0).
 */
export const ORIGIN_LOCAL = 1;
/** Value of `origin`: an ICMP or ICMPv6 message was received. */
export const ORIGIN_ICMP = 2;

export class PathErrors {
  /** Records as words, laid out like peer rows. */
  readonly words = new Int32Array(PATH_ERRORS_LEN / 4);
  /** The same memory as bytes, as passed to the shim. */
  readonly bytes = new Uint8Array(this.words.buffer);

  /** Records in use. */
  get count(): number {
    return this.words[COUNT];
  }

  /** Destination UDP port of the datagram. */
  port(row: number): number {
    return this.words[row << ROW_SHIFT] >>> 16;
  }

  /** Reported path MTU in bytes; 0: not reported (RFC 1191 §5). */
  mtu(row: number): number {
    return this.words[(row << ROW_SHIFT) + MTU];
  }

  /** ORIGIN_LOCAL or ORIGIN_ICMP. */
  origin(row: number): number {
    return this.words[(row << ROW_SHIFT) + ORIGIN];
  }

  /** A copy of a record's words. */
  copyRow(row: number): Int32Array {
    return this.words.slice(row << ROW_SHIFT, (row + 1) << ROW_SHIFT);
  }

  clear(): void {
    this.words[COUNT] = 0;
  }

  /**
   * Replaces the records of this object with the records of `other`, and clears `other`.
   *
   * @returns number of records
   */
  moveFrom(other: PathErrors): number {
    const { count } = other;
    if (count > 0) this.words.set(other.words);
    else this.clear();
    other.clear();
    return count;
  }
}
