/**
 * Packed peer row: `struct peer_row` of the shim, 32 bytes as words.
 *
 * Records of datagram sources and of path errors begin with the same fields.
 *
 *     word 0  family | port << 16     word 5  scope id     word 6, 7  depend on the record
 *     word 1–4  address, in network byte order
 */

/** log2 of the words in a row. */
export const ROW_SHIFT = 3;
/** Offsets in words. */
const ADDRESS = 1;
const SCOPE = 5;

/** Bit of word 7 of a peer: nothing is sent there (PEER_HELD of the shim). */
export const PEER_HELD = 8;

/** Address families of Linux. */
export const AF_INET = 2;
export const AF_INET6 = 10;

/** Address fields of a row. */
export interface RowAddress {
  family: 4 | 6;
  /** 16 bytes, IPv4 in the first four. */
  bytes: Uint8Array;
  port: number;
  scopeId: number;
}

/**
 * Reads the address of a row.
 *
 * @param base first word of the row
 */
export function addressOfRow(words: Int32Array, base: number): RowAddress {
  const bytes = new Uint8Array(words.buffer, words.byteOffset, words.byteLength);
  return {
    family: (words[base] & 0xffff) === AF_INET ? 4 : 6,
    bytes: bytes.slice((base + ADDRESS) * 4, (base + SCOPE) * 4),
    port: words[base] >>> 16,
    scopeId: words[base + SCOPE] >>> 0,
  };
}

/**
 * Writes an address to the beginning of a row.
 *
 * @param row view whose byte offset is a multiple of 4
 */
export function writeRowAddress(row: Uint8Array, { family, bytes, port, scopeId }: RowAddress): void {
  const words = new Uint32Array(row.buffer, row.byteOffset, SCOPE + 1);
  words[0] = (family === 4 ? AF_INET : AF_INET6) | (port << 16);
  row.set(bytes, ADDRESS * 4);
  words[SCOPE] = scopeId;
}
