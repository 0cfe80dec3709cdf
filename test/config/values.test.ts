/**
 * Parsers of single values: refused texts with their messages, and accepted texts with their
 * values.
 */
import t from 'tap';
import { ValueError } from '../../src/config/config-error.js';
import * as V from '../../src/config/values.js';

const refused: [string, (text: string) => unknown, string[], string][] = [
  [
    'VNI',
    V.parseVni,
    ['', ' 1', '-1', '+1', '1.0', '1e3', '0x64', '007', '16777216', '99999999999999999999', 'abc'],
    'must be a whole number from 0 to 16777215',
  ],
  ['port', V.parsePort, ['0', '65536', '-1', '04789', ''], 'must be a whole number from 1 to 65535'],
  ['switch', V.parseSwitch, ['', 'yes', 'ON', '1', 'off '], 'must be "on" or "off"'],
  [
    'MTU',
    V.parseMtu,
    ['67', '65536', 'AUTO', '', '1500 '],
    'must be "auto" or a whole number from 68 to 65535',
  ],
  [
    'TOS',
    V.parseTos,
    ['', 'INHERIT', '1', '2', '3', '253', '256', '-4', '0x10', '04', '1000'],
    'must be "inherit" or a multiple of 4 from 0 to 252 (DSCP times 4; the two ECN bits are 0)',
  ],
  [
    'source ports',
    V.parseSourcePorts,
    [
      '',
      '49152',
      '1000-1062',
      '2000-1000',
      '0-100',
      '65500-65600',
      '1-',
      '-100',
      '1000 - 2000',
      '49152-65535-1',
    ],
    'must be MIN-MAX within 1-65535, at least 64 ports wide, or P-P with the listening port P',
  ],
  [
    'mark',
    V.parseMark,
    ['', '0', '-1', '007', '1.5', '4294967296', '0x', '0x0', '0x100000000', '0xg', '1e3', '7 ', 'x7'],
    'must be a number from 1 to 4294967295, or from 0x1 to 0xffffffff',
  ],
  [
    'interface name',
    V.parseInterfaceName,
    ['', 'sixteen-bytes-xx', 'a b', 'a/b', 'a:b', 'tap%d', '.', '..', 'a\tb', 'ääääääää'],
    'must be an interface name: 1 to 15 bytes, no space, "/", ":" or "%"',
  ],
  [
    'MAC of a device',
    V.parseDeviceMac,
    [
      '',
      '00:00:00:00:00:00',
      '01:00:5e:00:00:01',
      'ff:ff:ff:ff:ff:ff',
      '02:00:00:00:00',
      '02:00-00:00:00:01',
      '020000000001',
    ],
    'must be a unicast MAC address such as 02:00:5e:10:00:01, not multicast or zero',
  ],
  [
    'address of an interface',
    V.parseInterfaceAddress,
    [
      '',
      '10.0.0.1',
      '10.0.0.1/33',
      '2001:db8::1/129',
      '10.0.0/8',
      '10.0.0.1/-1',
      '10.0.0.1/08',
      '239.0.0.1/24',
      '0.0.0.0/0',
      'fe80::1%eth0/64',
    ],
    'must be ADDRESS/LENGTH such as 10.10.10.1/24 or 2001:db8::1/64',
  ],
  [
    'one of several',
    V.oneOf('pass', 'strip', 'drop'),
    ['', 'Pass', 'keep'],
    'must be "pass", "strip" or "drop"',
  ],
  [
    'text instead of an address',
    V.parseUnicastAddress,
    ['', 'host', '1.2.3', '010.0.0.1', '::g'],
    'must be an IPv4 or IPv6 address',
  ],
  [
    'multicast address',
    V.parseUnicastAddress,
    ['224.0.0.1', '239.255.255.255', 'ff02::1'],
    'must be a unicast address, not a multicast group',
  ],
  [
    'unspecified address',
    V.parseUnicastAddress,
    ['0.0.0.0', '::'],
    'must be a unicast address, not the unspecified address',
  ],
  [
    'broadcast address',
    V.parseUnicastAddress,
    ['255.255.255.255'],
    'must be a unicast address, not the broadcast address',
  ],
  [
    'link-local address without interface',
    V.parseUnicastAddress,
    ['FE80::1'],
    'is link-local and needs its interface: fe80::1%IF',
  ],
  [
    'endpoint',
    V.parseApiEndpoint,
    ['', ':80', 'host', 'host:0', 'host:65536', '::1:80', '[::1]', 'a:b:1', 'h:1x'],
    'must be HOST:PORT, [IPV6]:PORT or unix:PATH',
  ],
  [
    'socket path',
    V.parseApiEndpoint,
    ['unix:', `unix:/${'x'.repeat(107)}`, 'unix:a\0b'],
    'must be unix:PATH with a path of 1 to 107 bytes',
  ],
  [
    'API listener with a host name',
    V.parseApiListen,
    ['api.example:80'],
    'must be an address and port, unix:PATH or "off"',
  ],
  [
    'metrics listener',
    V.parseMetricsListen,
    ['', '9789', 'off', 'unix:/x', 'metrics.example:80', '127.0.0.1:0', '[ff02::1]:9789'],
    'must be an address and port, such as 127.0.0.1:9789 or [::]:9789',
  ],
  ['file', V.parseFilePath, ['', '/etc/', 'a\0b'], 'must be the path of a file'],
  ['file or off', V.parseFileOrOff, ['', '/etc/'], 'must be the path of a file, or "off"'],
];

