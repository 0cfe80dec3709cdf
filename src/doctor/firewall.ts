/**
 * Finds nftables rules that drop VXLAN.
 *
 * Follows a datagram to vtepd's UDP port through each base chain of the ruleset, rule by rule and
 * through jumps. Conditions are evaluated in `host/rules/`; only the port of the datagram is known,
 * so conditions on addresses, marks and connections match possibly.
 *
 * Findings are: a drop that matches certainly, a drop that names the port (whatever the other
 * conditions of the rule are), and a drop policy without a rule that accepts.
 */
import { type Effect, effectsOf } from '../host/rules/effect.js';
import { Operands } from '../host/rules/operand.js';
import { anyDatagram } from '../host/rules/packet.js';
import { type Chain, fieldsOf, Ruleset, textOf } from '../host/rules/ruleset.js';
import type { Finding } from './finding.js';

/** Hooks that a VXLAN datagram passes, and its direction at each hook. */
const HOOKS: Readonly<Record<string, string>> = {
  ingress: 'received',
  prerouting: 'received',
  input: 'received',
  output: 'sent',
  postrouting: 'sent',
};

/** Result for the datagram in a chain; 'through': it reaches the end of the chain. */
type Fate = 'accepted' | 'through' | { readonly droppedIn: Chain; readonly rule: boolean };

/** @param ruleset elements of `nft -json list ruleset` */
export function checkFirewall(ruleset: readonly unknown[], port: number): Finding[] {
  const rules = new Ruleset(ruleset);
  const walk = new Walk(rules, port);
  return rules.chains
    .filter(({ hook }) => HOOKS[hook] !== undefined)
    .flatMap((chain) => {
      const fate = walk.through(chain, 0);
      if (fate !== 'accepted' && fate !== 'through') return [finding(chain, fate.rule, fate.droppedIn, port)];
      const isClosed = fate === 'through' && chain.policy === 'drop';
      return isClosed ? [finding(chain, false, chain, port)] : [];
    });
}

function finding(base: Chain, byRule: boolean, { family, table, name }: Chain, port: number): Finding {
  const where = `${family} ${table} ${name}`;
  const direction = HOOKS[base.hook];
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

/** Maximum number of map elements that are evaluated in one chain. */
const MAX_EFFORT = 1_000_000;

/** Maximum depth of jumps; the kernel rejects deeper jumps. */
const MAX_DEPTH = 16;

class Walk {
  readonly #ruleset: Ruleset;
  readonly #port: number;
  readonly #operands = new Operands();
  /** Chains may be jumped to from many rules; each is followed once. */
  readonly #fates = new Map<Chain, Fate>();

  constructor(ruleset: Ruleset, port: number) {
    this.#ruleset = ruleset;
    this.#port = port;
  }

  through(chain: Chain, depth: number): Fate {
    const known = this.#fates.get(chain);
    if (known !== undefined) return known;
    const fate = this.#follow(chain, depth);
    this.#fates.set(chain, fate);
    return fate;
  }

  #follow(chain: Chain, depth: number): Fate {
    const place = {
      ruleset: this.#ruleset,
      chain,
      packet: anyDatagram(this.#port),
      operands: this.#operands,
      effort: { left: MAX_EFFORT },
    };
    for (const rule of chain.rules) {
      const { effects, names } = effectsOf(rule, place);
      for (const effect of effects) {
        const fate = this.#fate(effect, names.includes('port'), chain, depth);
        if (fate === 'return') return 'through';
        if (fate !== 'through') return fate;
      }
    }
    return 'through';
  }

  #fate({ kind, body, certainty }: Effect, namesPort: boolean, chain: Chain, depth: number): Fate | 'return' {
    const isCertain = certainty === 'yes';
    switch (kind) {
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
        const fate = depth < MAX_DEPTH ? this.#jump(textOf(fieldsOf(body).target), chain, depth) : 'through';
        if (fate === 'accepted' || fate === 'through') return fate;
        return isCertain || namesPort ? fate : 'through';
      }
      default:
        return 'through';
    }
  }

  #jump(target: string, from: Chain, depth: number): Fate {
    const to = this.#ruleset.chain(from, target);
    return to ? this.through(to, depth + 1) : 'through';
  }
}
