/**
 * MAC addresses (IEEE 802-2014 §8) as two small integers.
 *
 * `high` holds the first two bytes as a uint16, `low` the last four as an int32. V8 stores neither
 * integer in a heap object of its own: each is a small integer or, at worst, an unboxed word of an
 * Int32Array. Forwarding therefore compares and hashes addresses without allocating.
 *
 *      0                   1                   2                   3
 *     +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
 *     |0 0 0 0 0 0 U M|               |          low …
 *     +------------- high ------------+-------------------------------+
 *                        … low                                        |
 *     +---------------------------------------------------------------+
 *
 * M: group address (multicast, broadcast). U: locally administered.
 *
 * Reads do not check bounds: the caller has checked that six bytes are present (`wire/ethernet`).
 */

export const MAC_LEN = 6;

/** M, the I/G bit of the first byte on the wire, at its position in `high`. */
const GROUP_BIT = 0x0100;
const BRIDGE_FIRST_BYTE = 0xfa;
const MAC_TEXT = /^[0-9a-f]{2}(?::[0-9a-f]{2}){5}$|^[0-9a-f]{2}(?:-[0-9a-f]{2}){5}$/i;

/** Bytes 0 and 1, uint16. */
export function macHigh(b: Uint8Array, off: number): number {
  return (b[off] << 8) | b[off + 1];
}

/** Bytes 2 to 5, int32: negative when byte 2 has its top bit set. */
export function macLow(b: Uint8Array, off: number): number {
  return (b[off + 2] << 24) | (b[off + 3] << 16) | (b[off + 4] << 8) | b[off + 5];
}

export function writeMac(b: Uint8Array, off: number, high: number, low: number): void {
  b[off] = high >>> 8;
  b[off + 1] = high;
  b[off + 2] = low >>> 24;
  b[off + 3] = low >>> 16;
  b[off + 4] = low >>> 8;
  b[off + 5] = low;
}

/** Returns true for multicast and broadcast. The FDB has no entries for such MACs. */
export function isMulticastMac(high: number): boolean {
  return (high & GROUP_BIT) !== 0;
}

/**
 * First two bytes of the MAC of a bridge that vtepd makes; the other bytes are those of its first TAP.
 *
 * @param tapHigh first two bytes of the MAC of the TAP
 */
export function bridgeMacHigh(tapHigh: number): number {
  return (BRIDGE_FIRST_BYTE << 8) | (tapHigh & 0xff);
}

/**
 * Parses `aa:bb:cc:dd:ee:ff` or `aa-bb-cc-dd-ee-ff` in either case; undefined for any other text.
 */
export function parseMac(text: string): { high: number; low: number } | undefined {
  if (!MAC_TEXT.test(text)) return undefined;
  const digits = text.replaceAll(text[2], '');
  return { high: Number.parseInt(digits.slice(0, 4), 16), low: Number.parseInt(digits.slice(4), 16) | 0 };
}

/** Returns lower case with colons, as `ip link` prints it. */
export function formatMac(high: number, low: number): string {
  const digits = high.toString(16).padStart(4, '0') + (low >>> 0).toString(16).padStart(8, '0');
  return digits.replace(/..(?!$)/g, '$&:');
}
