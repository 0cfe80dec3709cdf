/**
 * Writes the pcap file format (draft-ietf-opsawg-pcap): microseconds, little-endian, Ethernet.
 *
 *     file    magic (4) version (2 + 2) reserved (8) snapLen (4) link type (4)
 *     record  seconds (4) microseconds (4) captured length (4) original length (4) captured bytes
 */

export const FILE_HEADER_LEN = 24;
export const RECORD_HEADER_LEN = 16;

const MAGIC_MICROSECONDS = 0xa1b2c3d4;
const VERSION = [2, 4] as const;
const LINKTYPE_ETHERNET = 1;

/** @param snapLen maximum number of bytes per packet */
export function fileHeader(snapLen: number): Buffer {
  const header = Buffer.alloc(FILE_HEADER_LEN);
  header.writeUInt32LE(MAGIC_MICROSECONDS, 0);
  header.writeUInt16LE(VERSION[0], 4);
  header.writeUInt16LE(VERSION[1], 6);
  header.writeUInt32LE(snapLen, 16);
  header.writeUInt32LE(LINKTYPE_ETHERNET, 20);
  return header;
}

/**
 * @param atMs time since the epoch, ms, with a fraction
 * @param capturedLen number of captured bytes that follow
 * @param len original length of the packet, bytes
 */
export function writeRecordHeader(
  b: Buffer,
  off: number,
  atMs: number,
  capturedLen: number,
  len: number,
): void {
  const micros = Math.round(atMs * 1000);
  b.writeUInt32LE(Math.floor(micros / 1e6), off);
  b.writeUInt32LE(micros % 1e6, off + 4);
  b.writeUInt32LE(capturedLen, off + 8);
  b.writeUInt32LE(len, off + 12);
}
