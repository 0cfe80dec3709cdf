/** The first packets of a capture, however its bytes come in. */
import t from 'tap';
import { firstPackets } from '../../src/control/pcap-limit.js';
import { PCAP } from '../support/control.js';

const HEADER_LEN = 24;
const PACKET_LEN = 20;

async function* pieces(length: number): AsyncGenerator<Buffer> {
  for (let at = 0; at < PCAP.length; at += length) yield PCAP.subarray(at, at + length);
}

async function taken(length: number, packets: number): Promise<Buffer> {
  const chunks = [];
  for await (const chunk of firstPackets(pieces(length), packets)) chunks.push(chunk);
  return Buffer.concat(chunks);
}

t.test('whole packets, so many', async (t) => {
  for (const length of [1, 7, HEADER_LEN, HEADER_LEN + 1, PCAP.length]) {
    for (const packets of [1, 2, 3]) {
      const wanted = PCAP.subarray(0, HEADER_LEN + packets * PACKET_LEN);
      t.same(await taken(length, packets), wanted, `${packets} in pieces of ${length}`);
    }
    t.same(await taken(length, 9), PCAP, `all there are, in pieces of ${length}`);
  }
});
