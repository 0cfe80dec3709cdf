/**
 * Rules of this host that would not apply to packets of a shortcut.
 *
 * Superframes that leave whole and TCP flows through the kernel pass the host's netfilter rules by.
 * A rule stands against a shortcut if it matches the packets of the shortcut certainly or possibly,
 * and does more than accept, return or jump: it drops, rejects, translates addresses, sets a mark,
 * limits, logs, counts under a name, or anything that is unknown here. An anonymous counter stands
 * against a shortcut only where its rule, or a rule that jumps there, names the port, an address or
 * the device, because iptables-nft puts a counter on every rule. Policy drop of a chain stands
 * against it unless rules accept all packets.
 *
 * Changes that a rule makes to a packet are not followed: such a rule is an obstacle already.
 */
import type { Effort, Place } from './condition.js';
import { type Effect, effectsOf, STATEFUL_LOOKUP } from './effect.js';
import { numberOf } from './field.js';
import type { Certainty } from './intervals.js';
import { Operands } from './operand.js';
import { hooksOf, type OuterTraffic, packetsAt, passes, type Shortcut } from './outer-traffic.js';
import { onlyNumber, type Packet } from './packet.js';
import { expressionText, ruleText } from './rule-text.js';
import { type Chain, fieldsOf, type Rule, type Ruleset, textOf } from './ruleset.js';

/** Reason that stands against a shortcut. */
export interface Obstacle {
  readonly family: string;
  readonly table: string;
  readonly chain: string;
  /** Number of the rule; undefined: the policy of the chain, or a ruleset that is too large. */
  readonly handle: number | undefined;
  /** Effect of the rule, for example `snat to 10.1.0.9`. */
  readonly does: string;
  /** Text of the rule, cut at 100 characters. */
  readonly text: string;
  /** Mark that the rule sets; 'any': its value is unknown; undefined: it sets none. */
  readonly mark?: number | 'any';
}

/** Maximum number of rules and map elements that are evaluated for packets described together. */
const MAX_EFFORT = 1_000_000;
/** The same for packets described apart; beyond it, what was found for all together remains. */
const MAX_EFFORT_APART = 250_000;

/** @returns obstacles in the order in which packets meet them; empty: no rule is passed by */
export function rulesAgainstShortcut(
  ruleset: Ruleset,
  traffic: OuterTraffic,
  shortcut: Shortcut,
): Obstacle[] {
  const operands = new Operands();
  const [together, apart] = [{ left: MAX_EFFORT }, { left: MAX_EFFORT_APART }];
  const judge = (chain: Chain, effort: Effort): readonly Obstacle[] => {
    const judgement = new Judgement(ruleset, operands, effort);
    for (const packet of packetsAt(chain, traffic, effort === apart)) judgement.pass(chain, packet);
    return judgement.obstacles;
  };
  const against = (chain: Chain): readonly Obstacle[] => {
    const found = judge(chain, together);
    if (found.length === 0 || together.left < 0) return found;
    const foundApart = judge(chain, apart);
    return apart.left < 0 ? found : foundApart;
  };
  const chains = hooksOf(shortcut).flatMap((hook) => ruleset.atHook(hook));
  return unique(chains.filter((chain) => passes(chain, traffic)).flatMap(against));
}

/** One obstacle a rule, although packets may meet it in several base chains. */
function unique(obstacles: readonly Obstacle[]): Obstacle[] {
  return [...new Map(obstacles.map((obstacle) => [describeObstacle(obstacle), obstacle])).values()];
}

/** @returns for example `rule 7 of chain ip nat POSTROUTING (snat to 10.1.0.9)` */
export function describeObstacle({ family, table, chain, handle, does }: Obstacle): string {
  const name = `chain ${family} ${table} ${chain}`;
  return handle === undefined ? `${does} of ${name}` : `rule ${handle} of ${name} (${does})`;
}

class Judgement {
  readonly #ruleset: Ruleset;
  readonly #operands: Operands;
  readonly #found = new Map<Rule | Chain, Obstacle>();
  readonly #effort: Effort;

  constructor(ruleset: Ruleset, operands: Operands, effort: Effort) {
    this.#ruleset = ruleset;
    this.#operands = operands;
    this.#effort = effort;
  }

