/**
 * Finds nftables rules that drop VXLAN.
 *
 * Reads a ruleset as `nft -json list ruleset` prints it (libnftables-json(5)) and follows a
 * datagram to vtepd's UDP port through each base chain, rule by rule and through jumps.
 *
 * A rule matches certainly, possibly, or not. Conditions on protocol, port, interface and
 * connection state are evaluated. All other conditions (addresses, marks, limits, expressions that
 * iptables-nft cannot translate) match possibly. Findings are: a drop that matches certainly, a
 * drop that names the port (whatever the other conditions of the rule are), and a drop policy
 * without a rule that accepts. nft does not list rules of legacy iptables.
 */
import type { Finding } from './finding.js';

/** Hooks that a VXLAN datagram passes, and its direction at each hook. */
const HOOKS: Readonly<Record<string, string>> = {
  ingress: 'received',
  prerouting: 'received',
  input: 'received',
  output: 'sent',
  postrouting: 'sent',
};

const VERDICTS = ['accept', 'drop', 'reject', 'return', 'jump', 'goto'] as const;
type Verdict = (typeof VERDICTS)[number];

interface Chain {
  readonly family: string;
  readonly table: string;
  readonly name: string;
  readonly hook?: string;
  readonly policy?: string;
}

interface Rule {
  readonly family: string;
  readonly table: string;
  readonly chain: string;
  readonly expr?: readonly Readonly<Record<string, unknown>>[];
}

type Certainty = 'yes' | 'maybe' | 'no';

/** Result for the datagram in a chain; 'through': it reaches the end of the chain. */
type Fate = 'accepted' | 'through' | { readonly droppedIn: Chain; readonly rule: boolean };

export function checkFirewall(ruleset: readonly unknown[], port: number): Finding[] {
  const chains = pick<Chain>(ruleset, 'chain');
  const rules = pick<Rule>(ruleset, 'rule');
  return chains
    .filter(({ hook }) => hook !== undefined && HOOKS[hook] !== undefined)
    .flatMap((chain) => {
      const fate = new Walk(chains, rules, port).through(chain, 0);
      if (fate !== 'accepted' && fate !== 'through') return [finding(chain, fate.rule, fate.droppedIn, port)];
      const isClosed = fate === 'through' && chain.policy === 'drop';
      return isClosed ? [finding(chain, false, chain, port)] : [];
    });
}

function finding(base: Chain, byRule: boolean, { family, table, name }: Chain, port: number): Finding {
  const where = `${family} ${table} ${name}`;
  const direction = HOOKS[base.hook!];
  const what = byRule
    ? `a rule of chain ${where} drops UDP ${port} that is ${direction}`
    : `chain ${where} has policy drop, and no rule accepts UDP ${port} that is ${direction}`;
  return {
    code: 'firewall',
    what,
    why:
      direction === 'sent' ? 'frames for peers do not leave this host' : 'frames of peers never reach vtepd',
    cure: `nft insert rule ${where} udp dport ${port} accept`,
  };
}

/** Maximum depth of jumps; the kernel rejects deeper jumps. */
const MAX_DEPTH = 16;

class Walk {
  readonly #chains: readonly Chain[];
  readonly #rules: readonly Rule[];
  readonly #port: number;

  constructor(chains: readonly Chain[], rules: readonly Rule[], port: number) {
    this.#chains = chains;
    this.#rules = rules;
    this.#port = port;
  }

  through(chain: Chain, depth: number): Fate {
    for (const { expr = [] } of this.#rules.filter((rule) => isOf(rule, chain))) {
      const verdict = verdictOf(expr);
      const match = matchOf(expr, this.#port);
      if (verdict === undefined || match.certainty === 'no') continue;
      const fate = this.#fate(verdict, expr, match, chain, depth);
      if (fate === 'return') return 'through';
      if (fate !== 'through') return fate;
    }
    return 'through';
  }

  #fate(
    verdict: Verdict,
    expr: Rule['expr'] & object,
    { certainty, namesPort }: Match,
    chain: Chain,
    depth: number,
  ): Fate | 'return' {
    const isCertain = certainty === 'yes';
    switch (verdict) {
      // A rule that possibly accepts counts as accepting, because rulesets usually accept peers by
      // address, and addresses are not evaluated here.
      case 'accept':
        return 'accepted';
      case 'drop':
      case 'reject':
        return isCertain || namesPort ? { droppedIn: chain, rule: true } : 'through';
      case 'return':
        return isCertain ? 'return' : 'through';
      case 'jump':
      case 'goto': {
        const fate = depth < MAX_DEPTH ? this.#jump(expr, verdict, chain, depth) : 'through';
        if (fate === 'accepted' || fate === 'through') return fate;
        return isCertain || namesPort ? fate : 'through';
      }
    }
  }

