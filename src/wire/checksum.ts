/**
 * The Internet checksum (RFC 1071) as far as the forwarding needs it: partial sums and pseudo-headers. Payloads
 * are summed by the kernel or by the shim, never here on the way of a frame.
 *
 * A field whose checksum the kernel shall finish (NEEDS_CSUM of a vnet header) holds the pseudo-header sum, folded
 * and *not* complemented (virtio 1.2 §5.1.6.2): that is what `pseudoHeaderSum…` returns.
 */
import { SOURCE_OFF as IPV4_SOURCE_OFF } from './ipv4.js';
import { SOURCE_OFF as IPV6_SOURCE_OFF } from './ipv6.js';

/**
 * Ones' complement sum of big-endian 16-bit words; an odd last byte counts as if a zero followed.
 *
 * @param len bytes, at most 64 KB: the sum then fits 32 bits.
 * @param initial a sum to go on from, 16 bits.
 * @returns folded to 16 bits, not complemented.
 */
export function sum16(b: Uint8Array, off: number, len: number, initial: number): number {
  const even = off + (len & ~1);
  let sum = initial;
  for (let at = off; at < even; at += 2) sum += (b[at] << 8) | b[at + 1];
  if ((len & 1) !== 0) sum += b[even] << 8;
  return fold(sum);
}

/** @param l4Len bytes of transport header and payload. */
export function pseudoHeaderSumIpv4(b: Uint8Array, ipOff: number, protocol: number, l4Len: number): number {
  return sum16(b, ipOff + IPV4_SOURCE_OFF, 8, fold(protocol + l4Len));
}

/**
 * RFC 8200 §8.1. The destination is that of the fixed header: with a routing header that has segments left it is
 * not the final one, and the sum is not what the sender meant.
 *
 * @param l4Len bytes of transport header and payload.
 */
export function pseudoHeaderSumIpv6(b: Uint8Array, ipOff: number, protocol: number, l4Len: number): number {
  return sum16(b, ipOff + IPV6_SOURCE_OFF, 32, fold(protocol + l4Len));
}

/** The checksum to be stored: the complement of `sum16`. */
export function checksum16(b: Uint8Array, off: number, len: number, initial: number): number {
  return ~sum16(b, off, len, initial) & 0xffff;
}

/**
 * Makes a stored checksum right again after one of the words it covers has changed (RFC 1624, equation 3). A word that
 * does not lie at an even offset from the beginning of the sum counts with its bytes swapped (RFC 1071 §2 B): give both
 * values so.
 *
 * @param off of the checksum
 */
export function updateChecksum(b: Uint8Array, off: number, before: number, after: number): void {
  const complement = ~((b[off] << 8) | b[off + 1]) & 0xffff;
  put16(b, off, ~fold(complement + (~before & 0xffff) + after) & 0xffff);
}

/** Network byte order. */
export function put16(b: Uint8Array, off: number, value: number): void {
  b[off] = value >>> 8;
  b[off + 1] = value;
}

/** Adds the carries back in, of any 32-bit sum. */
function fold(sum: number): number {
  const once = (sum & 0xffff) + (sum >>> 16);
  return (once & 0xffff) + (once >>> 16);
}
