/** Peers in the form of --peer. */
import t from 'tap';
import { ValueError } from '../../src/config/config-error.js';
import { parsePeer, peerSettings } from '../../src/config/peer.js';

const HOST = 'must be an IPv4 address, an IPv6 address (with %IF if link-local) or a DNS name';

const MANY = 'has all=on, which is for a DNS name that stands for many hosts: omit it';

const refused: [string, string][] = [
  ['', HOST],
  [',port=1', HOST],
  ['192.0.2.300', HOST],
  ['1.2.3', HOST],
  ['2001:db8::g', HOST],
  ['[2001:db8::1]', HOST],
  ['-host.example', HOST],
  ['host..example', HOST],
  [`${'a'.repeat(64)}.example`, HOST],
  [`${'a.'.repeat(130)}example`, HOST],
  ['a b', HOST],
  ['239.1.1.1', 'must be a unicast address, not a multicast group'],
  ['0.0.0.0', 'must be a unicast address, not the unspecified address'],
  ['fe80::1', 'is link-local and needs its interface: fe80::1%IF'],
  ['192.0.2.1,flood', 'must be ADDR[,vni=ID][,port=P][,flood=on|off][,all=on|off]; "flood" has no "="'],
  ['192.0.2.1,', 'must be ADDR[,vni=ID][,port=P][,flood=on|off][,all=on|off]; "" has no "="'],
  ['192.0.2.1,prt=1', 'has an unknown option "prt" (allowed: vni, port, flood, all); did you mean "port"?'],
  ['192.0.2.1,=1', 'has an unknown option "" (allowed: vni, port, flood, all)'],
  ['192.0.2.1,remote-vni=1', 'has an unknown option "remote-vni" (allowed: vni, port, flood, all)'],
  ['192.0.2.1,port=1,port=2', 'has port= twice'],
  ['192.0.2.1,port=0', 'port=0 must be a whole number from 1 to 65535'],
  ['192.0.2.1,vni=16777216', 'vni=16777216 must be a whole number from 0 to 16777215'],
  ['192.0.2.1,flood=no', 'flood=no must be "on" or "off"'],
  ['h,all=yes', 'all=yes must be "on" or "off"'],
  ['192.0.2.1,all=on', MANY],
  ['fe80::1%eth0,all=on', MANY],
  ['192.0.2.1,__proto__=x', 'has an unknown option "__proto__" (allowed: vni, port, flood, all)'],
];

t.test('invalid peers are refused', async (t) => {
  for (const [text, message] of refused)
    t.throws(() => parsePeer(text), new ValueError(message), JSON.stringify(text));
});

t.test('valid peers are accepted', async (t) => {
  const nothing = { port: undefined, flood: undefined, all: undefined, vni: undefined };
  t.strictSame(parsePeer('192.0.2.1'), { host: '192.0.2.1', ...nothing });
  t.strictSame(
    parsePeer('2001:DB8:0:0::1'),
    { host: '2001:db8::1', ...nothing },
    'the address becomes canonical',
  );
  t.strictSame(parsePeer('fe80::1%eth0,port=8472'), { host: 'fe80::1%eth0', ...nothing, port: 8472 });
  t.strictSame(parsePeer('Far.Example.'), { host: 'far.example', ...nothing }, 'a name is lower-cased');
  t.strictSame(parsePeer('h,flood=off,vni=7,port=1,all=on'), {
    host: 'h',
    port: 1,
    flood: false,
    all: true,
    vni: 7,
  });
  t.strictSame(parsePeer('192.0.2.1,all=off'), { host: '192.0.2.1', ...nothing, all: false });
});

t.test('only a name that stands for many hosts has the setting `all`', async (t) => {
  t.strictSame(peerSettings(parsePeer('h,all=off'), 4789), { host: 'h', port: 4789, flood: true });
  t.strictSame(peerSettings(parsePeer('h,all=on'), 4789), {
    host: 'h',
    port: 4789,
    flood: true,
    all: true,
  });
});
