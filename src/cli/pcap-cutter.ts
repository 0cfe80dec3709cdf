/**
 * Cuts a pcap stream (draft-ietf-opsawg-pcap) at the ends of its packets: what came of a packet that is not complete waits
 * for the rest. So whoever stops in between leaves a file that is whole. It counts the packets that it let go.
 */
const FILE_HEADER_LEN = 24;
const RECORD_HEADER_LEN = 16;
/** Offset of a record's captured length. */
const CAPTURED_LEN_OFF = 8;
/** The first bytes of a file whose numbers are little-endian: seconds with micro- or nanoseconds. */
const LITTLE_ENDIAN = [0xd4, 0x4d];

export class PcapCutter {
  /** Whole ones so far. */
  packets = 0;
  #rest: Buffer = Buffer.alloc(0);
  #littleEndian: boolean | undefined;

  /** @returns the bytes that complete packets, the header of the file among the first */
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

  /** Where the record at `off` ends; infinity while its header is not there. */
  #nextEnd(bytes: Buffer, off: number): number {
    if (off + RECORD_HEADER_LEN > bytes.length) return Number.POSITIVE_INFINITY;
    const at = off + CAPTURED_LEN_OFF;
    return off + RECORD_HEADER_LEN + (this.#littleEndian ? bytes.readUInt32LE(at) : bytes.readUInt32BE(at));
  }
}
