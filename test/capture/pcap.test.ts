import t from 'tap';
import { FILE_HEADER_LEN, fileHeader, RECORD_HEADER_LEN, writeRecordHeader } from '../../src/capture/pcap.js';

t.test('writes the file header', async (t) => {
  t.same(
    fileHeader(262144),
    Buffer.from('d4c3b2a1 0200 0400 00000000 00000000 00000400 01000000'.replaceAll(' ', ''), 'hex'),
  );
  t.equal(fileHeader(1).length, FILE_HEADER_LEN);
});

t.test('writes the record header', async (t) => {
  const rows: [number, string][] = [
    [0, '00000000 00000000 2a000000 dc050000'],
    [1_700_000_000_123.456, '00f15365 40e20100 2a000000 dc050000'],
    // The fraction rounds up to a full second.
    [1_999.9999, '02000000 00000000 2a000000 dc050000'],
  ];
  for (const [atMs, expected] of rows) {
    const b = Buffer.alloc(RECORD_HEADER_LEN + 4);
    writeRecordHeader(b, 4, atMs, 42, 1500);
    t.equal(b.toString('hex', 4), expected.replaceAll(' ', ''), String(atMs));
  }
});
