import t from 'tap';
import * as fragment from '../../src/wire/ipv4-fragment.js';
import { onesSum } from '../support/frames.js';
import { concat, hex } from '../support/hex.js';

const MORE = 0x2000;
/** A stream identifier option that claims all 40 bytes. */
const FORTY = `88 28${' 11'.repeat(38)}`;

function headerWith(options: Uint8Array): Uint8Array {
  const words = 5 + options.length / 4;
  return concat(
    Uint8Array.of(0x40 | words, 0xb8),
    hex(`
      05 dc         # 1500 bytes
      12 34 00 00   # id
      40 11 00 00   # TTL 64, UDP
      0a 00 00 01 0a 00 00 02
    `),
    options,
  );
}

t.test('the data length of a fragment is a multiple of eight bytes', async (t) => {
  const rows: [number, number, number][] = [
    [1500, 20, 1480],
    [1450, 20, 1424],
    [1451, 20, 1424],
    [68, 60, 8],
    [67, 60, 0],
    [20, 20, 0],
    [10, 20, 0],
  ];
  for (const [packetMax, headerLen, dataLen] of rows)
    t.equal(fragment.fragmentDataLen(packetMax, headerLen), dataLen, `${packetMax} with ${headerLen}`);
});

t.test('the first fragment keeps all options', async (t) => {
  const header = headerWith(hex('94 04 00 00  07 04 04 00'));
  const to = new Uint8Array(64).fill(0x77);
  t.equal(fragment.copyHeader(to, 2, concat(hex('99'), header), 1), 28);
  t.same(to.slice(2, 30), header);
  t.equal(to[30], 0x77);
});

t.test('later fragments keep only options with the copied bit, padded', async (t) => {
  const rows: [string, string, string][] = [
    ['no options', '', ''],
    ['router alert is copied', '94 04 00 00', '94 04 00 00'],
    ['record route is not copied', '07 04 04 00', ''],
    ['one of two options is copied', '07 03 04 94 04 00 00 00', '94 04 00 00'],
    ['no operation is not copied', '01 01 01 01', ''],
    ['padding is added', '83 03 04 01', '83 03 04 00'],
    ['an option behind the end of the list is not copied', '00 94 04 00', ''],
    ['a length of zero', '94 00 00 00', ''],
    ['a length of one', '94 01 00 00', ''],
    ['a length beyond the header', '94 05 00 00', ''],
    ['a missing length', '01 01 01 94', ''],
    ['forty bytes', FORTY, FORTY],
  ];
  for (const [name, options, copied] of rows) {
    const b = concat(headerWith(hex(options)), new Uint8Array(44).fill(0x94));
    const to = new Uint8Array(80).fill(0x77);
    const expected = concat(headerWith(hex(copied)));
    t.equal(fragment.copyLaterHeader(to, 4, b, 0), expected.length, name);
    t.same(to.slice(4, 4 + expected.length), expected, name);
    t.equal(to[4 + expected.length], 0x77, `${name}: no byte beyond the header is written`);
  }
});

t.test('sets length, offset, M and checksum', async (t) => {
  const rows: [string, number, number, number, boolean, number][] = [
    ['first fragment', 1424, 0, 0, false, MORE],
    ['middle fragment', 1424, 0, 1424, false, MORE | 178],
    ['last fragment', 52, 0, 2848, true, 356],
    ['a fragment of a fragment', 504, 100, 504, false, MORE | 163],
    ['last fragment of a fragment that has M set', 8, MORE | 100, 1008, true, MORE | 226],
    ['D and the reserved bit are cleared', 8, 0xc000, 0, true, 0],
  ];
  for (const [name, dataLen, field, dataOff, isLast, expected] of rows) {
    const b = headerWith(hex('94 04 00 00'));
    fragment.finishHeader(b, 0, dataLen, field, dataOff, isLast);
    t.equal((b[2] << 8) | b[3], 24 + dataLen, `${name}: length`);
    t.equal((b[6] << 8) | b[7], expected, `${name}: offset and flags`);
    t.equal(onesSum(b), 0xffff, `${name}: checksum`);
    t.same(b.slice(4, 6), hex('12 34'), `${name}: the id is that of the packet`);
  }
});
