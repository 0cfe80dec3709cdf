import t from 'tap';
import { isIcmpError, writeFragmentationNeeded } from '../../src/wire/icmp.js';
import { onesSum } from '../support/frames.js';
import { concat, hex } from '../support/hex.js';

const packet = hex(`
  45 b8 00 20   # header of 20 bytes, TOS, 32 in all
  12 34 40 00   # id, DF
  40 11 ab cd   # TTL 64, UDP, a checksum
  0a 00 00 01   # from 10.0.0.1
  0a 00 00 02   # to 10.0.0.2
  9c 40 13 89   # port 40000 → 5001
  00 0c 00 00   # 12 bytes, no checksum
  de ad be ef
`);

t.test('writes the whole message', async (t) => {
  const to = new Uint8Array(100).fill(0x77);
  const len = writeFragmentationNeeded(to, 3, concat(hex('99 99'), packet), 2, 1450);
  const expected = concat(
    hex(`
      45 00 00 3c   # 60 bytes
      00 00 40 00   # DF
      40 01 26 bf   # TTL 64, ICMP, checksum
      0a 00 00 02   # from the destination of the packet
      0a 00 00 01   # to the source of the packet
      03 04 11 f0   # destination unreachable, fragmentation needed, checksum
      00 00 05 aa   # MTU 1450
    `),
    packet,
  );
  t.equal(len, 60);
  t.same(to.slice(3, 3 + len), expected);
  t.same(new Set([...to.slice(0, 3), ...to.slice(3 + len)]), new Set([0x77]), 'no other byte changes');
});

t.test('the message is at most 576 bytes and quotes no more than the packet', async (t) => {
  for (const totalLen of [28, 547, 548, 549, 1500, 65535]) {
    const b = new Uint8Array(65535).map((_, i) => i);
    b.set(packet.slice(0, 20));
    b.set([totalLen >>> 8, totalLen & 0xff], 2);
    const to = new Uint8Array(600);
    const len = writeFragmentationNeeded(to, 0, b, 0, 68);
    t.equal(len, Math.min(28 + totalLen, 576), `${totalLen} bytes`);
    t.same(to.slice(28, len), b.slice(0, len - 28));
    t.equal(onesSum(to.slice(0, 20)), 0xffff, 'header checksum');
    t.equal(onesSum(to.slice(20, len)), 0xffff, 'ICMP checksum');
    t.same([...to.slice(2, 4)], [len >>> 8, len & 0xff], 'total length');
  }
});

t.test('quotes the options of the packet', async (t) => {
  const withOptions = concat(
    hex('46 00 00 20'),
    packet.slice(4, 20),
    hex('94 04 00 00'),
    packet.slice(20, 28),
  );
  const to = new Uint8Array(100);
  const len = writeFragmentationNeeded(to, 0, withOptions, 0, 1400);
  t.same(to.slice(28, len), withOptions);
  t.equal(to[0], 0x45, 'the outer header has no options');
});

t.test('recognizes the types that are errors', async (t) => {
  const errors = Array.from({ length: 256 }, (_, type) => type).filter(isIcmpError);
  t.same(errors, [3, 4, 5, 11, 12], 'unreachable, quench, redirect, time exceeded, parameter problem');
});
