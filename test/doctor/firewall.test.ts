/** Rulesets as nft 1.0.6 prints them, and the findings for UDP 4789. */
import t from 'tap';
import { checkFirewall } from '../../src/doctor/firewall.js';
import { stockRuleset } from '../host/rules/judge.js';

type Expr = Record<string, unknown>[];

const match = (left: object, right: unknown, op = '=='): Record<string, unknown> => ({
  match: { op, left, right },
});
const payload = (protocol: string, field: string) => ({ payload: { protocol, field } });
const DPORT = payload('udp', 'dport');
const PORT = match(DPORT, 4789);
const STATE = { ct: { key: 'state' } };
const ACCEPT = { accept: null };
const DROP = { drop: null };
const LOOPBACK: Expr = [match({ meta: { key: 'iifname' } }, 'lo'), ACCEPT];
const ESTABLISHED: Expr = [match(STATE, [2, 4], 'in'), ACCEPT];
const SSH: Expr = [match(payload('tcp', 'dport'), { set: [22, 80] }), ACCEPT];
const FROM_PEERS = match(payload('ip', 'saddr'), { prefix: { addr: '192.0.2.0', len: 24 } });

function ruleset(chains: Record<string, { hook?: string; policy?: string; rules: Expr[] }>): unknown[] {
  const of = { family: 'inet', table: 'f' };
  return [
    { metainfo: { version: '1.0.6' } },
    { table: { family: 'inet', name: 'f' } },
    ...Object.entries(chains).map(([name, { hook, policy }]) => ({
      chain: { ...of, name, ...(hook && { type: 'filter', hook, policy }) },
    })),
    ...Object.entries(chains).flatMap(([chain, { rules }]) =>
      rules.map((expr) => ({ rule: { ...of, chain, expr } })),
    ),
  ];
}

const input = (policy: string, ...rules: Expr[]) => ruleset({ input: { hook: 'input', policy, rules } });

t.test('finds rules and policies that drop UDP 4789', async (t) => {
  const rows: [string, unknown[]][] = [
    ['our port', input('accept', LOOPBACK, ESTABLISHED, [PORT, { counter: null }, DROP])],
    [
      'our port, rejected',
      input('accept', [match(payload('th', 'dport'), 4789), { reject: { type: 'icmpx' } }]),
    ],
    [
      'a set with our port in a range',
      input('accept', [match(DPORT, { set: [53, { range: [4700, 4800] }] }), DROP]),
    ],
    ['a range', input('accept', [match(DPORT, { range: [4000, 5000] }), DROP])],
    ['every port but one', input('accept', [match(DPORT, 53, '!='), DROP])],
    ['our port from some addresses', input('accept', [FROM_PEERS, PORT, DROP])],
    ['all of UDP', input('accept', [match({ meta: { key: 'l4proto' } }, { set: [6, 17] }), DROP])],
    ['all of UDP, by name', input('accept', [match({ meta: { key: 'l4proto' } }, 'udp'), DROP])],
    ['everything', input('accept', [{ log: { prefix: 'x' } }, DROP])],
    ['everything new', input('accept', ESTABLISHED, [match(STATE, 'new', 'in'), DROP])],
    ['everything from outside', input('accept', [match({ meta: { key: 'iifname' } }, 'lo', '!='), DROP])],
    ['a drop policy without an accepting rule', input('drop', LOOPBACK, ESTABLISHED, SSH)],
    ['a drop before the accept', input('drop', [PORT, DROP], [PORT, ACCEPT])],
    [
      'a jump for our port',
      ruleset({
        vx: { rules: [[match(payload('ip', 'saddr'), '192.0.2.1', '!='), PORT, DROP], [ACCEPT]] },
        input: { hook: 'input', policy: 'accept', rules: [[PORT, { jump: { target: 'vx' } }]] },
      }),
    ],
    [
      'a drop policy after a jump to a chain without an accepting rule',
      ruleset({
        vx: { rules: [SSH] },
        input: { hook: 'input', policy: 'drop', rules: [[{ jump: { target: 'vx' } }]] },
      }),
    ],
    [
      'our port in a verdict map',
      input('accept', [
        {
          vmap: {
            key: DPORT,
            data: {
              set: [
                [22, ACCEPT],
                [4789, DROP],
              ],
            },
          },
        },
      ]),
    ],
    [
      'a drop policy after a map of states',
      input('drop', [
        {
          vmap: {
            key: STATE,
            data: {
              set: [
                ['established', ACCEPT],
                ['invalid', DROP],
              ],
            },
          },
        },
      ]),
    ],
    [
      'a drop policy, translated connections accepted',
      input('drop', [match({ ct: { key: 'status' } }, 'dnat', 'in'), ACCEPT]),
    ],
    [
      'our port in the prerouting hook',
      ruleset({ pre: { hook: 'prerouting', policy: 'accept', rules: [[PORT, DROP]] } }),
    ],
  ];
  for (const [name, rules] of rows) {
    const found = checkFirewall(rules, 4789);
    t.equal(found.length, 1, name);
    t.match(found[0], { code: 'firewall', why: 'frames of peers never reach vtepd' }, name);
  }
});

