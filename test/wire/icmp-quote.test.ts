import t from 'tap';
import { readQuote, readQuotedUdp } from '../../src/wire/icmp-quote.js';
import { concat, hex, patched } from '../support/hex.js';

const MESSAGE4 = hex(`
  45 00 00 38 00 00 00 00   # IHL 5, total length 56
  40 01 00 00               # ICMP
  c0 00 02 01 c0 00 02 0a   # from the hop to us
  03 04 00 00 00 00 05 78   # fragmentation needed, next hop 1400
  45 00 05 dc 00 00 40 00   # quoted: total length 1500, DF
  3f 11 00 00               # UDP
  c0 00 02 0a c6 33 64 01   # from 192.0.2.10 to 198.51.100.1
  c0 01 12 b5 05 c8 00 00   # port 49153 → 4789
`);
const MESSAGE6 = concat(
  hex(`
    02 00 00 00 00 00 05 78   # packet too big, 1400
    60 00 00 00 05 b4 11 40   # quoted: payload 1460, UDP
    20 01 0d b8 00 00 00 00 00 00 00 00 00 00 00 0a   # from 2001:db8::a
    20 01 0d b8 00 00 00 00 00 00 00 00 00 00 00 0b   # to 2001:db8::b
    c0 01 12 b5 05 b4 00 00   # port 49153 → 4789
  `),
);

t.test('rejects a message truncated at any length', async (t) => {
  for (const [family, whole] of [
    [4, MESSAGE4],
    [6, MESSAGE6],
  ] as const)
    for (let len = 0; len < whole.length; len++)
      t.equal(
        readQuotedUdp(family, whole.slice(0, len)),
        undefined,
        `IPv${family}: ${len} of ${whole.length}`,
      );
});

t.test('ignores messages that do not quote a UDP datagram', async (t) => {
  const rows: [string, 4 | 6, Uint8Array][] = [
    ['port unreachable', 4, patched(MESSAGE4, 21, 3)],
    ['time exceeded', 4, patched(MESSAGE4, 20, 11)],
    ['a quote of TCP', 4, patched(MESSAGE4, 28 + 9, 6)],
    ['a quote of IPv6', 4, patched(MESSAGE4, 28, 0x65)],
    ['a quote whose header is too short', 4, patched(MESSAGE4, 28, 0x44)],
    ['a quote shorter than its header', 4, patched(MESSAGE4, 28, 0x4f)],
    ['unreachable', 6, patched(MESSAGE6, 0, 1)],
    ['a quote of TCP', 6, patched(MESSAGE6, 8 + 6, 6)],
    ['a quote of IPv4', 6, patched(MESSAGE6, 8, 0x45)],
  ];
  for (const [name, family, b] of rows) t.equal(readQuotedUdp(family, b), undefined, `IPv${family}: ${name}`);
});

t.test('reads the quoted datagram and the MTU', async (t) => {
  t.same(readQuotedUdp(4, MESSAGE4), {
    mtu: 1400,
    source: concat(hex('c0 00 02 0a'), new Uint8Array(12)),
    destination: concat(hex('c6 33 64 01'), new Uint8Array(12)),
    sourcePort: 49153,
    destinationPort: 4789,
  });
  t.same(readQuotedUdp(6, MESSAGE6), {
    mtu: 1400,
    source: hex('20 01 0d b8 00 00 00 00 00 00 00 00 00 00 00 0a'),
    destination: hex('20 01 0d b8 00 00 00 00 00 00 00 00 00 00 00 0b'),
    sourcePort: 49153,
    destinationPort: 4789,
  });
  t.equal(readQuote(4, patched(MESSAGE4, 26, 0, 0))?.mtu, 0, 'a router older than RFC 1191 states no MTU');
  t.equal(readQuote(6, patched(MESSAGE6, 4, 0xff, 0xff, 0xff, 0xff))?.mtu, 2 ** 32 - 1);
});
