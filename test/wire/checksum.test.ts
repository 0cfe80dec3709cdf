import t from 'tap';
import {
  checksum16,
  pseudoHeaderSumIpv4,
  pseudoHeaderSumIpv6,
  put16,
  sum16,
  updateChecksum,
} from '../../src/wire/checksum.js';
import { concat, hex } from '../support/hex.js';

t.test('computes the sum of 16-bit words', async (t) => {
  const rows: [string, string, number, number][] = [
    ['no bytes', '', 0, 0],
    ['no bytes, with an initial sum', '', 0xbeef, 0xbeef],
    ['RFC 1071 §3', '00 01 f2 03 f4 f5 f6 f7', 0, 0xddf2],
    ['an odd last byte is the upper half of its word', '12', 0, 0x1200],
    ['odd length', '00 01 f2', 0, 0xf201],
    ['a carry is added back', 'ff ff 00 01', 0, 0x0001],
    ['all ones stay all ones, not zero', 'ff ff ff ff ff ff', 0xffff, 0xffff],
  ];
  for (const [what, bytes, initial, sum] of rows) {
    const b = concat(hex('77'), hex(bytes), hex('77'));
    t.equal(sum16(b, 1, b.length - 2, initial), sum, what);
  }
});

t.test('the sum of 64 KB of 0xff does not overflow', async (t) => {
  for (const len of [65534, 65535, 65536]) {
    const odd = len % 2 === 1;
    const b = new Uint8Array(len).fill(0xff);
    t.equal(sum16(b, 0, len, 0xffff), odd ? 0xff00 : 0xffff, `${len} bytes`);
  }
});

t.test('a sum can be computed in parts of even length', async (t) => {
  const b = Uint8Array.from({ length: 301 }, (_, i) => i * 37);
  for (let cut = 0; cut <= 300; cut += 2) {
    t.equal(sum16(b, cut, 301 - cut, sum16(b, 0, cut, 0)), sum16(b, 0, 301, 0), `cut at ${cut}`);
  }
});

t.test('IPv4: a datagram with a correct checksum sums to 0xffff', async (t) => {
  const b = hex(`
    45 00 00 20 00 00 40 00 40 11 00 00
    c0 a8 00 01   # 192.168.0.1
    c0 a8 00 c7   # 192.168.0.199
    27 10 4e 20 00 0c 83 86   # 10000 → 20000, 12 bytes, checksum
    00 00 00 00
  `);
  // By hand: c0a8 + 0001 + c0a8 + 00c7 + 0011 + 000c = 18235, folded 8236.
  t.equal(pseudoHeaderSumIpv4(b, 0, 17, 12), 0x8236);
  // 8236 + 2710 + 4e20 + 000c = f772; its complement is 088d.
  b.set(hex('08 8d'), 26);
  t.equal(sum16(b, 20, 12, pseudoHeaderSumIpv4(b, 0, 17, 12)), 0xffff);
});

t.test('IPv6: the pseudo-header holds addresses, length and next header only', async (t) => {
  const b = hex(`
    6f ff ff ff 00 0a 11 ff
    fd 00 00 00 00 00 00 00 00 00 00 00 00 00 00 01
    fd 00 00 00 00 00 00 00 00 00 00 00 00 00 00 02
  `);
  // fd00 + 1 + fd00 + 2 + 0011 + 000a = 1fa1e, folded fa1f.
  t.equal(pseudoHeaderSumIpv6(b, 0, 17, 10), 0xfa1f);
  // The length field of the pseudo-header has 32 bits: 0x10000 adds the words 1 and 0.
  t.equal(pseudoHeaderSumIpv6(b, 0, 17, 0x10000), 0xfa16);
});

t.test('updates a stored checksum after a word has changed', async (t) => {
  // RFC 1624 §4: the example for which equation 2 gives a wrong result.
  const example = hex('dd 2f');
  updateChecksum(example, 0, 0x5555, 0x3285);
  t.same(example, hex('00 00'));
  let state = 7;
  const random = () => (state = (Math.imul(state, 1103515245) + 12345) >>> 0) >>> 16;
  for (let round = 0; round < 2000; round++) {
    const b = Uint8Array.from({ length: 22 }, () => (round % 3 === 0 ? [0, 0xff][random() & 1] : random()));
    put16(b, 10, 0);
    put16(b, 10, checksum16(b, 0, 22, 0));
    const at = random() % 10;
    const before = (b[at] << 8) | b[at + 1];
    const after = [0, 0xffff, random()][round % 3];
    put16(b, at, after);
    const isOdd = at % 2 === 1;
    if (at === 9) continue;
    updateChecksum(b, 10, isOdd ? swap(before) : before, isOdd ? swap(after) : after);
    t.equal(sum16(b, 0, 22, 0), 0xffff, `${before} → ${after} at ${at}`);
  }
});

function swap(word: number): number {
  return ((word & 0xff) << 8) | (word >>> 8);
}
