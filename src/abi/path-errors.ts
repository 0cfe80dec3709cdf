/**
 * Path errors: what the error queues of the sending sockets said of datagrams that were too large. Rows of 32 packed bytes,
 * `struct path_errors` of the shim in the same memory, which begin as rows of peers and sources do, so that whoever
 * finds those finds these:
 *
 *     word 0  family | port << 16     word 5  scope id
 *     word 1–4  address               word 6  MTU     word 7  origin
 *
 * They are hearsay. A local one is this kernel's word; one of ICMP may be forged by anybody who guesses a source port, and
 * names whatever its sender liked: that address and port are those of a peer is for the reader to check.
 */

import { PATH_ERRORS_CAP } from './limits.js';
import { ROW_SHIFT } from './peer-row.js';

const MTU = 6;
const ORIGIN = 7;
/** Behind the rows. */
const COUNT = PATH_ERRORS_CAP << ROW_SHIFT;

export const PATH_ERRORS_LEN = (COUNT + 1) * 4;

/** Of `origin`: this machine refused, as its own device takes less. Over IPv4 the port is 0 then, not known. */
export const ORIGIN_LOCAL = 1;
/** Of `origin`: an ICMP or ICMPv6 message came. */
export const ORIGIN_ICMP = 2;

export class PathErrors {
  /** Rows as words, in the form of peer rows. */
  readonly words = new Int32Array(PATH_ERRORS_LEN / 4);
  /** The same, as the shim takes it. */
  readonly bytes = new Uint8Array(this.words.buffer);

  /** Rows in use. */
  get count(): number {
    return this.words[COUNT];
  }

  /** UDP port that the datagram was for. */
  port(row: number): number {
    return this.words[row << ROW_SHIFT] >>> 16;
  }

  /** Largest IP packet that would have passed, bytes, as was said; 0: nothing was said (RFC 1191 §5). */
  mtu(row: number): number {
    return this.words[(row << ROW_SHIFT) + MTU];
  }

  /** ORIGIN_LOCAL or ORIGIN_ICMP. */
  origin(row: number): number {
    return this.words[(row << ROW_SHIFT) + ORIGIN];
  }

  /** A copy of a row's words. */
  copyRow(row: number): Int32Array {
    return this.words.slice(row << ROW_SHIFT, (row + 1) << ROW_SHIFT);
  }

  clear(): void {
    this.words[COUNT] = 0;
  }

  /** Takes the rows of `other` in place of its own, and leaves none there. @returns rows */
  moveFrom(other: PathErrors): number {
    const { count } = other;
    if (count > 0) this.words.set(other.words);
    else this.clear();
    other.clear();
    return count;
  }
}