  #jump(expr: Rule['expr'] & object, verdict: 'jump' | 'goto', from: Chain, depth: number): Fate {
    const target = expr
      .map((part) => (part[verdict] as { target?: string } | undefined)?.target)
      .find((name) => name !== undefined);
    const to = this.#chains.find(
      ({ family, table, name }) => family === from.family && table === from.table && name === target,
    );
    return to ? this.through(to, depth + 1) : 'through';
  }
}

interface Match {
  readonly certainty: Certainty;
  /** True if the rule matches vtepd's port by number. */
  readonly namesPort: boolean;
}

/** Combines all conditions of a rule. */
function matchOf(expr: Rule['expr'] & object, port: number): Match {
  let certainty: Certainty = 'yes';
  let namesPort = false;
  for (const part of expr) {
    const condition = conditionOf(part, port);
    if (condition === 'no') return { certainty: 'no', namesPort: false };
    if (condition === 'maybe') certainty = 'maybe';
    if (condition === 'port') namesPort = true;
  }
  return { certainty, namesPort };
}

/**
 * States of a new flow, by name or by number as nft prints them (IP_CT_NEW and IP_CT_UNTRACKED of
 * nf_conntrack_common.h, as bits).
 */
const FRESH_STATES = ['new', 'untracked', 8, 64];

/** Statements that are not conditions. */
const STATEMENTS = ['counter', 'log', 'comment', 'notrack', 'meter', 'mangle', ...VERDICTS];

function conditionOf(part: Readonly<Record<string, unknown>>, port: number): Certainty | 'port' {
  const [kind] = Object.keys(part);
  if (STATEMENTS.includes(kind)) return 'yes';
  if (kind !== 'match') return 'maybe';
  const { left, op, right } = part.match as { left?: Left; op?: string; right?: unknown };
  const negated = op === '!=';
  if (!negated && op !== '==' && op !== 'in') return 'maybe';
  const { payload, meta, ct } = left ?? {};
  if (payload?.field === 'dport') {
    if (!['udp', 'th'].includes(payload.protocol ?? '')) return 'no';
    const contained = contains(right, port);
    if (contained === 'maybe') return 'maybe';
    return (contained === 'yes') !== negated ? (negated ? 'yes' : 'port') : 'no';
  }
  if (payload?.field === 'sport' && payload.protocol !== undefined)
    return payload.protocol === 'udp' || payload.protocol === 'th' ? 'maybe' : 'no';
  if (meta?.key === 'l4proto' || payload?.field === 'protocol' || payload?.field === 'nexthdr')
    return agrees(containsAny(right, ['udp', 17]), negated);
  if (meta?.key === 'iifname' || meta?.key === 'iif' || meta?.key === 'oifname' || meta?.key === 'oif')
    return agrees(right === 'lo' ? 'no' : 'maybe', negated);
  // VXLAN datagrams usually have the state of a new flow, because replies use other ports.
  if (ct?.key === 'state') return agrees(containsAny(right, FRESH_STATES), negated);
  return 'maybe';
}

interface Left {
  readonly payload?: { readonly protocol?: string; readonly field?: string };
  readonly meta?: { readonly key?: string };
  readonly ct?: { readonly key?: string };
}

function agrees(found: Certainty, negated: boolean): Certainty {
  if (found === 'maybe' || !negated) return found;
  return found === 'yes' ? 'no' : 'yes';
}

/** Matches a number, a range, or a set of both; a named set ("@name") may contain any port. */
function contains(right: unknown, port: number): Certainty {
  if (typeof right === 'number') return right === port ? 'yes' : 'no';
  if (Array.isArray(right)) return anyOf(right.map((element) => contains(element, port)));
  const { set, range } = (right ?? {}) as { set?: unknown[]; range?: [number, number] };
  if (Array.isArray(set)) return anyOf(set.map((element) => contains(element, port)));
  if (Array.isArray(range)) return range[0] <= port && port <= range[1] ? 'yes' : 'no';
  return 'maybe';
}

function containsAny(right: unknown, wanted: readonly unknown[]): Certainty {
  const { set } = (right ?? {}) as { set?: unknown[] };
  const elements = Array.isArray(right) ? right : Array.isArray(set) ? set : [right];
  if (elements.some((element) => wanted.includes(element))) return 'yes';
  return elements.some((element) => typeof element === 'string' && element.startsWith('@')) ? 'maybe' : 'no';
}

function anyOf(found: readonly Certainty[]): Certainty {
  if (found.includes('yes')) return 'yes';
  return found.includes('maybe') ? 'maybe' : 'no';
}

function verdictOf(expr: Rule['expr'] & object): Verdict | undefined {
  return VERDICTS.find((verdict) => expr.some((part) => verdict in part));
}

function isOf({ family, table, chain }: Rule, { name, ...of }: Chain): boolean {
  return family === of.family && table === of.table && chain === name;
}

function pick<T>(ruleset: readonly unknown[], kind: string): T[] {
  return ruleset.flatMap((element) => {
    const found = (element as Record<string, T | undefined>)[kind];
    return found === undefined ? [] : [found];
  });
}
