import t from 'tap';
import * as ipv4 from '../../src/wire/ipv4.js';
import { concat, hex, patched } from '../support/hex.js';

const packet = hex(`
  45 00 00 1c   # version 4, 20 bytes of header, 28 in all
  12 34 40 00   # identification, DF
  40 11 00 00   # TTL 64, UDP, header checksum not verified
  c0 a8 50 0a   # 192.168.80.10
  c0 a8 50 0b   # 192.168.80.11
  c3 50 12 b5 00 08 00 00
`);
const withOptions = concat(hex('46 00 00 18'), packet.slice(4, 20), hex('01 01 01 00'));

t.test('rejects a packet truncated at any length', async (t) => {
  for (const whole of [packet, withOptions]) {
    for (let len = 0; len < whole.length; len++) {
      t.equal(ipv4.check(whole, 0, len), false, `${len} of ${whole.length}`);
      t.equal(ipv4.check(whole.slice(0, len), 0, len), false, `${len}, the buffer ends there`);
    }
    t.equal(ipv4.check(whole, 0, whole.length), true);
  }
});

t.test('rejects wrong lengths and versions', async (t) => {
  const rows: [string, Uint8Array][] = [
    ['version 6', patched(packet, 0, 0x65)],
    ['version 0', patched(packet, 0, 0x05)],
    ['header of 16 bytes', patched(packet, 0, 0x44)],
    ['header of 0 bytes', patched(packet, 0, 0x40)],
    ['header longer than the packet', patched(packet, 0, 0x4f)],
    ['total length 0', patched(packet, 2, 0, 0)],
    ['total length below the header', patched(packet, 2, 0, 19)],
    ['total length one above the bytes present', patched(packet, 2, 0, 29)],
    ['total length 65535', patched(packet, 2, 0xff, 0xff)],
  ];
  for (const [what, b] of rows) t.equal(ipv4.check(b, 0, b.length), false, what);
});

t.test('accepts a valid packet followed by Ethernet padding', async (t) => {
  const b = concat(hex('ee ee'), packet, new Uint8Array(18));
  t.equal(ipv4.check(b, 2, b.length), true);
  t.equal(ipv4.headerLen(b, 2), 20);
  t.equal(ipv4.totalLen(b, 2), 28);
  t.equal(ipv4.protocol(b, 2), ipv4.PROTOCOL_UDP);
  t.equal(b[2 + ipv4.SOURCE_OFF + 3], 10);
  t.equal(b[2 + ipv4.DESTINATION_OFF + 3], 11);
  t.equal(ipv4.headerLen(withOptions, 0), 24);
});

t.test('recognizes a fragment by M and offset only', async (t) => {
  for (let bit = 0; bit < 16; bit++) {
    const word = 1 << bit;
    const b = patched(packet, 6, word >>> 8, word & 0xff);
    // 15 is reserved, 14 is DF: neither marks a fragment. 13 is M, bits 12 to 0 are the offset.
    t.equal(ipv4.isFragment(b, 0), bit <= 13, `bit ${bit}`);
  }
  t.equal(ipv4.isFragment(patched(packet, 6, 0, 0), 0), false);
});
