import t from 'tap';
import {
  formatIpAddress,
  isLinkLocal,
  isMulticastAddress,
  isUnspecified,
  makeIpAddress,
  parseCidr,
  parseIpAddress,
} from '../../src/wire/ip-address.js';
import { hex } from '../support/hex.js';

t.test('rejects invalid and ambiguous addresses', async (t) => {
  const rows = [
    '',
    '1',
    '1.2',
    '1.2.3',
    '1.2.3.4.5',
    '1.2.3.256',
    '0x7f.1',
    '0x7f.0.0.1',
    '010.0.0.1', // octal in some parsers
    '1.2.3.04',
    '2130706433',
    ' 1.2.3.4',
    '1.2.3.4 ',
    '1.2.3.4%eth0', // IPv4 has no scopes
    '1.2.3.4/24',
    'localhost',
    ':',
    ':::',
    '1:2:3:4:5:6:7',
    '1:2:3:4:5:6:7:8:9',
    '1::2::3',
    '12345::',
    'g::1',
    '[::1]',
    '::1.2.3',
    '::1.2.3.4', // IPv4-compatible: deprecated
    'fe80::1%', // scope without a name
    'fe80::1%a b',
    'fe80::1%eth0/64',
    'fe80::1%abcdefghijklmnop', // 16 bytes: no interface
    'fe80::1%eth0%eth1',
    '2001:db8::1%eth0', // a scope is valid for link-local addresses only
    '::ffff:1.2.3.4%eth0',
    `${'1:'.repeat(100_000)}`,
  ];
  for (const text of rows) t.equal(parseIpAddress(text), undefined, JSON.stringify(text.slice(0, 40)));
});

t.test('returns the canonical text of RFC 5952', async (t) => {
  const rows: [string, 4 | 6, string][] = [
    ['192.168.80.10', 4, '192.168.80.10'],
    ['0.0.0.0', 4, '0.0.0.0'],
    ['255.255.255.255', 4, '255.255.255.255'],
    ['::ffff:192.0.2.1', 4, '192.0.2.1'], // IPv4-mapped
    ['::FFFF:c000:0201', 4, '192.0.2.1'],
    ['::', 6, '::'],
    ['::1', 6, '::1'],
    ['1::', 6, '1::'],
    ['2001:DB8::000A', 6, '2001:db8::a'], // §4.1, §4.3
    ['2001:db8:0:0:0:0:2:1', 6, '2001:db8::2:1'], // §4.2.1
    ['2001:db8:0:1:1:1:1:1', 6, '2001:db8:0:1:1:1:1:1'], // §4.2.2: a single zero field is not shortened
    ['2001:db8:1:1:1:1:1::', 6, '2001:db8:1:1:1:1:1:0'],
    ['2001:0:0:1:0:0:0:1', 6, '2001:0:0:1::1'], // §4.2.3: the longest zero sequence is shortened
    ['2001:db8:0:0:1:0:0:1', 6, '2001:db8::1:0:0:1'], // the first of two equally long sequences
    ['64:ff9b::192.0.2.33', 6, '64:ff9b::c000:221'],
    ['fe80::1', 6, 'fe80::1'],
    ['fe80::1%eth0', 6, 'fe80::1%eth0'],
    ['FEBF::1%2', 6, 'febf::1%2'],
  ];
  for (const [text, family, canonical] of rows) {
    const address = parseIpAddress(text);
    t.equal(address?.text, canonical, text);
    t.equal(address?.family, family, text);
    t.same(parseIpAddress(canonical), address, `${canonical} gives the same address`);
  }
});

t.test('packs the bytes as in a peer row', async (t) => {
  t.same(parseIpAddress('192.168.80.10')?.bytes, hex('c0a8500a 00000000 00000000 00000000'));
  t.same(parseIpAddress('::ffff:192.168.80.10')?.bytes, hex('c0a8500a 00000000 00000000 00000000'));
  t.same(parseIpAddress('fe80::a%br0')?.bytes, hex('fe800000 00000000 00000000 0000000a'));
  t.equal(parseIpAddress('fe80::a%br0')?.scope, 'br0');
  t.equal(
    formatIpAddress(4, hex('c0a8500a eeeeeeee eeeeeeee eeeeeeee')),
    '192.168.80.10',
    'bytes 4 to 15 are ignored',
  );
  t.equal(formatIpAddress(6, hex('fe800000 00000000 00000000 0000000a'), 'br0'), 'fe80::a%br0');
});

t.test('copies the bytes and sets the unused ones to zero', async (t) => {
  const row = hex('c0a8500a eeeeeeee eeeeeeee eeeeeeee');
  const address = makeIpAddress(4, row);
  row.fill(0);
  t.same(address, parseIpAddress('192.168.80.10'));
  t.same(makeIpAddress(6, hex('fe800000 00000000 00000000 0000000a'), 'br0'), parseIpAddress('fe80::a%br0'));
});

t.test('parses prefixes and rejects invalid ones', async (t) => {
  const rejected = [
    '',
    '/',
    '/24',
    '1.2.3.4',
    '1.2.3.4/',
    '1.2.3.4/33',
    '1.2.3.4/024',
    '1.2.3.4/-1',
    '1.2.3.4/2 ',
  ]
    .concat([
      '1.2.3.4/+8',
      '1.2.3.4/1e1',
      '1.2.3.4/24/24',
      '1.2.3/24',
      '::1/129',
      '::1/1000',
      '::ffff:1.2.3.4/120',
    ])
    .concat(['fe80::1%eth0/64', '1.2.3.4/255.255.255.0']);
  for (const text of rejected) t.equal(parseCidr(text), undefined, JSON.stringify(text));

  const rows: [string, string, number][] = [
    ['10.10.10.1/24', '10.10.10.1', 24],
    ['0.0.0.0/0', '0.0.0.0', 0],
    ['10.0.0.1/32', '10.0.0.1', 32],
    ['FD00::1/64', 'fd00::1', 64],
    ['::/128', '::', 128],
    ['fe80::1/64', 'fe80::1', 64],
  ];
  for (const [text, address, length] of rows) {
    t.same(parseCidr(text), { address: parseIpAddress(address), length }, text);
  }
});

t.test('classifies addresses at the limits of each range', async (t) => {
  const address = (text: string) => {
    const parsed = parseIpAddress(text);
    if (parsed === undefined) throw new Error(text);
    return parsed;
  };
  const rows: [(a: ReturnType<typeof address>) => boolean, string[], string[]][] = [
    [
      isMulticastAddress,
      ['224.0.0.0', '239.255.255.255', 'ff00::', 'ff02::1'],
      ['223.255.255.255', '240.0.0.0', 'feff::'],
    ],
    [isUnspecified, ['0.0.0.0', '::'], ['0.0.0.1', '::1', '1::', '1.0.0.0']],
    [isLinkLocal, ['fe80::', 'febf:ffff::1'], ['fe7f::1', 'fec0::1', '169.254.0.1', '254.128.0.1']],
  ];
  for (const [is, yes, no] of rows) {
    for (const text of yes) t.equal(is(address(text)), true, `${is.name} ${text}`);
    for (const text of no) t.equal(is(address(text)), false, `not ${is.name} ${text}`);
  }
});
