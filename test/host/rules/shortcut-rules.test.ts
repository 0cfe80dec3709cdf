/** Rules that stand against shortcuts: each kind of expression, and forms of JSON. */
import t from 'tap';
import { Ruleset } from '../../../src/host/rules/ruleset.js';
import { describeObstacle, rulesAgainstShortcut } from '../../../src/host/rules/shortcut-rules.js';
import { judged, recordedKinds } from './judge.js';
import { KINDS, OURS } from './kinds.js';

t.test('each kind of expression', async (t) => {
  const recorded = recordedKinds();
  t.same(
    [...recorded.keys()],
    KINDS.map(({ name }) => name),
    'nft.lab.test.ts has recorded every kind (RECORD_RULESETS=1)',
  );
  for (const kind of KINDS) t.same(judged(recorded.get(kind.name) ?? [], kind), kind.obstacles, kind.name);
});

const PLACE = { family: 'inet', table: 't' };
const SUPERFRAMES = { shortcut: 'superframes', traffic: {} } as const;

type Expr = readonly unknown[];

function chainOf(name: string, rules: readonly Expr[], more: object = {}): unknown[] {
  return [
    { chain: { ...PLACE, name, ...more } },
    ...rules.map((expr, i) => ({ rule: { ...PLACE, chain: name, handle: i + 1, expr } })),
  ];
}

const OUTPUT = { type: 'filter', hook: 'output', prio: 0, policy: 'accept' };
const output = (...rules: Expr[]) => chainOf('out', rules, OUTPUT);

const match = (left: object, right: unknown, op = '==') => ({ match: { op, left, right } });
const payload = (protocol: string, field: string) => ({ payload: { protocol, field } });
const DROP = { drop: null };

t.test('forms that this nft does not print', async (t) => {
  const rows: [string, unknown[], string[]][] = [
    ['no rules', [], []],
    ['a queue', output([{ queue: { num: 1 } }]), ['out: queue']],
    ['a flowtable', output([{ flow: { op: 'add', flowtable: '@f' } }]), ['out: flow']],
    ['an expression of a later nft', output([match({ later: {} }, 1), DROP]), ['out: drop']],
    ['a statement of a later nft', output([{ later: {} }]), ['out: later']],
    ['an operator of a later nft', output([match({ meta: { key: 'mark' } }, 1, '~'), DROP]), ['out: drop']],
    ['IPsec', output([match({ meta: { key: 'secpath' } }, true), DROP]), ['out: drop']],
    [
      'what a VXLAN datagram carries',
      output([match({ payload: { tunnel: 'vxlan', protocol: 'ip', field: 'daddr' } }, '192.0.2.1'), DROP]),
      ['out: drop'],
    ],
    ['an accept before a drop', output([{ accept: null }], [DROP]), []],
    ['a target of iptables', output([{ xt: { type: 'target', name: 'MASQUERADE' } }]), ['out: MASQUERADE']],
    ['a match of iptables', output([{ xt: { type: 'match', name: 'owner' } }, DROP]), ['out: drop']],
    [
      'a match of iptables, and another port',
      output([{ xt: { type: 'match', name: 'owner' } }, match(payload('udp', 'dport'), 53), DROP]),
      [],
    ],
    [
      'a comment of iptables',
      output([{ xt: { type: 'match', name: 'comment' } }, { accept: null }], [DROP]),
      [],
    ],
    ['a match of iptables without a name', output([{ xt: null }, { accept: null }]), []],
    [
      'a target of iptables without a name',
      output([match(payload('udp', 'dport'), 4789), { xt: null }]),
      ['out: xt'],
    ],
    ['ports as numbers of protocols', output([match({ meta: { key: 'l4proto' } }, 17), DROP]), ['out: drop']],
    ['a state as a number', output([match({ ct: { key: 'state' } }, 1, 'in'), DROP]), []],
    [
      'states compared as a whole',
      output([match({ ct: { key: 'state' } }, ['new', 'established'], '!='), DROP]),
      ['out: drop'],
    ],
    ['a set that is not listed', output([match(payload('udp', 'dport'), '@gone'), DROP]), ['out: drop']],
    [
      'a map that is not listed',
      output([{ vmap: { key: payload('udp', 'dport'), data: '@gone' } }]),
      ['out: udp dport vmap @gone'],
    ],
    ['a chain that is not listed', output([{ jump: { target: 'gone' } }], [DROP]), ['out: drop']],
    ['an address with a scope', output([match(payload('ip6', 'daddr'), 'fe80::1%u0'), DROP]), ['out: drop']],
    ['an address that is none', output([match(payload('ip', 'daddr'), '10.1.0'), DROP]), ['out: drop']],
    ['a chain that jumps to itself', output([{ jump: { target: 'out' } }]), []],
    [
      'a rule of a chain that is not listed',
      [{ rule: { ...PLACE, chain: 'gone', handle: 1, expr: [DROP] } }],
      [],
    ],
    ['a rule without expressions', output([]), []],
  ];
  for (const [name, elements, expected] of rows) t.same(judged(elements, SUPERFRAMES), expected, name);
});