t.test('finds nothing in rules that do not certainly drop UDP 4789', async (t) => {
  const rows: [string, unknown[]][] = [
    ['no rules', []],
    ['another port', input('accept', [match(DPORT, 4790), DROP])],
    ['our port number in another protocol', input('accept', [match(payload('tcp', 'dport'), 4789), DROP])],
    ['every port but ours', input('accept', [match(DPORT, 4789, '!='), DROP])],
    ['a drop policy, and our port accepted', input('drop', SSH, [PORT, ACCEPT])],
    ['our port accepted from peers', input('drop', [FROM_PEERS, PORT, ACCEPT])],
    ['everything accepted from peers', input('drop', [FROM_PEERS, ACCEPT])],
    [
      'a drop policy, and our port accepted by a map',
      input('drop', [{ vmap: { key: DPORT, data: { set: [[4789, ACCEPT]] } } }]),
    ],
    ['a drop policy, and untracked packets accepted', input('drop', [match(STATE, [2, 64], 'in'), ACCEPT])],
    [
      'TCP without SYN',
      input('accept', [match({ '&': [payload('tcp', 'flags'), 'syn'] }, 'syn', '!='), DROP]),
    ],
    ['an accept before the drop', input('accept', [PORT, ACCEPT], [DROP])],
    ['invalid packets', input('accept', [match(STATE, 1, 'in'), DROP])],
    ['loopback', input('accept', [match({ meta: { key: 'iifname' } }, 'lo'), DROP])],
    ['some addresses', input('accept', [FROM_PEERS, DROP])],
    ['a rate limit', input('accept', [{ limit: { rate: 5, per: 'second' } }, DROP])],
    ['a set by name', input('accept', [match(DPORT, '@blocked'), DROP])],
    ['an expression of iptables only', input('accept', [{ xt: null }, DROP])],
    ['a hook that VXLAN does not pass', ruleset({ forward: { hook: 'forward', policy: 'drop', rules: [] } })],
    [
      'a return before a drop',
      ruleset({
        vx: { rules: [[PORT, { return: null }], [DROP]] },
        input: { hook: 'input', policy: 'accept', rules: [[{ jump: { target: 'vx' } }]] },
      }),
    ],
    [
      'a chain that jumps to itself',
      ruleset({ input: { hook: 'input', policy: 'accept', rules: [[{ jump: { target: 'input' } }]] } }),
    ],
    ['a jump to a chain that does not exist', input('accept', [{ jump: { target: 'gone' } }])],
    [
      'elements of a later nft version',
      [{ flowtable: {} }, { set: { name: 'x' } }, { rule: { chain: 'input' } }],
    ],
  ];
  for (const [name, rules] of rows) t.same(checkFirewall(rules, 4789), [], name);
});

t.test('a finding names the chain, the direction and the remedy', async (t) => {
  t.same(checkFirewall(ruleset({ out: { hook: 'output', policy: 'accept', rules: [[PORT, DROP]] } }), 4789), [
    {
      code: 'firewall',
      what: 'a rule of chain inet f out drops UDP 4789 that is sent',
      why: 'frames for peers do not leave this host',
      cure: 'nft insert rule inet f out udp dport 4789 accept',
    },
  ]);
  t.match(checkFirewall(input('drop', SSH), 8472), [
    { what: 'chain inet f input has policy drop, and no rule accepts UDP 8472 that is received' },
  ]);
});

t.test('stock rulesets', async (t) => {
  for (const name of [
    'docker',
    'kube-proxy-iptables',
    'kube-proxy-nftables',
    'libvirt',
    'calico-nftables',
    'firewalld-masquerade',
  ])
    t.same(checkFirewall(stockRuleset(name), 4789), [], name);
  t.match(checkFirewall(stockRuleset('firewalld'), 4789), [
    { what: 'a rule of chain inet firewalld filter_IN_public drops UDP 4789 that is received' },
  ]);
});
