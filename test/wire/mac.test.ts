import t from 'tap';
import { formatMac, isMulticastMac, macHigh, macLow, parseMac, writeMac } from '../../src/wire/mac.js';
import { hex } from '../support/hex.js';

t.test('rejects text that is not a MAC address', async (t) => {
  const rows = [
    '',
    'aa:bb:cc:dd:ee', // five bytes
    'aa:bb:cc:dd:ee:ff:00', // seven
    'aa:bb:cc:dd:ee:fg',
    'a:bb:cc:dd:ee:ff', // one digit
    'aabbccddeeff', // no separator
    'aabb.ccdd.eeff', // Cisco notation
    'aa:bb-cc:dd-ee:ff', // mixed
    ' aa:bb:cc:dd:ee:ff',
    'aa:bb:cc:dd:ee:ff\n',
  ];
  for (const text of rows) t.equal(parseMac(text), undefined, JSON.stringify(text));
});

t.test('converts between text, integers and bytes', async (t) => {
  const rows: [string, number, number, string][] = [
    ['00:00:00:00:00:00', 0, 0, '00 00 00 00 00 00'],
    ['ff:ff:ff:ff:ff:ff', 0xffff, -1, 'ff ff ff ff ff ff'],
    ['00:01:80:00:00:00', 0x0001, -0x80000000, '00 01 80 00 00 00'], // lowest int32
    ['00:01:7f:ff:ff:ff', 0x0001, 0x7fffffff, '00 01 7f ff ff ff'], // highest
    ['02:0a:0b:0c:0d:0e', 0x020a, 0x0b0c0d0e, '02 0a 0b 0c 0d 0e'], // leading zeros kept
  ];
  for (const [text, high, low, bytes] of rows) {
    t.same(parseMac(text), { high, low }, text);
    t.equal(formatMac(high, low), text);
    const b = hex(`ee ${bytes} ee`);
    t.equal(macHigh(b, 1), high);
    t.equal(macLow(b, 1), low);
    const written = new Uint8Array(8).fill(0xee);
    writeMac(written, 1, high, low);
    t.same(written, b);
  }
  t.same(parseMac('AA-BB-CC-DD-EE-FF'), parseMac('aa:bb:cc:dd:ee:ff'), 'dashes and upper case');
});

t.test('the group bit is the lowest bit of the first byte', async (t) => {
  for (let first = 0; first < 256; first++) {
    t.equal(isMulticastMac(macHigh(Uint8Array.of(first, 0xff), 0)), first % 2 === 1, `first byte ${first}`);
  }
});
