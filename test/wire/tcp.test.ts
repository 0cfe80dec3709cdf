import t from 'tap';
import * as tcp from '../../src/wire/tcp.js';
import { concat, hex, patched } from '../support/hex.js';

const segment = hex(`
  9d 3b 14 51   # port 40251 → 5201
  00 00 00 01 00 00 00 02
  60 12 ff ff   # 24 bytes of header, SYN and ACK, window
  be ef 00 00   # checksum, urgent pointer
  02 04 05 b4   # MSS 1460
`);

t.test('rejects a header truncated at any length', async (t) => {
  for (let len = 0; len < segment.length; len++) {
    t.equal(tcp.check(segment, 0, len), false, `${len} bytes`);
    t.equal(tcp.check(segment.slice(0, len), 0, len), false, `${len} bytes, the buffer ends there`);
  }
});

t.test('accepts only data offsets within header and buffer', async (t) => {
  for (let words = 0; words < 16; words++) {
    const b = patched(segment, 12, words << 4);
    t.equal(tcp.check(b, 0, b.length), words === 5 || words === 6, `${words} words in 24 bytes`);
    t.equal(tcp.headerLen(b, 0), words * 4);
  }
  const longest = concat(patched(segment, 12, 0xf0), new Uint8Array(36));
  t.equal(tcp.check(longest, 0, longest.length), true);
});

t.test('reads flags and checksum', async (t) => {
  t.equal(tcp.flags(segment, 0), tcp.FLAG_SYN | 0x10);
  t.equal(tcp.checksum(segment, 0), 0xbeef);
  t.equal(segment[tcp.CHECKSUM_OFF], 0xbe);
});

t.test('finds the MSS option', async (t) => {
  const rows: [string, string, number][] = [
    ['no options', '', -1],
    ['first', '02 04 05 b4', 22],
    ['behind NOP, at an odd offset', '01 02 04 05 b4 00 00 00', 23],
    ['as sent by Linux', '02 04 05 b4 04 02 08 0a 00 00 00 01 00 00 00 00 01 03 03 07', 22],
    ['behind other options', '03 03 07 01 08 0a 00 00 00 01 00 00 00 00 01 01 02 04 05 b4', 38],
    ['at the end of forty bytes', `${'01 '.repeat(36)}02 04 05 b4`, 58],
    ['the first of two', '02 04 05 b4 02 04 02 18', 22],
    ['behind the end-of-options mark', '00 00 00 00 02 04 05 b4', -1],
    ['wrong length', '02 03 05 01', -1],
    ['excessive length', '02 06 05 b4 00 00 00 00', -1],
    ['length missing', '01 01 01 02', -1],
    ['value missing', '01 01 02 04', -1],
    ['half the value missing', '01 02 04 05', -1],
    ['an option of length zero', '08 00 02 04 05 b4 00 00', -1],
    ['an option of length one', '08 01 02 04 05 b4 00 00', -1],
    ['an option that extends beyond the header', '08 40 00 00 02 04 05 b4', -1],
  ];
  for (const [name, options, expected] of rows) {
    const header = patched(segment.slice(0, 20), 12, (20 + hex(options).length) << 2);
    const b = concat(hex('77 77 77'), header, hex(options), hex('02 04 05 b4 02 04'));
    t.equal(tcp.mssOffset(b, 3), expected < 0 ? -1 : 3 + expected, name);
  }
});
