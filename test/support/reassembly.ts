/**
 * Reassembly of IPv4 fragments by a receiving host (RFC 791 §3.2), simple and slow.
 *
 * It checks every header, puts the data at the offsets, and returns the packet with the header of
 * the first fragment.
 */
import { onesSum } from './frames.js';
import { concat } from './hex.js';

/**
 * @param packets fragments of one packet, in any order
 * @throws Error when the fragments are not exactly one packet
 */
export function reassemble(packets: readonly Uint8Array[]): Uint8Array {
  const pieces = packets.map(piece).sort((a, b) => a.offset - b.offset);
  const [first] = pieces;
  let expected = 0;
  for (const [i, { offset, data, more, id }] of pieces.entries()) {
    if (offset !== expected) throw new Error(`a gap or an overlap at ${expected}: ${offset}`);
    if (id !== first.id) throw new Error(`ids ${first.id} and ${id}`);
    if (more !== i < pieces.length - 1) throw new Error(`piece ${i}: M is ${more}`);
    if (more && data.length % 8 !== 0) throw new Error(`piece ${i}: ${data.length} bytes`);
    expected += data.length;
  }
  const header = first.header.slice();
  const length = header.length + expected;
  header.set([length >>> 8, length & 0xff], 2);
  header.set([0, 0], 6);
  header.set([0, 0], 10);
  const checksum = ~onesSum(header) & 0xffff;
  header.set([checksum >>> 8, checksum & 0xff], 10);
  return concat(header, ...pieces.map(({ data }) => data));
}

function piece(packet: Uint8Array) {
  const view = Buffer.from(packet);
  const headerLen = (packet[0] & 0x0f) * 4;
  const header = packet.slice(0, headerLen);
  if (onesSum(header) !== 0xffff) throw new Error('wrong header checksum');
  if (view.readUInt16BE(2) !== packet.length) throw new Error('wrong length');
  const field = view.readUInt16BE(6);
  if ((field & 0xc000) !== 0) throw new Error('D or the reserved bit set');
  return {
    header,
    id: view.readUInt16BE(4),
    offset: (field & 0x1fff) * 8,
    more: (field & 0x2000) !== 0,
    data: packet.slice(headerLen),
  };
}
