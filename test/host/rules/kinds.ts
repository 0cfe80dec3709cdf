/**
 * Small rulesets, one for each kind of expression, with the rules that stand against superframes.
 *
 * The datagrams are those of `OURS`: from 10.1.0.1 and fd00::1 through u0 to UDP 4789 of 10.1.0.2
 * and fd00::2, without a mark. `rulesets/kinds.jsonl` has what nft prints for each ruleset.
 */
import type { OuterTraffic, Shortcut } from '../../../src/host/rules/outer-traffic.js';
import { parseIpAddress } from '../../../src/wire/ip-address.js';

const address = (text: string) => parseIpAddress(text)!;

export const OURS: OuterTraffic = {
  families: [4, 6],
  locals: [address('10.1.0.1'), address('fd00::1')],
  peers: [address('10.1.0.2'), address('fd00::2')],
  port: 4789,
  sourcePorts: { min: 49152, max: 65535 },
  devices: ['u0'],
  mark: 0,
};

export interface Kind {
  /** Text in the ruleset; unique. */
  readonly name: string;
  /** Ruleset in the syntax of nft(8). */
  readonly nft: string;
  /** `chain: what the rule does` of each obstacle, in order. */
  readonly obstacles: readonly string[];
  readonly shortcut: Shortcut;
  readonly traffic: Partial<OuterTraffic>;
}

type Options = Partial<Pick<Kind, 'shortcut' | 'traffic'>>;

const kind = (name: string, nft: string, obstacles: readonly string[], options: Options = {}): Kind => ({
  name,
  nft,
  obstacles,
  shortcut: 'superframes',
  traffic: {},
  ...options,
});

const table = (family: string, chains: string) => `table ${family} t {\n${chains}\n}`;
const base = (name: string, type: string, rules: string) =>
  `chain ${name} { type filter hook ${type}; policy accept;\n${rules}\n}`;
const chain = (name: string, rules: string) => `chain ${name} {\n${rules}\n}`;

/** A table inet with these rules in a base chain of hook output. */
const out = (name: string, rules: string, obstacles: readonly string[], options?: Options) =>
  kind(name, table('inet', base('out', 'output priority 0', rules)), obstacles, options);
/** The same with sets, maps or further chains in the table. */
const outWith = (
  name: string,
  more: string,
  rules: string,
  obstacles: readonly string[],
  options?: Options,
) => kind(name, table('inet', `${more}\n${base('out', 'output priority 0', rules)}`), obstacles, options);
/** A table with a base chain of type nat. */
const nat = (name: string, hook: string, rules: string, obstacles: readonly string[], options?: Options) =>
  kind(
    name,
    `table ip t { chain n { type nat hook ${hook}; policy accept;\n${rules}\n}\n}`,
    obstacles,
    options,
  );
/** A chain of hook output with policy drop. */
const closed = (name: string, rules: string, obstacles: readonly string[], options?: Options) =>
  kind(
    name,
    `table inet t { chain out { type filter hook output priority 0; policy drop;\n${rules}\n}\n}`,
    obstacles,
    options,
  );

const FLOWS = { shortcut: 'flows' } as const;
const MARKED = (mark: number) => ({ traffic: { mark } });
const MANY_PEERS = {
  traffic: { peers: Array.from({ length: 40 }, (_, i) => address(`10.1.0.${i + 2}`)) },
} as const;

