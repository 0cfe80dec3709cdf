/**
 * Explicit congestion notification through a tunnel (RFC 6040).
 *
 * ECN is the two lowest bits of the IPv4 TOS and of the IPv6 traffic class, in the inner and the
 * outer header:
 *
 *     00 not-ECT   01 ECT(1)   10 ECT(0)   11 CE: congestion experienced
 *
 * Encapsulation, normal mode (§4.1): the outer field is a copy of the inner field, including CE.
 * (Linux sends ECT(0) for an inner CE: it resets the outer field as RFC 3168 specified.)
 *
 * Decapsulation (§4.2): the table below. The outer field can add CE, and can turn ECT(0) into
 * ECT(1). If the inner packet is not ECN-capable and the outer field is CE, the packet is dropped,
 * because a congested router drops packets that are not ECN-capable.
 *
 * `decapsulatedEcn` is pure; the other functions rewrite a header that the caller has checked.
 * Decapsulation calls all of them.
 */
import { updateChecksum } from './checksum.js';
import * as ipv4 from './ipv4.js';

export const ECN_MASK = 0x03;
/** Table entry for combinations that drop the packet. */
export const ECN_DROP = -1;

/**
 * Rows: inner field. Columns: outer field. Rows and columns have the order not-ECT, ECT(1), ECT(0),
 * CE; the values are those of RFC 6040, figure 4.
 */
const DECAPSULATED = Int8Array.of(
  ...[0, 0, 0, ECN_DROP], // not-ECT
  ...[1, 1, 1, 3], // ECT(1)
  ...[2, 1, 2, 3], // ECT(0)
  ...[3, 3, 3, 3], // CE
);

/**
 * @param inner ECN field of the inner header, 0 … 3
 * @param outer ECN field of the outer header, 0 … 3
 * @returns new ECN field of the inner packet, or ECN_DROP
 */
export function decapsulatedEcn(inner: number, outer: number): number {
  return DECAPSULATED[(inner << 2) | outer];
}

/** Sets the ECN field of an IPv4 header and updates its checksum. */
export function setIpv4Ecn(b: Uint8Array, off: number, ecn: number): void {
  const before = (b[off] << 8) | b[off + ipv4.TOS_OFF];
  b[off + ipv4.TOS_OFF] = (b[off + ipv4.TOS_OFF] & ~ECN_MASK) | ecn;
  updateChecksum(b, off + ipv4.CHECKSUM_OFF, before, (b[off] << 8) | b[off + ipv4.TOS_OFF]);
}

/** Sets the ECN field of an IPv6 header: bits 4 and 5 of its second byte. */
export function setIpv6Ecn(b: Uint8Array, off: number, ecn: number): void {
  b[off + 1] = (b[off + 1] & ~(ECN_MASK << 4)) | (ecn << 4);
}
