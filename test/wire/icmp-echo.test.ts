import t from 'tap';
import { makeEcho, readEchoNews } from '../../src/wire/icmp-echo.js';
import { concat, hex, patched } from '../support/hex.js';

const IPV4 = hex(`
  45 00 00 38 00 00 00 00   # IHL 5, total length 56
  40 01 00 00               # ICMP
  c0 00 02 01 c0 00 02 0a   # from the hop to us
`);
const QUOTE4 = hex(`
  45 00 05 dc 00 00 40 00   # total length 1500, DF
  3f 01 00 00               # ICMP
  c0 00 02 0a c6 33 64 01   # from us to the peer
  08 00 00 00 12 34 00 07   # echo request, identifier 0x1234, sequence 7
`);
const TOO_BIG4 = concat(IPV4, hex('03 04 00 00 00 00 05 78  # frag needed, next hop 1400'), QUOTE4);
const REPLY4 = concat(
  patched(IPV4, 3, 0x1c),
  hex('00 00 ff ff 12 34 00 07  # echo reply, identifier 0x1234, sequence 7'),
);

const QUOTE6 = concat(
  hex('60 00 00 00 05 b4 3a 40  # payload 1460, ICMPv6'),
  new Uint8Array(32),
  hex('80 00 00 00 12 34 00 07  # echo request'),
);
const TOO_BIG6 = concat(hex('02 00 00 00 00 00 05 78  # packet too big, 1400'), QUOTE6);
const REPLY6 = hex('81 00 00 00 12 34 00 07');

t.test('rejects a message truncated at any length', async (t) => {
  for (const [family, whole] of [
    [4, TOO_BIG4],
    [4, REPLY4],
    [6, TOO_BIG6],
    [6, REPLY6],
  ] as const)
    for (let len = 0; len < whole.length; len++) {
      const cut = whole.slice(0, len);
      t.equal(readEchoNews(family, cut), undefined, `IPv${family}: ${len} of ${whole.length}`);
    }
});

t.test('does not throw when any header byte is changed', async (t) => {
  for (const [family, whole] of [
    [4, TOO_BIG4],
    [6, TOO_BIG6],
  ] as const)
    for (let at = 0; at < whole.length; at++)
      for (const value of [0, 0x0f, 0x4f, 0x60, 0xff]) {
        t.doesNotThrow(() => readEchoNews(family, patched(whole, at, value)), `${at}: ${value}`);
      }
});

t.test('ignores messages that do not concern an echo request', async (t) => {
  const rows: [string, 4 | 6, Uint8Array][] = [
    ['an echo request (our own, over loopback)', 4, patched(REPLY4, 20, 8)],
    ['port unreachable', 4, patched(TOO_BIG4, 21, 3)],
    ['time exceeded', 4, patched(TOO_BIG4, 20, 11)],
    ['a quote of UDP', 4, patched(TOO_BIG4, 28 + 9, 17)],
    ['a quote of an echo reply', 4, patched(TOO_BIG4, 28 + 20, 0)],
    ['a quote of IPv6', 4, patched(TOO_BIG4, 28, 0x65)],
    ['a quote with a header too short', 4, patched(TOO_BIG4, 28, 0x44)],
    ['unreachable', 6, patched(TOO_BIG6, 0, 1)],
    ['a quote of UDP', 6, patched(TOO_BIG6, 8 + 6, 17)],
    ['a quote of IPv4', 6, patched(TOO_BIG6, 8, 0x45)],
  ];
  for (const [name, family, b] of rows) t.equal(readEchoNews(family, b), undefined, `IPv${family}: ${name}`);
});

t.test('reads "too big" errors and echo replies', async (t) => {
  const about = { identifier: 0x1234, sequence: 7 };
  t.same(readEchoNews(4, TOO_BIG4), { tooBig: 1400, ...about });
  t.same(readEchoNews(6, TOO_BIG6), { tooBig: 1400, ...about });
  t.same(readEchoNews(4, REPLY4), { tooBig: undefined, ...about });
  t.same(readEchoNews(6, REPLY6), { tooBig: undefined, ...about });
  t.same(readEchoNews(6, patched(TOO_BIG6, 4, 0xff, 0xff, 0xff, 0xff)), { tooBig: 2 ** 32 - 1, ...about });
});

t.test('writes echo requests', async (t) => {
  t.same(
    makeEcho(4, 0x1234, 7, 12),
    hex(`
      08 00 e5 c4   # echo request, checksum
      12 34 00 07   # identifier, sequence
      00 00 00 00   # data
    `),
  );
  t.same(
    makeEcho(6, 0x1234, 7, 10),
    hex('80 00 00 00 12 34 00 07 00 00'),
    'the kernel computes the IPv6 checksum',
  );
});
