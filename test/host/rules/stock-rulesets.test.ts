/**
 * Rulesets of Docker, kube-proxy, firewalld, ufw, libvirt and Calico, and of case "SNAT, mark and
 * counter", with the rules that stand against each shortcut (`../rulesets/README.md`).
 */
import t from 'tap';
import { parseIpAddress } from '../../../src/wire/ip-address.js';
import { named, stockRuleset } from './judge.js';

const IPV4 = {
  families: [4],
  locals: [parseIpAddress('10.1.0.1')!],
  peers: [parseIpAddress('10.1.0.2')!],
} as const;

t.test('superframes leave whole beside stock rulesets', async (t) => {
  for (const name of [
    'docker',
    'kube-proxy-iptables',
    'kube-proxy-nftables',
    'firewalld',
    'ufw',
    'ufw-port',
    'libvirt',
    'calico-nftables',
  ]) {
    t.same(named(stockRuleset(name), 'superframes', IPV4), [], name);
  }
});

t.test('superframes of both families', async (t) => {
  for (const name of ['docker', 'kube-proxy-nftables', 'firewalld', 'libvirt', 'calico-nftables'])
    t.same(named(stockRuleset(name), 'superframes'), [], name);
  // The match rt of iptables, which nft does not print, is for routing headers.
  t.same(named(stockRuleset('ufw'), 'superframes'), ['ip6 filter ufw6-before-output 57: rt counter drop']);
});

t.test('rules that stand against superframes', async (t) => {
  const rows: [string, string[]][] = [
    ['case04-snat', ['ip n post 2: udp dport 4789 counter snat to 10.1.0.9']],
    ['case04-mark', ['ip m out 2: udp dport 4789 meta mark set 7']],
    ['case04-counter', ['ip acc o 2: udp dport 4789 counter']],
    [
      'firewalld-masquerade',
      ['inet firewalld nat_POST_public_allow 181: meta nfproto ipv4 meta oifname != lo masquerade'],
    ],
    // nft prints no parameters of the iptables targets MARK and MASQUERADE, nor of the match set.
    [
      'calico-iptables',
      [
        'ip raw cali-OUTPUT 16: comment counter MARK',
        'ip filter cali-OUTPUT 20: comment counter MARK',
        'ip mangle cali-POSTROUTING 14: comment counter MARK',
        'ip nat cali-nat-outgoing 17: comment set set counter MASQUERADE',
      ],
    ],
    // Calico with VXLAN on the port of vtepd.
    [
      'calico-nftables-vxlan',
      [
        'ip calico raw-cali-OUTPUT 62: udp dport 4789 counter notrack',
        'ip calico filter-cali-OUTPUT 88: udp dport 4789 fib saddr type local ip daddr @cali40all-vxlan-net counter accept',
      ],
    ],
  ];
  for (const [name, expected] of rows) t.same(named(stockRuleset(name), 'superframes', IPV4), expected, name);
  t.same(
    named(stockRuleset('calico-nftables-vxlan'), 'superframes', { ...IPV4, port: 8472 }),
    [],
    'another port',
  );
});

t.test('flows through the kernel beside stock rulesets', async (t) => {
  for (const name of ['docker', 'kube-proxy-iptables', 'kube-proxy-nftables', 'libvirt', 'calico-nftables'])
    t.same(named(stockRuleset(name), 'flows', IPV4), [], name);
});

t.test('rules that stand against flows, which pass prerouting and input by as well', async (t) => {
  const rows: [string, string][] = [
    ['firewalld', 'inet firewalld filter_IN_public 72: reject'],
    ['ufw', 'ip filter INPUT -: policy drop'],
    ['ufw-port', 'ip filter ufw-user-input 117: udp dport 4789 counter accept'],
    ['calico-iptables', 'ip raw cali-PREROUTING 10: comment counter MARK'],
    ['calico-nftables-vxlan', 'ip calico raw-cali-PREROUTING 54: udp dport 4789 counter notrack'],
    ['case04-snat', 'ip n post 2: udp dport 4789 counter snat to 10.1.0.9'],
  ];
  for (const [name, expected] of rows) {
    const found = named(stockRuleset(name), 'flows', IPV4);
    t.ok(found.includes(expected), `${name}: ${expected}`);
  }
});

t.test('firewalld lets flows pass once its zone accepts the port', async (t) => {
  const found = named(stockRuleset('firewalld-masquerade'), 'flows', IPV4);
  t.same(found, [
    'inet firewalld nat_POST_public_allow 181: meta nfproto ipv4 meta oifname != lo masquerade',
  ]);
});

t.test("a container's address as ours is masqueraded", async (t) => {
  const inside = { ...IPV4, locals: [parseIpAddress('172.17.0.9')!] };
  t.match(named(stockRuleset('docker'), 'superframes', inside), [/^ip nat POSTROUTING \d+: .*MASQUERADE$/]);
});

t.test('a mark that kube-proxy masquerades', async (t) => {
  for (const name of ['kube-proxy-iptables', 'kube-proxy-nftables'])
    t.ok(named(stockRuleset(name), 'superframes', { ...IPV4, mark: 0x4000 }).length > 0, name);
});