for (const [name, parse, texts, message] of refused) {
  t.test(`refused: ${name}`, async (t) => {
    for (const text of texts) t.throws(() => parse(text), new ValueError(message), JSON.stringify(text));
  });
}

t.test('valid values are accepted', async (t) => {
  t.equal(V.parseVni('0'), 0);
  t.equal(V.parseVni('16777215'), 0xffffff);
  t.equal(V.parsePort('65535'), 65535);
  t.equal(V.parseSwitch('on'), true);
  t.equal(V.parseSwitch('false'), false, 'a YAML boolean is accepted');
  t.equal(V.parseMtu('auto'), 'auto');
  t.equal(V.parseMtu('68'), 68);
  t.equal(V.parseMark('1'), 1);
  t.equal(V.parseMark('4294967295'), 4_294_967_295);
  t.equal(V.parseMark('0xFFFFFFFF'), 4_294_967_295);
  t.equal(V.parseMark('0x007'), 7);
  t.equal(V.parseTos('inherit'), 'inherit');
  t.equal(V.parseTos('0'), 0);
  t.equal(V.parseTos('184'), 184, 'DSCP 46 (expedited forwarding) is accepted');
  t.equal(V.parseTos('252'), 252);
  t.strictSame(V.parseSourcePorts('1000-1063'), { min: 1000, max: 1063 }, 'a range of 64 ports is accepted');
  t.equal(V.parseInterfaceName('fifteen-bytes-x'), 'fifteen-bytes-x');
  t.equal(V.parseDeviceMac('02-AA-00-00-00-01'), '02:aa:00:00:00:01');
  t.equal(V.parseInterfaceAddress('2001:DB8:0::1/64'), '2001:db8::1/64');
  t.equal(V.parseInterfaceAddress('10.10.10.1/24'), '10.10.10.1/24', 'host bits are kept');
  t.equal(V.parseUnicastAddress('FE80::1%eth0').text, 'fe80::1%eth0');
  t.equal(
    V.parseUnicastAddress('::ffff:192.0.2.1').text,
    '192.0.2.1',
    'an IPv4-mapped address is the IPv4 address',
  );
});

t.test('listen addresses are parsed', async (t) => {
  t.strictSame(V.parseApiListen('off'), { kind: 'off' });
  t.strictSame(V.parseApiListen('[2001:DB8::1]:1'), { kind: 'tcp', host: '2001:db8::1', port: 1 });
  t.strictSame(V.parseMetricsListen('[::]:9789'), { host: '::', port: 9789 });
  t.strictSame(V.parseFileOrOff('off'), '');
  t.strictSame(V.parseApiListen('127.0.0.2:1'), { kind: 'tcp', host: '127.0.0.2', port: 1 });
  t.strictSame(V.parseApiListen('[::1]:8789'), { kind: 'tcp', host: '::1', port: 8789 });
  t.strictSame(V.parseApiListen('localhost:8789'), { kind: 'tcp', host: '127.0.0.1', port: 8789 });
  t.strictSame(V.parseApiListen('unix:/run/vtepd.sock'), { kind: 'unix', path: '/run/vtepd.sock' });
  t.strictSame(
    V.parseApiEndpoint('far.example:80'),
    { kind: 'tcp', host: 'far.example', port: 80 },
    'a client may connect to any host',
  );
});
