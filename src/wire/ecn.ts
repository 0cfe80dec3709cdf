/**
 * Explicit congestion notification through a tunnel (RFC 6040): the two lowest bits of TOS and traffic class, inside and
 * outside.
 *
 *     00 not-ECT   01 ECT(1)   10 ECT(0)   11 CE: congestion was met
 *
 * Encapsulation, normal mode (§4.1): the outer field is the inner one, CE too. (Linux sends ECT(0) for an inner CE: it
 * resets the outer field, as RFC 3168 had it.) Decapsulation (§4.2): the table below; the outer field may say only that
 * congestion was met on the way, and a sender that could not hear of it loses the packet, as it would at a full queue.
 *
 * Pure functions and the rewriting of a header that the caller has checked. Called by the decapsulation.
 */
import { updateChecksum } from './checksum.js';
import * as ipv4 from './ipv4.js';

export const ECN_MASK = 0x03;
/** What the table says where the packet must be dropped. */
export const ECN_DROP = -1;

/** Row: the inner field; column: the outer one (figure 4 of the RFC; not-ECT, ECT(1), ECT(0), CE). */
const DECAPSULATED = Int8Array.of(
  ...[0, 0, 0, ECN_DROP], // not-ECT
  ...[1, 1, 1, 3], // ECT(1)
  ...[2, 1, 2, 3], // ECT(0)
  ...[3, 3, 3, 3], // CE
);

/** @param inner @param outer 0 … 3 @returns the field that the inner packet goes on with, or ECN_DROP */
export function decapsulatedEcn(inner: number, outer: number): number {
  return DECAPSULATED[(inner << 2) | outer];
}

/** Sets the field of an IPv4 header and makes its checksum right. */
export function setIpv4Ecn(b: Uint8Array, off: number, ecn: number): void {
  const before = (b[off] << 8) | b[off + ipv4.TOS_OFF];
  b[off + ipv4.TOS_OFF] = (b[off + ipv4.TOS_OFF] & ~ECN_MASK) | ecn;
  updateChecksum(b, off + ipv4.CHECKSUM_OFF, before, (b[off] << 8) | b[off + ipv4.TOS_OFF]);
}

/** Sets the field of an IPv6 header, the middle of its second byte. */
export function setIpv6Ecn(b: Uint8Array, off: number, ecn: number): void {
  b[off + 1] = (b[off + 1] & ~(ECN_MASK << 4)) | (ecn << 4);
}
