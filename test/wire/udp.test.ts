import t from 'tap';
import * as udp from '../../src/wire/udp.js';
import { concat, hex, patched } from '../support/hex.js';

const datagram = hex(`
  c3 50 12 b5   # port 50000 → 4789
  00 0c be ef   # 12 bytes, checksum
  64 61 74 61
`);

t.test('rejects a datagram truncated at any length', async (t) => {
  for (let len = 0; len < datagram.length; len++) {
    t.equal(udp.check(datagram, 0, len), false, `${len} bytes`);
    t.equal(udp.check(datagram.slice(0, len), 0, len), false, `${len} bytes, the buffer ends there`);
  }
});

t.test('rejects wrong lengths', async (t) => {
  for (const stated of [0, 1, 7, 13, 0xffff]) {
    t.equal(
      udp.check(patched(datagram, 4, stated >>> 8, stated & 0xff), 0, datagram.length),
      false,
      `${stated}`,
    );
  }
});

t.test('accepts a valid datagram', async (t) => {
  const b = concat(hex('ee'), datagram, hex('00 00'));
  t.equal(udp.check(b, 1, b.length), true, 'padding is ignored');
  t.equal(udp.check(patched(datagram, 4, 0, 8), 0, datagram.length), true, 'empty');
  t.equal(udp.sourcePort(b, 1), 50000);
  t.equal(udp.destinationPort(b, 1), 4789);
  t.equal(udp.length(b, 1), 12);
  t.equal(udp.checksum(b, 1), 0xbeef);
  t.equal(b[1 + udp.CHECKSUM_OFF], 0xbe);
});