  get obstacles(): readonly Obstacle[] {
    return [...this.#found.values()];
  }

  /** Follows a packet through a base chain. */
  pass(chain: Chain, packet: Packet): void {
    const walk = new Walk(packet, (chain, isNamed, walk) => this.#through(chain, isNamed, walk));
    const returns = walk.through(chain, false);
    if (returns !== 'no' && chain.policy === 'drop') this.#addChain(chain, 'policy drop');
    if (this.#effort.left < 0) this.#addChain(chain, 'the number of rules');
  }

  #through(chain: Chain, isNamed: boolean, walk: Walk): Certainty {
    const exits = new Exits();
    const place: Place = {
      ruleset: this.#ruleset,
      chain,
      packet: walk.packet,
      operands: this.#operands,
      effort: this.#effort,
    };
    for (const rule of chain.rules) {
      if (--this.#effort.left < 0) return 'maybe';
      const { effects, names } = effectsOf(rule, place);
      const isNamedHere = isNamed || names.length > 0;
      for (const effect of effects) {
        if (stands(effect, isNamedHere, walk.packet)) this.#addRule(rule, effect, walk.packet);
        this.#follow(effect, isNamedHere, chain, walk, exits);
        if (exits.isOver) return exits.returns;
      }
    }
    exits.add('yes', 'yes');
    return exits.returns;
  }

  #follow({ kind, body, certainty }: Effect, isNamed: boolean, chain: Chain, walk: Walk, exits: Exits): void {
    if (kind === 'return') exits.add(certainty, 'yes');
    else if (ENDS.includes(kind)) exits.add(certainty, 'no');
    else if (kind === 'jump' || kind === 'goto') {
      const target = this.#ruleset.chain(chain, textOf(fieldsOf(body).target));
      const returns = target === undefined ? 'maybe' : walk.through(target, isNamed);
      if (kind === 'goto') exits.add(certainty, returns);
      else if (returns === 'no') exits.add(certainty, 'no');
      else if (returns === 'maybe') exits.add('maybe', 'no');
    }
  }

  #addRule(rule: Rule, { kind, body }: Effect, packet: Packet): void {
    const { family, table, name: chain } = rule.chain;
    const does = kind === STATEFUL_LOOKUP ? 'counter of a set' : expressionText({ kind, body });
    const known = this.#found.get(rule);
    const mark = known?.mark ?? markOf(kind, body, packet);
    const text = known?.text ?? ruleText(rule);
    this.#found.set(rule, {
      family,
      table,
      chain,
      handle: rule.handle,
      does,
      text,
      ...(mark !== undefined && { mark }),
    });
  }

  #addChain(chain: Chain, does: string): void {
    const { family, table, name } = chain;
    this.#found.set(chain, { family, table, chain: name, handle: undefined, does, text: does });
  }
}

/** Verdicts and statements after which a packet does not return to the chain. */
const ENDS = ['accept', 'drop', 'reject', 'queue', 'snat', 'dnat', 'masquerade', 'redirect', 'fwd'];

/** Maximum depth of jumps; the kernel rejects deeper ones. */
const MAX_DEPTH = 16;

/** A packet on its path through the chains; the result of each chain is remembered. */
class Walk {
  readonly packet: Packet;
  readonly #through: (chain: Chain, isNamed: boolean, walk: Walk) => Certainty;
  readonly #results = [new Map<Chain, Certainty>(), new Map<Chain, Certainty>()] as const;
  #depth = 0;

  constructor(packet: Packet, through: (chain: Chain, isNamed: boolean, walk: Walk) => Certainty) {
    this.packet = packet;
    this.#through = through;
  }

  /** @returns the certainty that the packet reaches the end of the chain or returns from it */
  through(chain: Chain, isNamed: boolean): Certainty {
    const results = this.#results[isNamed ? 1 : 0];
    const known = results.get(chain);
    if (known !== undefined) return known;
    if (this.#depth > MAX_DEPTH) return 'maybe';
    this.#depth++;
    const returns = this.#through(chain, isNamed, this);
    this.#depth--;
    results.set(chain, returns);
    return returns;
  }
}

/** Ways in which packets leave a chain. */
class Exits {
  /** All packets have left. */
  isOver = false;
  #mayReturn = false;
  #mayEnd = false;

  /** @param certainty that the packets leave here @param returns that they return to the caller */
  add(certainty: Certainty, returns: Certainty): void {
    if (returns !== 'no') this.#mayReturn = true;
    if (returns !== 'yes') this.#mayEnd = true;
    if (certainty === 'yes') this.isOver = true;
  }

  get returns(): Certainty {
    if (!this.#mayReturn) return 'no';
    return this.#mayEnd ? 'maybe' : 'yes';
  }
}

/** @returns whether the effect stands against a shortcut that the packet would use */
function stands({ kind, body }: Effect, isNamed: boolean, packet: Packet): boolean {
  switch (kind) {
    case 'accept':
    case 'return':
    case 'continue':
    case 'jump':
    case 'goto':
      return false;
    case 'counter':
    case 'last':
      return isNamed || typeof body === 'string' || fieldsOf(body).map !== undefined;
    case 'mangle':
      return !keepsMark(body, packet);
    default:
      return true;
  }
}

/** `meta mark set mark & 0xfff0ffff` changes nothing in a packet without these bits. */
function keepsMark(mangle: unknown, packet: Packet): boolean {
  const { key, value } = fieldsOf(mangle);
  const mark = onlyNumber(packet.mark);
  return isMark(key) && mark !== undefined && numberOf(value, packet) === mark;
}

function markOf(kind: string, body: unknown, packet: Packet): Obstacle['mark'] {
  if (kind === 'xt') return MARKING_TARGETS.includes(textOf(fieldsOf(body).name)) ? 'any' : undefined;
  if (kind !== 'mangle' || !isMark(fieldsOf(body).key)) return undefined;
  return numberOf(fieldsOf(body).value, packet) ?? 'any';
}

/** Targets of iptables that set the mark of a packet. */
const MARKING_TARGETS = ['MARK', 'CONNMARK', 'HMARK', 'TPROXY'];

function isMark(key: unknown): boolean {
  return fieldsOf(fieldsOf(key).meta).key === 'mark';
}