export const KINDS: readonly Kind[] = [
  // Effects of a rule.
  out('accept', 'udp dport 4789 accept', []),
  out('drop', 'udp dport 4789 drop', ['out: drop']),
  out('reject', 'udp dport 4789 reject', ['out: reject']),
  out('log', 'udp dport 4789 log prefix "vx"', ['out: log']),
  out('limit', 'limit rate 10/second accept', ['out: limit']),
  out('limit over, drop', 'udp dport 4789 limit rate over 1000/second drop', ['out: drop']),
  outWith('named limit', 'limit l { rate 10/second; }', 'limit name "l" accept', ['out: limit name l']),
  out('quota', 'quota over 10 mbytes drop', ['out: drop']),
  outWith('named quota', 'quota q { over 10 mbytes; }', 'quota name "q" accept', ['out: quota name q']),
  out('connection limit', 'udp dport 4789 ct count over 100 drop', ['out: drop']),
  outWith('named counter', 'counter c { }', 'counter name "c"', ['out: counter name c']),
  outWith('counter by a map', 'counter c { }', 'counter name ip daddr map { 10.1.0.2 : "c" }', [
    'out: counter',
  ]),
  out('DSCP', 'ip dscp set cs1', ['out: ip dscp set cs1']),
  out('priority', 'udp dport 4789 meta priority set 1:2', ['out: meta priority set 1:2']),
  out('trace', 'udp dport 4789 meta nftrace set 1', ['out: meta nftrace set 1']),
  out('connection mark', 'udp dport 4789 ct mark set 1', ['out: ct mark set 1']),
  outWith(
    'peers listed in a set by packets',
    'set seen { type ipv4_addr; flags dynamic; size 100; }',
    'udp dport 4789 add @seen { ip daddr }',
    ['out: set'],
  ),
  kind('notrack in table raw', table('ip', base('raw', 'output priority -300', 'udp dport 4789 notrack')), [
    'raw: notrack',
  ]),
  outWith(
    'helper of connection tracking',
    'ct helper tftp { type "tftp" protocol udp; }',
    'udp dport 4789 ct helper set "tftp"',
    ['out: ct helper'],
  ),
  kind(
    'synproxy, which is for TCP, flows',
    table('inet', base('in', 'input priority 0', 'tcp dport 80 synproxy mss 1460 wscale 7')),
    [],
    FLOWS,
  ),
  kind(
    'copies to another host',
    table('ip', base('out', 'output priority 0', 'udp dport 4789 dup to 10.1.0.9')),
    ['out: dup to 10.1.0.9'],
  ),
  out('copies of other datagrams', 'udp dport 53 log', []),

  // Address translation.
  nat('snat', 'postrouting priority 100', 'udp dport 4789 counter snat to 10.1.0.9', ['n: snat to 10.1.0.9']),
  nat('masquerade', 'postrouting priority 100', 'oifname "u0" masquerade', ['n: masquerade']),
  nat(
    'masquerade of containers',
    'postrouting priority 100',
    'ip saddr 172.17.0.0/16 oifname != "docker0" masquerade',
    [],
  ),
  nat('masquerade of all but a network', 'postrouting priority 100', 'ip saddr != 172.17.0.0/16 masquerade', [
    'n: masquerade',
  ]),
  nat('dnat', 'output priority -100', 'ip daddr 10.1.0.2 udp dport 4789 dnat to 10.1.0.7:4790', [
    'n: dnat to 10.1.0.7:4790',
  ]),
  nat('dnat to this host', 'output priority -100', 'fib daddr type local dnat to 10.1.0.7', []),
  nat('redirect', 'output priority -100', 'udp dport 4789 redirect to :4790', ['n: redirect to :4790']),
  nat(
    'an established connection passes no chain of type nat',
    'postrouting priority 100',
    'ct state established masquerade',
    [],
  ),
  nat('received, dnat', 'prerouting priority -100', 'udp dport 4789 dnat to 10.1.0.7', [], {}),
  nat(
    'received, dnat, flows',
    'prerouting priority -100',
    'udp dport 4789 dnat to 10.1.0.7',
    ['n: dnat to 10.1.0.7'],
    FLOWS,
  ),
  nat(
    'received, dnat to containers, flows',
    'prerouting priority -100',
    'fib daddr type local tcp dport 8080 dnat to 172.17.0.2:80',
    [],
    FLOWS,
  ),

  // Anonymous counters.
  out('counter of all packets', 'counter', []),
  out('counter of accepted packets', 'ct state established,related counter accept', []),
  out('counter of our port', 'udp dport 4789 counter', ['out: counter']),
  out('counter of a range with our port', 'udp dport 4000-5000 counter accept', ['out: counter']),
  out('counter of all ports but one', 'udp dport != 53 counter accept', []),
  out('counter of a peer', 'ip daddr 10.1.0.2 counter accept', ['out: counter']),
  out('counter of the network of the peers', 'ip daddr 10.1.0.0/24 counter', ['out: counter']),
  out('counter of all addresses but a network', 'ip daddr != 192.0.2.0/24 counter', []),
  out('counter of our address', 'ip6 saddr fd00::1 counter', ['out: counter']),
  out('counter of the device', 'oifname "u0" counter', ['out: counter']),
  out('counter of devices by their beginning', 'oifname "u*" counter', ['out: counter']),
  out('counter of all devices but one', 'oifname != "lo" counter', []),
  out('counter of UDP', 'meta l4proto udp counter', []),
  out('counter in front of the condition', 'counter udp dport 4789 accept', ['out: counter']),
  outWith('counter in a chain for our port', chain('acct', 'counter'), 'udp dport 4789 jump acct', [
    'acct: counter',
  ]),
  outWith('counter in a chain for another port', chain('acct', 'counter'), 'udp dport 53 jump acct', []),
  outWith('counter in a chain for all', chain('acct', 'counter'), 'jump acct', []),
  outWith(
    'counters of the elements of a set',
    'set acct { type ipv4_addr; counter; elements = { 10.1.0.2 }; }',
    'ip daddr @acct',
    ['out: counter of a set'],
  ),
  outWith(
    'counters of elements for other hosts',
    'set acct { type ipv4_addr; counter; elements = { 192.0.2.2 }; }',
    'ip daddr @acct',
    [],
  ),

  outWith(
    'counters of elements, negated',
    'set acct { type ipv4_addr; counter; elements = { 10.1.0.2 }; }',
    'ip daddr != @acct accept',
    ['out: counter of a set'],
  ),
  outWith(
    'counters of concatenated elements',
    'set acct { type ipv4_addr . inet_service; counter; elements = { 10.1.0.2 . 4789 }; }',
    'ip daddr . udp dport @acct accept',
    ['out: counter of a set'],
  ),
  outWith(
    'counters of the elements of a map',
    'map m { type inet_service : verdict; counter; elements = { 4789 : accept }; }',
    'udp dport vmap @m',
    ['out: counter of a set'],
  ),
  out('a fragment', 'ip frag-off & 0x1fff != 0 drop', ['out: drop']),

  // Protocols, ports and addresses.
  out('another port', 'udp dport 53 drop', []),
  out('our port of TCP', 'tcp dport 4789 drop', []),
  out('not our port of TCP', 'tcp dport != 4789 drop', []),
  out('our port of any transport', 'meta l4proto { tcp, udp } th dport 4789 drop', ['out: drop']),
  out('another transport', 'meta l4proto != udp drop', []),
  out('ICMP', 'meta l4proto { icmp, icmpv6 } drop', []),
  out('a range of ports', 'udp dport { 53, 4700-4800 } drop', ['out: drop']),
  out('ports above ours', 'udp dport > 4789 drop', []),
  out('ports from ours', 'udp dport >= 4789 drop', ['out: drop']),
  out('source ports outside the pool', 'udp sport < 49152 drop', []),
  out('some source ports of the pool', 'udp sport 50000 drop', ['out: drop']),
  out('all source ports of the pool', 'udp sport 49152-65535 accept\ndrop', []),
  out('length of the datagram', 'udp length > 1000 drop', ['out: drop']),
  out('another network', 'ip daddr 192.0.2.0/24 drop', []),
  out('a set of networks', 'ip daddr { 192.0.2.0/24, 10.1.0.0/30 } drop', ['out: drop']),
  out('a range of addresses', 'ip daddr 10.1.0.3-10.1.0.9 drop', []),
  out('every network but ours', 'ip daddr != 10.1.0.0/24 drop', []),
  out('every peer but one', 'ip daddr != 10.1.0.2 drop', ['out: drop'], {
    traffic: { peers: [address('10.1.0.2'), address('10.1.0.3')] },
  }),
  out('IPv6 network of the peers', 'ip6 daddr fd00::/64 drop', ['out: drop']),
  out('IPv4-mapped networks', 'ip6 daddr { ::/96, ::ffff:0.0.0.0/96, 2002::/16 } drop', []),
  out('IPv6 rules without IPv6 peers', 'ip6 daddr fd00::/64 drop\nmeta nfproto ipv6 drop', [], {
    traffic: { families: [4] },
  }),
  kind('table ip6 without IPv6 peers', table('ip6', base('out', 'output priority 0', 'drop')), [], {
    traffic: { families: [4] },
  }),
  kind('table ip6', table('ip6', base('out', 'output priority 0', 'drop')), ['out: drop']),
  kind('table bridge', table('bridge', base('out', 'output priority 0', 'udp dport 4789 drop')), []),
  kind('table arp', table('arp', base('out', 'output priority 0', 'drop')), []),
  out('TTL', 'ip ttl 64 drop', ['out: drop']),
  out('DSCP of the datagram', 'ip dscp cs1 drop', ['out: drop']),
  out('bytes of the datagram', '@th,64,8 8 drop', ['out: drop']),
  out('an IPv6 extension header', 'exthdr hbh exists drop', ['out: drop']),
  out('some TCP flags', 'tcp flags & (fin | syn) == syn drop', []),
  out('a TCP flag', 'tcp flags syn drop', []),

  // Devices.
  out('another device', 'oifname "eth9" drop', []),
  out('another beginning', 'oifname "veth*" drop', []),
  out('our device by its beginning', 'oifname "u*" drop', ['out: drop']),
  out('a set of devices', 'oifname { "lo", "u0" } drop', ['out: drop']),
  out('a device that sent packets do not have', 'iifname "docker0" drop', []),
  out('every device that packets came from', 'iifname != "docker0" drop', ['out: drop']),
  out('loopback', 'oif "lo" drop', []),
  out('another device, unknown devices', 'oifname "eth9" drop', ['out: drop'], {
    traffic: { devices: 'any' },
  }),
  out('loopback, unknown devices', 'oifname "lo" drop', [], { traffic: { devices: 'any' } }),
  out('kind of the device', 'meta oifkind "vxlan" drop', ['out: drop']),

  // Marks.
  out('mark', 'meta mark 0x7 drop', []),
  out('a bit of the mark', 'meta mark & 0x4000 == 0x4000 drop', []),
  out('no bit of the mark', 'meta mark & 0x4000 == 0 drop', ['out: drop']),
  out('no mark', 'meta mark 0 drop', ['out: drop']),
  out('our mark', 'meta mark 0x7 drop', ['out: drop'], MARKED(7)),
  out('a bit of our mark', 'meta mark & 0x5 == 0x4 drop', [], MARKED(7)),
  out('a mark above', 'meta mark > 7 drop', [], MARKED(7)),
  out('a set of marks', 'meta mark { 1, 7 } drop', ['out: drop'], MARKED(7)),
  out('sets the mark', 'meta mark set 7', ['out: meta mark set 7']),
  out('clears bits that are not set', 'meta mark set mark & 0xfff0ffff', []),
  out(
    'clears bits that are set',
    'meta mark set mark & 0xfffffff0',
    ['out: meta mark set meta mark & 4294967280'],
    MARKED(7),
  ),
  out('sets the mark that we have', 'meta mark set 7', [], MARKED(7)),
  out('a mark by a map', 'meta mark set ip daddr map { 10.1.0.2 : 5 }', ['out: meta mark set map']),
  out('mark of the connection', 'meta mark set ct mark', ['out: meta mark set ct mark']),
  outWith(
    'return without a mark',
    chain('masq', 'meta mark & 0x4000 != 0x4000 return\nmeta mark set mark xor 0x4000\ndrop'),
    'jump masq',
    [],
  ),

  // Connections.
  out('new', 'ct state new drop', ['out: drop']),
  out('established', 'ct state established,related drop', ['out: drop']),
  out('neither new nor established', 'ct state & (new | established) == 0 drop', []),
  out('not invalid', 'ct state & invalid == 0 drop', ['out: drop']),
  out('not a set of states', 'ct state != { new, established } drop', []),
  out('invalid', 'ct state invalid drop', []),
  out('untracked', 'ct state untracked drop', []),
  out('a map of states', 'ct state vmap { established : accept, new : accept, invalid : drop }', []),
  out('a map of states that drops new', 'ct state vmap { established : accept, new : drop }', ['out: drop']),
  kind(
    'before connection tracking',
    table('inet', base('raw', 'output priority -300', 'ct state new drop')),
    [],
  ),
  kind(
    'invalid before connection tracking',
    table('inet', base('raw', 'output priority -300', 'ct state invalid drop')),
    ['raw: drop'],
  ),
  out('replies', 'ct direction reply drop', []),
  out('replies from the listening port', 'ct direction reply drop', ['out: drop'], {
    traffic: { sourcePorts: { min: 4789, max: 4789 } },
  }),
  out('translated connections', 'ct status dnat drop', []),
  out('confirmed connections', 'ct status confirmed drop', ['out: drop']),
  out('age of the connection', 'ct bytes > 100000 drop', ['out: drop']),
  out('mark of a connection', 'ct mark 1 drop', ['out: drop']),

  // Conditions that cannot be proved.
  out('user', 'meta skuid 0 drop', ['out: drop']),
  out('control group', 'meta cgroup 5 drop', ['out: drop']),
  out('random', 'numgen random mod 10 0 drop', ['out: drop']),
  out('time', 'meta hour "10:00"-"11:00" drop', ['out: drop']),
  out('length of the packet', 'meta length > 1500 drop', ['out: drop']),
  out('type of the packet', 'meta pkttype broadcast drop', ['out: drop']),
  out('routing class', 'meta rtclassid 1 drop', ['out: drop']),
  out('unknown, and another port', 'meta skuid 0 udp dport 53 drop', []),

  // Lookups of routes.
  out('an address of this host as destination', 'fib daddr type local drop', []),
  out('an address of this host as source', 'fib saddr type local drop', ['out: drop']),
  out('an address that is not of this host as source', 'fib saddr type != local drop', []),
  out('unicast', 'fib daddr type unicast drop', ['out: drop']),
  out('an address of the device as source', 'fib saddr . oif type local drop', ['out: drop']),
  kind(
    'reverse path, flows',
    table(
      'inet',
      base('pre', 'prerouting priority -300', 'meta nfproto ipv6 fib saddr . iif oif missing drop'),
    ),
    ['pre: drop'],
    FLOWS,
  ),
  kind(
    'reverse path of IPv6, flows without IPv6 peers',
    table(
      'inet',
      base('pre', 'prerouting priority -300', 'meta nfproto ipv6 fib saddr . iif oif missing drop'),
    ),
    [],
    { ...FLOWS, traffic: { families: [4] } },
  ),

  // Sets, maps and concatenations.
  outWith('set with our port', 'set p { type inet_service; elements = { 53, 4789 }; }', 'udp dport @p drop', [
    'out: drop',
  ]),
  outWith('set without our port', 'set p { type inet_service; elements = { 53 }; }', 'udp dport @p drop', []),
  outWith(
    'not in a set with our port',
    'set p { type inet_service; elements = { 4789 }; }',
    'udp dport != @p drop',
    [],
  ),
  outWith(
    'set of intervals',
    'set n { type ipv4_addr; flags interval; elements = { 10.0.0.0-10.0.255.255, 10.1.0.0/24, 192.0.2.0/24 }; }',
    'ip daddr @n drop',
    ['out: drop'],
  ),
  outWith('set without elements', 'set n { type ipv4_addr; }', 'ip daddr @n drop', []),
  outWith(
    'set that packets fill',
    `set n { type ipv4_addr; flags dynamic; size 10; }\n${chain('seen', 'add @n { ip saddr }')}`,
    'ip daddr @n drop',
    ['out: drop'],
  ),
  outWith(
    'map that packets fill',
    'map d { type ipv4_addr : mark; flags dynamic; size 10; }',
    'udp dport 4789 add @d { ip daddr : meta mark }',
    ['out: add @d { ip daddr : meta mark }'],
  ),
  outWith(
    'accepted by an element that expires',
    'set n { type ipv4_addr; timeout 1h; elements = { 10.1.0.2 }; }',
    'meta nfproto ipv6 accept\nip daddr @n accept\ndrop',
    ['out: drop'],
  ),
  outWith(
    'elements with comments',
    'set n { type ipv4_addr; elements = { 10.1.0.2 comment "peer" }; }',
    'ip daddr @n drop',
    ['out: drop'],
  ),
  out('map of ports to verdicts', 'udp dport vmap { 53 : drop, 4789 : accept }', []),
  out('map with our port', 'udp dport vmap { 53 : accept, 4000-5000 : drop }', ['out: drop']),
  outWith(
    'map of devices to chains',
    `${chain('a', 'drop')}\n${chain('b', 'accept')}`,
    'oifname vmap { "eth9" : jump a, "u0" : goto b }',
    [],
  ),
  outWith(
    'map by name',
    `${chain('a', 'log')}\nmap m { type ipv4_addr : verdict; elements = { 10.1.0.2 : jump a }; }`,
    'ip daddr vmap @m',
    ['a: log'],
  ),
  outWith(
    'map for every other address',
    'map m { type ipv4_addr : verdict; elements = { 192.0.2.1 : accept, * : drop }; }',
    'ip daddr vmap @m',
    ['out: drop'],
  ),
  outWith(
    'map for every other address, IPv6',
    'map m { type ipv4_addr : verdict; elements = { 192.0.2.1 : accept, * : drop }; }',
    'ip daddr vmap @m',
    [],
    { traffic: { families: [6] } },
  ),
  out('map of what cannot be proved', 'meta skuid vmap { 0 : accept, 100 : drop }', ['out: drop']),
  out('concatenation', 'ip daddr . udp dport { 10.1.0.2 . 4789, 192.0.2.1 . 53 } drop', ['out: drop']),
  out('concatenation of other values', 'ip daddr . udp dport { 10.1.0.2 . 53, 192.0.2.1 . 4789 } drop', []),
  out('concatenation with TCP', 'ip daddr . tcp dport { 10.1.0.2 . 4789 } drop', []),
  outWith(
    'concatenation of intervals',
    'set s { type ipv4_addr . inet_service; flags interval; elements = { 10.1.0.0/24 . 4000-5000 }; }',
    'ip daddr . udp dport @s drop',
    ['out: drop'],
  ),
  outWith(
    'map of concatenations',
    `${chain('svc', 'drop')}\nmap m { type ipv4_addr . inet_proto . inet_service : verdict; elements = { 10.1.0.2 . tcp . 4789 : goto svc }; }`,
    'ip daddr . meta l4proto . th dport vmap @m',
    [],
  ),

  // Chains.
  outWith('jump to a chain that accepts', chain('a', 'accept'), 'jump a\ndrop', []),
  outWith('jump to a chain that returns', chain('a', 'return\ndrop'), 'jump a', []),
  outWith('jump to a chain that returns, then a drop', chain('a', 'return'), 'jump a\ndrop', ['out: drop']),
  outWith('goto does not come back', chain('a', 'return'), 'goto a\ndrop', []),
  outWith('a jump that is not certain', chain('a', 'accept'), 'meta skuid 0 jump a\ndrop', ['out: drop']),
  outWith('a return that is not certain', chain('a', 'meta skuid 0 return\ndrop'), 'jump a', ['a: drop']),
  outWith('a jump for another port', chain('a', 'drop'), 'udp dport 53 jump a', []),
  outWith(
    'nested jumps',
    `${chain('c', 'ip daddr 10.1.0.2 log')}\n${chain('b', 'jump c')}\n${chain('a', 'jump b\njump b')}`,
    'jump a\njump b',
    ['c: log'],
  ),
  outWith('a chain that nothing jumps to', chain('a', 'drop'), 'accept', []),
  kind(
    'each base chain judges for itself',
    table(
      'inet',
      `${base('first', 'output priority -10', 'accept')}\n${base('second', 'output priority 10', 'drop')}`,
    ),
    ['second: drop'],
  ),
  kind(
    'priorities order the chains',
    table(
      'inet',
      `${base('late', 'output priority 10', 'log')}\n${base('early', 'output priority -10', 'log')}\n${base('post', 'postrouting priority -20', 'log')}`,
    ),
    ['early: log', 'late: log', 'post: log'],
  ),
  kind('forwarded packets', table('inet', base('through', 'forward priority 0', 'drop')), []),
  kind('received packets', table('inet', base('in', 'input priority 0', 'udp dport 4789 drop')), []),
  kind(
    'received packets, flows',
    table('inet', base('in', 'input priority 0', 'udp dport 4789 drop')),
    ['in: drop'],
    FLOWS,
  ),
  kind(
    'received packets by device and peer, flows',
    table('inet', base('in', 'input priority 0', 'iifname "u0" ip saddr 10.1.0.2 ip daddr 10.1.0.1 drop')),
    ['in: drop'],
    FLOWS,
  ),
  kind(
    'received packets of other devices, flows',
    table('inet', base('in', 'input priority 0', 'iifname "eth9" drop\noifname "u0" drop')),
    [],
    FLOWS,
  ),
  kind(
    'a transparent proxy, flows',
    table('ip', base('pre', 'prerouting priority -150', 'udp dport 4789 tproxy to 127.0.0.1:5000')),
    ['pre: tproxy to 127.0.0.1:5000'],
    FLOWS,
  ),

  // Policies.
  closed('policy drop', '', ['out: policy drop']),
  closed('policy drop, accepted', 'udp dport 4789 accept', []),
  closed(
    'policy drop, accepted by state',
    'ct state established,related accept\nudp dport 4789 ct state new accept',
    [],
  ),
  closed('policy drop, only established accepted', 'ct state established,related accept', [
    'out: policy drop',
  ]),
  closed('policy drop, accepted peer by peer', 'ip daddr 10.1.0.2 accept\nip6 daddr fd00::2 accept', []),
  closed('policy drop, one peer accepted', 'ip daddr 10.1.0.2 accept', ['out: policy drop']),
  closed('policy drop, 40 peers accepted', 'ip daddr 10.1.0.0/24 accept', [], MANY_PEERS),
  closed(
    'policy drop, 39 of 40 peers accepted',
    'ip daddr 10.1.0.2-10.1.0.40 accept',
    ['out: policy drop'],
    MANY_PEERS,
  ),
  closed('policy drop, possibly accepted', 'meta skuid 0 accept', ['out: policy drop']),
  closed('policy drop, accepted by device', 'oifname "u0" accept', []),

  // Hooks of devices.
  kind(
    'egress of the device',
    'table netdev t { chain e { type filter hook egress device "lo" priority 0; policy accept;\nudp dport 4789 drop\n}\n}',
    ['e: drop'],
  ),
  kind(
    'ingress of the device',
    'table netdev t { chain e { type filter hook ingress device "lo" priority 0; policy accept;\nudp dport 4789 drop\n}\n}',
    [],
  ),
  kind(
    'ingress of the device, flows',
    'table netdev t { chain e { type filter hook ingress device "lo" priority 0; policy accept;\nudp dport 4789 drop\n}\n}',
    ['e: drop'],
    FLOWS,
  ),
  kind(
    'egress, IPv4 only',
    'table netdev t { chain e { type filter hook egress device "lo" priority 0; policy accept;\nmeta protocol ip6 drop\nmeta protocol arp drop\n}\n}',
    [],
    { traffic: { families: [4] } },
  ),
];
