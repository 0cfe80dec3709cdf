/** Rules of policy routing that stand against shortcuts. */
import t from 'tap';
import {
  describePolicyRule,
  type PolicyRule,
  type Prefix,
  policyRulesAgainstShortcut,
} from '../../../src/host/rules/policy-rules.js';
import { parseCidr } from '../../../src/wire/ip-address.js';
import { OURS } from './kinds.js';

const PLAIN: PolicyRule = {
  priority: 32765,
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
  table: 100,
};

const prefix = (text: string): Prefix => parseCidr(text)!;
const MARKED = { fwmark: 7, fwmask: 0xffffffff };
const UID = { uidRange: { min: 0, max: 100 } };

/** Name, rule, mark of the sockets, marks that rules of the host set. */
type Row = [string, Partial<PolicyRule>, number?, (number | 'any')[]?];

const counts = (rule: Partial<PolicyRule>, mark = 0, marks: readonly (number | 'any')[] = []) =>
  policyRulesAgainstShortcut([{ ...PLAIN, ...rule }], { ...OURS, mark }, marks).length === 1;

t.test('rules that select by what a shortcut does not have', async (t) => {
  const rows: Row[] = [
    ['by user', UID],
    ['by the device that a packet came from', { iif: 'lo' }],
    ['by a mark that a rule sets', MARKED, 0, [1, 7]],
    ['by the mark of the sockets, and a rule sets another', MARKED, 7, [1]],
    ['by no mark, and a rule takes the mark of the sockets off', { fwmark: 0, fwmask: 0xff }, 7, [0]],
    ['by every other mark, and a rule sets one', { ...MARKED, isInverted: true }, 7, [1]],
    ['by a mark, and a rule sets one that is unknown', MARKED, 0, ['any']],
    ['by our port', { protocol: 17, destinationPorts: { min: 4789, max: 4789 } }],
    ['by source ports', { sourcePorts: { min: 50000, max: 50010 } }],
    ['by TOS', { tos: 0x10 }],
    ['by our device', { oif: 'u0' }],
    ['by user and peer', { ...UID, destination: prefix('10.1.0.0/24') }],
    ['by user and our address', { ...UID, source: prefix('10.1.0.1/32') }],
    ['by user, IPv6', { ...UID, family: 6, destination: prefix('fd00::/64') }],
    ['by something that is unknown here', { selectsMore: true }],
    ['by all but a user and a network', { ...UID, isInverted: true, destination: prefix('192.0.2.0/24') }],
  ];
  for (const [name, rule, mark, marks] of rows) t.ok(counts(rule, mark, marks), name);
});

t.test('rules that treat shortcuts as all datagrams', async (t) => {
  const rows: Row[] = [
    ['for everything', {}],
    ['by destination', { destination: prefix('10.1.0.0/24') }],
    ['by source', { source: prefix('10.1.0.1/32') }],
    ['by protocol', { protocol: 17 }],
    ['by a mark that nothing sets', MARKED],
    ['by the mark of the sockets', MARKED, 7],
    ['by bits of the mark of the sockets', { fwmark: 4, fwmask: 4 }, 7],
    ['by no mark, with a mark of the sockets', { fwmark: 0, fwmask: 0xff }, 7],
    ['by every other mark', { ...MARKED, isInverted: true }, 7],
    ['by the mark of the sockets, and a rule sets the same', MARKED, 7, [7]],
    ['by another mark', MARKED, 8],
    ['by another bit', { fwmark: 0x10, fwmask: 0x10 }, 7],
    ['by every mark but one, without a mark', { ...MARKED, isInverted: true }],
    ['by a mark that no rule sets', MARKED, 0, [1, 2]],
    ['no mark, and a rule sets an unknown one', {}, 0, ['any']],
    ['by user, another protocol', { ...UID, protocol: 6 }],
    ['by user, another destination', { ...UID, destination: prefix('192.0.2.0/24') }],
    ['by user, another source', { ...UID, source: prefix('172.17.0.0/16') }],
    ['by another port', { destinationPorts: { min: 53, max: 53 } }],
    ['by other source ports', { sourcePorts: { min: 1, max: 1024 } }],
    ['by another device', { oif: 'eth9' }],
    ['by user, IPv6 destination of others', { ...UID, family: 6, destination: prefix('2001:db8::/32') }],
  ];
  for (const [name, rule, mark, marks] of rows) t.notOk(counts(rule, mark, marks), name);
});

t.test('a rule by source stands against shortcuts of unbound sockets', async (t) => {
  const bySource = { ...PLAIN, source: prefix('10.1.0.1/32') };
  const against = (rule: PolicyRule, isUnbound: boolean) =>
    policyRulesAgainstShortcut([rule], { ...OURS, isUnbound }, []).length === 1;
  t.ok(against(bySource, true), 'the kernel looks up their routes without a source address');
  t.notOk(against(bySource, false));
  t.notOk(against({ ...PLAIN, source: prefix('172.17.0.0/16') }, true), 'another source');
});

t.test('families and unknown peers', async (t) => {
  const six = { ...PLAIN, ...UID, family: 6 } as const;
  t.same(policyRulesAgainstShortcut([six], { ...OURS, families: [4] }, []), [], 'no IPv6 peers');
  const other = { ...PLAIN, ...UID, destination: prefix('192.0.2.0/24') };
  t.same(policyRulesAgainstShortcut([other], { ...OURS, peers: 'any' }, []), [other], 'any peer');
  t.same(policyRulesAgainstShortcut([PLAIN, six, other], OURS, []), [six], 'only rules that count');
});

t.test('a rule is described as ip prints it', async (t) => {
  const rule = {
    ...PLAIN,
    ...UID,
    isInverted: true,
    source: prefix('10.0.0.0/8'),
    destination: prefix('10.1.0.2/32'),
    fwmark: 7,
    fwmask: 0xff,
    iif: 'lo',
    oif: 'u0',
    protocol: 17,
    sourcePorts: { min: 1, max: 9 },
    destinationPorts: { min: 4789, max: 4789 },
    tos: 16,
  };
  t.equal(
    describePolicyRule(rule),
    'ip rule 32765 (not from 10.0.0.0/8 to 10.1.0.2/32 tos 0x10 fwmark 0x7/0xff iif lo oif u0 uidrange 0-100 ipproto udp sport 1-9 dport 4789 lookup 100)',
  );
  t.equal(describePolicyRule({ ...PLAIN, family: 6, ...MARKED }), 'ip -6 rule 32765 (fwmark 0x7 lookup 100)');
});
