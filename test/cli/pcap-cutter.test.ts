/** Splitting of a pcap stream at packet boundaries. */
import t from 'tap';
import { PcapCutter } from '../../src/cli/pcap-cutter.js';

/** Two packets, of 3 and 0 bytes. */
const LITTLE = Buffer.from(
  [
    'd4c3b2a1 0200 0400 00000000 00000000 00000400 01000000', // magic, 2.4, zone, accuracy, snap length, Ethernet
    '01000000 02000000 03000000 40000000 aabbcc', // s, us, captured, original, bytes
    '01000000 02000000 00000000 40000000',
  ]
    .join('')
    .replaceAll(' ', ''),
  'hex',
);
const BIG = Buffer.from(
  ['a1b2c3d4 0002 0004 00000000 00000000 00040000 00000001', '00000001 00000002 00000001 00000040 aa']
    .join('')
    .replaceAll(' ', ''),
  'hex',
);

t.test('a stream that arrives byte by byte is passed on in whole packets', async (t) => {
  for (const [file, packets] of [
    [LITTLE, 2],
    [BIG, 1],
  ] as const) {
    const cutter = new PcapCutter();
    const pieces = Array.from(file, (byte) => cutter.cut(Buffer.from([byte]))).filter(
      (piece) => piece.length > 0,
    );
    t.strictSame(Buffer.concat(pieces), file);
    t.equal(cutter.packets, packets);
    t.equal(pieces[0].length, 24, 'the file header is passed on at once');
  }
});

t.test('an incomplete packet is kept until it is complete', async (t) => {
  const cutter = new PcapCutter();
  t.equal(cutter.cut(LITTLE.subarray(0, 42)).length, 24);
  t.equal(cutter.packets, 0);
  t.equal(cutter.cut(LITTLE.subarray(42, 45)).length, 19);
  t.equal(cutter.packets, 1);
});
