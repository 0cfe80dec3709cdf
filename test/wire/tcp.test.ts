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

t.test('cut off at every length', async (t) => {
  for (let len = 0; len < segment.length; len++) {
    t.equal(tcp.check(segment, 0, len), false, `${len} bytes`);
    t.equal(tcp.check(segment.slice(0, len), 0, len), false, `${len} bytes, nothing behind`);
  }
});

t.test('every data offset', async (t) => {
  for (let words = 0; words < 16; words++) {
    const b = patched(segment, 12, words << 4);
    t.equal(tcp.check(b, 0, b.length), words === 5 || words === 6, `${words} words in 24 bytes`);
    t.equal(tcp.headerLen(b, 0), words * 4);
  }
  const longest = concat(patched(segment, 12, 0xf0), new Uint8Array(36));
  t.equal(tcp.check(longest, 0, longest.length), true);
});

t.test('flags and checksum', async (t) => {
  t.equal(tcp.flags(segment, 0), tcp.FLAG_SYN | tcp.FLAG_ACK);
  t.equal(tcp.checksum(segment, 0), 0xbeef);
  t.equal(segment[tcp.CHECKSUM_OFF], 0xbe);
  // FIN, SYN, RST, PSH, ACK, URG, ECE, CWR from the lowest bit up.
  const inOrder = [
    tcp.FLAG_FIN,
    tcp.FLAG_SYN,
    tcp.FLAG_RST,
    tcp.FLAG_PSH,
    tcp.FLAG_ACK,
    tcp.FLAG_URG,
    tcp.FLAG_ECE,
    tcp.FLAG_CWR,
  ];
  inOrder.forEach((flag, bit) => {
    t.equal(flag, 1 << bit);
  });
});