t.test('devices of a chain at egress', async (t) => {
  const egress = (dev: unknown) => [
    {
      chain: {
        family: 'netdev',
        table: 't',
        name: 'e',
        type: 'filter',
        hook: 'egress',
        prio: 0,
        policy: 'accept',
        dev,
      },
    },
    { rule: { family: 'netdev', table: 't', chain: 'e', handle: 2, expr: [DROP] } },
  ];
  t.same(judged(egress('u0'), SUPERFRAMES), ['e: drop'], 'our device');
  t.same(judged(egress(['eth9', 'u0']), SUPERFRAMES), ['e: drop'], 'one of several');
  t.same(judged(egress('eth9'), SUPERFRAMES), [], 'another device');
  t.same(judged(egress(undefined), SUPERFRAMES), ['e: drop'], 'nft 1.0.6 does not list the device');
  t.same(
    judged(egress('eth9'), { ...SUPERFRAMES, traffic: { devices: 'any' } }),
    ['e: drop'],
    'unknown devices',
  );
});

t.test('peers and addresses that are unknown', async (t) => {
  const rules = output(
    [match(payload('ip', 'daddr'), '10.1.0.9'), DROP],
    [match(payload('ip', 'saddr'), '10.1.0.9'), DROP],
  );
  t.same(judged(rules, SUPERFRAMES), [], 'known');
  t.same(judged(rules, { ...SUPERFRAMES, traffic: { peers: 'any', locals: 'any' } }), [
    'out: drop',
    'out: drop',
  ]);
  t.same(judged(output([DROP]), { ...SUPERFRAMES, traffic: { peers: [] } }), [], 'no peers, no datagrams');
});

t.test('an obstacle names chain, handle and text', async (t) => {
  const rules = output(
    [{ accept: null }, DROP],
    [match(payload('udp', 'dport'), 4789), { mangle: { key: { meta: { key: 'mark' } }, value: 7 } }],
  );
  const marking = rulesAgainstShortcut(new Ruleset([...rules.slice(0, 1), rules[2]]), OURS, 'superframes');
  t.same(marking, [
    {
      ...PLACE,
      chain: 'out',
      handle: 2,
      does: 'meta mark set 7',
      text: 'udp dport 4789 meta mark set 7',
      mark: 7,
    },
  ]);
  t.same(marking.map(describeObstacle), ['rule 2 of chain inet t out (meta mark set 7)']);
  const closed = chainOf('out', [], { type: 'filter', hook: 'output', prio: 0, policy: 'drop' });
  t.same(rulesAgainstShortcut(new Ruleset(closed), OURS, 'superframes').map(describeObstacle), [
    'policy drop of chain inet t out',
  ]);
  const unknown = output([{ mangle: { key: { meta: { key: 'mark' } }, value: { ct: { key: 'mark' } } } }]);
  t.match(rulesAgainstShortcut(new Ruleset(unknown), OURS, 'superframes'), [{ mark: 'any' }]);
  const target = output([{ xt: { type: 'target', name: 'MARK' } }]);
  t.match(rulesAgainstShortcut(new Ruleset(target), OURS, 'superframes'), [{ mark: 'any' }]);
});

t.test('a long rule is cut', async (t) => {
  const text = (...expr: Expr) =>
    rulesAgainstShortcut(new Ruleset(output(expr)), OURS, 'superframes')[0]?.text;
  const ports = Array.from({ length: 1000 }, (_, i) => 4780 + i);
  t.equal(
    text(match(payload('udp', 'dport'), { set: ports }), DROP),
    'udp dport { 4780, 4781, 4782, 4783, 4784, 4785, 4786, 4787, … } drop',
  );
  const long = text(...Array<unknown>(9).fill(match(payload('udp', 'dport'), 4789)), DROP);
  t.equal(long?.length, 100);
  t.match(long, /^udp dport 4789 udp dport 4789 .*…$/);
});

t.test('a ruleset that is too large stands against the shortcut', async (t) => {
  const other = [match(payload('udp', 'dport'), 53), DROP];
  const rules = chainOf('out', Array<Expr>(300_000).fill(other), OUTPUT);
  t.same(judged(rules, SUPERFRAMES), ['out: the number of rules']);
});

t.test('jumps of exponential number are followed once', async (t) => {
  const both = (i: number): Expr[] => [
    [match({ meta: { key: 'skuid' } }, 1), { jump: { target: `c${i + 1}` } }],
    [{ jump: { target: `c${i + 1}` } }],
  ];
  const chains = Array.from({ length: 15 }, (_, i) => chainOf(`c${i}`, both(i))).flat();
  const elements = [...output([{ jump: { target: 'c0' } }]), ...chains, ...chainOf('c15', [[DROP]])];
  t.same(judged(elements, SUPERFRAMES), ['c15: drop']);
});

t.test('50,000 rules are judged without exceeding the bound', async (t) => {
  const blocked = (i: number) => `192.0.${i >> 8}.${i & 255}`;
  const rules = Array.from(
    { length: 50_000 },
    (_, i): Expr => [match(payload('ip', 'daddr'), blocked(i)), DROP],
  );
  t.same(judged(chainOf('out', rules, OUTPUT), SUPERFRAMES), []);
  t.same(
    judged(chainOf('out', [...rules, [{ log: null }]], OUTPUT), SUPERFRAMES),
    ['out: log'],
    'and a rule behind',
  );
});
