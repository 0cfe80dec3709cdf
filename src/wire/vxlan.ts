/**
 * VXLAN header (RFC 7348 §5).
 *
 *      0                   1                   2                   3
 *      0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
 *     +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
 *     |R|R|R|R|I|R|R|R|                  Reserved                     |
 *     |           VXLAN network identifier (VNI)      |   Reserved    |
 *     +---------------------------------------------------------------+
 *
 * I must be set for the VNI to mean anything. Reserved bits are sent as zero and, on receipt, ignored as the RFC
 * says; Linux and VPP drop them, so whoever calls may want to know (`hasReservedBits`).
 *
 * Accessors are blind: the caller has checked that VXLAN_LEN bytes are there.
 */

export const VXLAN_LEN = 8;
export const FLAG_I = 0x08;
export const MAX_VNI = 0xffffff;
const VNI_OFF = 4;

/** Bytes that encapsulation puts in front of a frame, by the outer IP's version: IP, UDP (8), VXLAN (8). */
export const ENCAP_LEN = { 4: 36, 6: 56 } as const;

/** @param vni 0 … MAX_VNI. */
export function writeVxlanHeader(b: Uint8Array, off: number, vni: number): void {
  b[off] = FLAG_I;
  b[off + 1] = 0;
  b[off + 2] = 0;
  b[off + 3] = 0;
  b[off + VNI_OFF] = vni >>> 16;
  b[off + VNI_OFF + 1] = vni >>> 8;
  b[off + VNI_OFF + 2] = vni;
  b[off + VNI_OFF + 3] = 0;
}

/** The I flag. */
export function hasVni(b: Uint8Array, off: number): boolean {
  return (b[off] & FLAG_I) !== 0;
}

/** 0 … MAX_VNI; meaningful when `hasVni`. */
export function vni(b: Uint8Array, off: number): number {
  return (b[off + VNI_OFF] << 16) | (b[off + VNI_OFF + 1] << 8) | b[off + VNI_OFF + 2];
}

/** Any bit set that the RFC reserves: seven flags, the 24 bits behind them, the last 8. */
export function hasReservedBits(b: Uint8Array, off: number): boolean {
  return ((b[off] & ~FLAG_I) | b[off + 1] | b[off + 2] | b[off + 3] | b[off + VNI_OFF + 3]) !== 0;
}
