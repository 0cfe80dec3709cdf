/**
 * The Internet checksum (RFC 1071): partial sums, pseudo-headers and updates.
 *
 * The kernel or the shim sums the payloads of forwarded frames; this code never does.
 *
 * A field whose checksum the kernel has to complete (NEEDS_CSUM of a vnet header) holds the
 * pseudo-header sum, folded and *not* complemented (virtio 1.2 §5.1.6.2). `pseudoHeaderSum…`
 * returns that form.
 */
import { SOURCE_OFF as IPV4_SOURCE_OFF } from './ipv4.js';
import { SOURCE_OFF as IPV6_SOURCE_OFF } from './ipv6.js';

/**
 * Ones' complement sum of big-endian 16-bit words, with an odd last byte padded by zero.
 *
 * @param len bytes, at most 64 KB so that the sum fits 32 bits
 * @param initial sum of preceding data, 16 bits
 * @returns sum folded to 16 bits, not complemented
 */
export function sum16(b: Uint8Array, off: number, len: number, initial: number): number {
  const even = off + (len & ~1);
  let sum = initial;
  for (let at = off; at < even; at += 2) sum += (b[at] << 8) | b[at + 1];
  if ((len & 1) !== 0) sum += b[even] << 8;
  return fold(sum);
}

/** @param l4Len bytes of transport header and payload */
export function pseudoHeaderSumIpv4(b: Uint8Array, ipOff: number, protocol: number, l4Len: number): number {
  return sum16(b, ipOff + IPV4_SOURCE_OFF, 8, fold(protocol + l4Len));
}

/**
 * Pseudo-header sum of RFC 8200 §8.1, with the destination of the fixed header.
 *
 * If a routing header has segments left, the destination of the fixed header is not the final
 * destination, and the result differs from the sum of the sender.
 *
 * @param l4Len bytes of transport header and payload
 */
export function pseudoHeaderSumIpv6(b: Uint8Array, ipOff: number, protocol: number, l4Len: number): number {
  return sum16(b, ipOff + IPV6_SOURCE_OFF, 32, fold(protocol + l4Len));
}

/** The checksum to store: the complement of `sum16`. */
export function checksum16(b: Uint8Array, off: number, len: number, initial: number): number {
  return ~sum16(b, off, len, initial) & 0xffff;
}

/**
 * Updates a stored checksum after one of its words has changed (RFC 1624, equation 3).
 *
 * A word at an odd offset from the start of the summed data counts with its bytes swapped (RFC 1071
 * §2 B). The caller passes both values of such a word swapped.
 *
 * @param off offset of the checksum
 */
export function updateChecksum(b: Uint8Array, off: number, before: number, after: number): void {
  const complement = ~((b[off] << 8) | b[off + 1]) & 0xffff;
  put16(b, off, ~fold(complement + (~before & 0xffff) + after) & 0xffff);
}

/** Writes a 16-bit integer in network byte order. */
export function put16(b: Uint8Array, off: number, value: number): void {
  b[off] = value >>> 8;
  b[off + 1] = value;
}

/** Folds a 32-bit sum to 16 bits by adding the carries. */
function fold(sum: number): number {
  const once = (sum & 0xffff) + (sum >>> 16);
  return (once & 0xffff) + (once >>> 16);
}
