/**
 * Splitter of a pcap stream (draft-ietf-opsawg-pcap) at packet boundaries.
 *
 * The bytes of an incomplete packet are kept until the packet is complete, so a file is valid
 * whenever writing stops. Complete packets are counted.
 */
const FILE_HEADER_LEN = 24;
const RECORD_HEADER_LEN = 16;
/** Offset of a record's captured length. */
const CAPTURED_LEN_OFF = 8;
/** First byte of little-endian files, with microseconds and with nanoseconds. */
const LITTLE_ENDIAN = [0xd4, 0x4d];

export class PcapCutter {
  /** Number of complete packets so far. */
  packets = 0;
  #rest: Buffer = Buffer.alloc(0);
  #littleEndian: boolean | undefined;

  /** @returns the bytes up to the last complete packet, including the file header */
  cut(chunk: Buffer): Buffer {
    const bytes = this.#rest.length > 0 ? Buffer.concat([this.#rest, chunk]) : chunk;
    let end = 0;
    if (this.#littleEndian === undefined && bytes.length >= FILE_HEADER_LEN) {
      this.#littleEndian = LITTLE_ENDIAN.includes(bytes[0]);
      end = FILE_HEADER_LEN;
    }
    if (this.#littleEndian !== undefined) {
      for (let next = this.#nextEnd(bytes, end); next <= bytes.length; next = this.#nextEnd(bytes, end)) {
        end = next;
        this.packets++;
      }
    }
    this.#rest = bytes.subarray(end);
    return bytes.subarray(0, end);
  }

  /** Returns the end offset of the record at `off`; infinity if its header is incomplete. */
  #nextEnd(bytes: Buffer, off: number): number {
    if (off + RECORD_HEADER_LEN > bytes.length) return Number.POSITIVE_INFINITY;
    const at = off + CAPTURED_LEN_OFF;
    return off + RECORD_HEADER_LEN + (this.#littleEndian ? bytes.readUInt32LE(at) : bytes.readUInt32BE(at));
  }
}
