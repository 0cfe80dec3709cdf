/** Reasons against the shortcuts, with rules that the test writes. */
import t from 'tap';
import type { HostRules } from '../../src/host/host-rules.js';
import type { PolicyRule } from '../../src/host/netlink/rules.js';
import type { ProgramHook } from '../../src/host/rules/read.js';
import { Ruleset } from '../../src/host/rules/ruleset.js';
import { KernelPath, type PathTraffic } from '../../src/superframes/kernel-path.js';
import { parseIpAddress } from '../../src/wire/ip-address.js';
import { stockRuleset } from '../host/rules/judge.js';

const address = (text: string) => parseIpAddress(text)!;
const TRAFFIC: PathTraffic = {
  families: [4],
  locals: [address('10.1.0.1')],
  peers: [address('10.1.0.2')],
  ports: [4789],
  sourcePorts: { min: 49_152, max: 65_535 },
  devices: ['u0'],
  mark: 0,
};
const PLAIN: PolicyRule = {
  priority: 100,
  family: 4,
  isInverted: false,
  source: undefined,
  destination: undefined,
  fwmark: 0,
  fwmask: 0,
  iif: '',
  oif: '',
  uidRange: undefined,
  protocol: 0,
  sourcePorts: undefined,
  destinationPorts: undefined,
  tos: 0,
  table: 254,
};

function make(mode: 'auto' | 'on' = 'auto') {
  const host = {
    ruleset: new Ruleset([]),
    policyRules: [] as PolicyRule[],
    legacyTables: '',
    programs: [] as ProgramHook[],
    unread: [] as string[],
    isStarted: false,
    policyReads: 0,
    change: () => {},
    start: async (changed: () => void) => {
      host.change = changed;
      host.isStarted = true;
    },
    readPolicyRules: async () => void host.policyReads++,
    stop: async () => {},
  };
  let changes = 0;
  const path = new KernelPath(mode, host as unknown as HostRules);
  const judge = (traffic: Partial<PathTraffic> = {}) =>
    path.judge({ ...TRAFFIC, ...traffic }, () => void changes++);
  const found = () => [path.against('superframes')?.why, path.against('flows')?.why];
  return { host, path, judge, found, changes: () => changes };
}

t.test('nothing is read before the first traffic, and nothing at all with mode on', async (t) => {
  const auto = make();
  t.same(auto.found(), [undefined, undefined]);
  t.notOk(auto.host.isStarted);
  await auto.judge();
  t.ok(auto.host.isStarted);
  await auto.judge();
  t.equal(auto.host.policyReads, 1, 'rules of policy routing are read at each judgement');
  const on = make('on');
  on.host.ruleset = new Ruleset(stockRuleset('case04-snat'));
  await on.judge();
  t.notOk(on.host.isStarted);
  t.same(on.found(), [undefined, undefined]);
});

t.test('rules of nftables, followed both ways', async (t) => {
  const { host, judge, found, changes, path } = make();
  await judge();
  t.same(found(), [undefined, undefined]);
  for (const [name, does] of [
    ['case04-snat', /^rule \d+ of chain ip \w+ \w+ \(snat to .*\) would not apply to them$/],
    ['case04-mark', /meta mark set/],
    ['case04-counter', /counter/],
  ] as const) {
    host.ruleset = new Ruleset(stockRuleset(name));
    host.change();
    t.match(found(), [does, does], name);
    t.match(path.against('flows')?.cure, /4789.*--kernel-path on/);
    host.ruleset = new Ruleset([]);
    host.change();
    t.same(found(), [undefined, undefined], `${name} removed`);
  }
  t.equal(changes(), 6);
  host.ruleset = new Ruleset(stockRuleset('ufw-port'));
  host.change();
  t.match(found(), [undefined, /ufw/], 'ufw allow 4789/udp stands against flows alone');
});

t.test('other traffic is judged again', async (t) => {
  const { host, judge, found } = make();
  host.ruleset = new Ruleset(stockRuleset('case04-snat'));
  await judge({ ports: [4790] });
  t.same(found(), [undefined, undefined], 'another port');
  await judge({ ports: [4790, 4789] });
  t.match(found(), [/snat/, /snat/], 'one of the peers');
  await judge({ ports: Array.from({ length: 17 }, (_, i) => 5000 + i) });
  t.match(found(), [/17 UDP ports/, /17 UDP ports/]);
});

t.test('what is no rule of nftables', async (t) => {
  const { host, judge, found } = make();
  await judge();
  const changed = (what: Partial<typeof host>) => {
    Object.assign(host, { legacyTables: '', programs: [], unread: [], policyRules: [] }, what);
    host.change();
    return found();
  };
  t.match(changed({ legacyTables: 'ip filter, ip nat' }), [/ip filter, ip nat/, /ip filter, ip nat/]);
  t.match(changed({ unread: ['nft is not installed'] }), [/nft is not installed/, /nft is not installed/]);
  t.match(changed({ programs: ['egress'] }), [/hook egress/, /hook egress/]);
  t.match(changed({ programs: ['sendmsg'] }), [/hook sendmsg/, /hook sendmsg/]);
  t.match(changed({ programs: ['ingress'] }), [undefined, /hook ingress/], 'ingress is for flows');
  const user = { ...PLAIN, uidRange: { min: 0, max: 9 } };
  t.match(changed({ policyRules: [user] }), [/ip rule 100 \(uidrange 0-9/, /uidrange/]);
  t.same(changed({ policyRules: [PLAIN] }), [undefined, undefined]);
});

t.test('a rule by source counts while the sockets are bound to no address', async (t) => {
  const { host, judge, found } = make();
  host.policyRules = [{ ...PLAIN, source: { address: address('10.1.0.1'), length: 32 } }];
  await judge({ isUnbound: true });
  t.match(found(), [/from 10.1.0.1\/32/, /from/]);
  await judge({ isUnbound: false });
  t.same(found(), [undefined, undefined]);
});
