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
 * The VNI is valid only if I is set. Reserved bits are sent as zero and ignored on receipt, as the
 * RFC requires. Linux and VPP drop datagrams with reserved bits set, so `hasReservedBits` lets the
 * caller choose.
 *
 * The accessors do not check bounds: the caller has checked that VXLAN_LEN bytes are present.
 */

export const VXLAN_LEN = 8;
export const FLAG_I = 0x08;
export const MAX_VNI = 0xffffff;
const VNI_OFF = 4;

/**
 * Bytes of encapsulation in front of a frame, indexed by outer IP version: IP (20 or 40), UDP (8),
 * VXLAN (8).
 */
export const ENCAP_LEN = { 4: 36, 6: 56 } as const;

/** @param vni 0 … MAX_VNI */
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

/** Returns the I flag. */
export function hasVni(b: Uint8Array, off: number): boolean {
  return (b[off] & FLAG_I) !== 0;
}

/** VNI, 0 … MAX_VNI; valid only if `hasVni` returns true. */
export function vni(b: Uint8Array, off: number): number {
  return (b[off + VNI_OFF] << 16) | (b[off + VNI_OFF + 1] << 8) | b[off + VNI_OFF + 2];
}

/**
 * Returns true if any reserved bit is set: seven flags, the 24 bits behind them, and the last 8
 * bits.
 */
export function hasReservedBits(b: Uint8Array, off: number): boolean {
  return ((b[off] & ~FLAG_I) | b[off + 1] | b[off + 2] | b[off + 3] | b[off + VNI_OFF + 3]) !== 0;
}
