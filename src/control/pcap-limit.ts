/**
 * The beginning of a pcap stream (libpcap's file format, little endian): its header, and so many packets whole. Chunks
 * may end anywhere.
 */

/** Bytes of the file's header and of each packet's; where in the latter the length of what follows stands. */
const FILE_HEADER_LEN = 24;
const PACKET_HEADER_LEN = 16;
const CAPTURED_LEN_OFF = 8;

/** Ends after that many packets, and the stream with it. */
export async function* firstPackets(
  stream: AsyncIterable<Buffer>,
  packets: number,
): AsyncGenerator<Buffer, void> {
  let left = packets;
  let pending: Buffer = Buffer.alloc(0);
  let begun = false;
  for await (const chunk of stream) {
    pending = pending.length === 0 ? chunk : Buffer.concat([pending, chunk]);
    let end = 0;
    if (!begun && pending.length >= FILE_HEADER_LEN) {
      begun = true;
      end = FILE_HEADER_LEN;
    }
    while (begun && left > 0 && pending.length >= end + PACKET_HEADER_LEN) {
      const next = end + PACKET_HEADER_LEN + pending.readUInt32LE(end + CAPTURED_LEN_OFF);
      if (pending.length < next) break;
      end = next;
      left--;
    }
    if (end > 0) yield pending.subarray(0, end);
    pending = pending.subarray(end);
    if (left === 0) return;
  }
}
