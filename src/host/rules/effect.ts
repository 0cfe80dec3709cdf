/**
 * Effects of a rule on a packet: its statements and verdicts, with the certainty of each.
 *
 * nft executes the expressions of a rule from left to right. A statement in front of a condition
 * therefore concerns packets that do not meet the condition.
 */
import { type Condition, entriesOf, matchOf, type Place } from './condition.js';
import type { Name } from './field.js';
import { both, type Certainty } from './intervals.js';
import { AS_TEXT, type Expression, fieldsOf, type Rule, textOf } from './ruleset.js';

export interface Effect {
  readonly certainty: Exclude<Certainty, 'no'>;
  /** Statement or verdict; for an element of a verdict map, the verdict of the element. */
  readonly kind: string;
  readonly body: unknown;
}

export interface Effects {
  readonly effects: readonly Effect[];
  /** Fields of the packet that the rule names; empty if the packet does not match. */
  readonly names: readonly Name[];
}

const NOTHING: Effects = { effects: [], names: [] };

/** Lookup in a set whose elements count or limit; no expression of nft has this kind. */
export const STATEFUL_LOOKUP = 'stateful lookup';

/** Statements after which the rule goes on for every packet; others, such as limit, select. */
const PLAIN = [
  'counter',
  'log',
  'notrack',
  'mangle',
  'last',
  'dup',
  'set',
  'map',
  'ct helper',
  'ct timeout',
  'ct expectation',
  'secmark',
  'flow',
  AS_TEXT,
];

const VERDICTS = ['accept', 'drop', 'reject', 'return', 'continue', 'jump', 'goto'];

export function effectsOf({ expressions }: Rule, place: Place): Effects {
  const effects: Effect[] = [];
  const names: Name[] = [];
  let certainty: Certainty = 'yes';
  const meets = ({ certainty: found, names: name, isStateful }: Condition) => {
    if (isStateful) effects.push({ certainty: reached(certainty), kind: STATEFUL_LOOKUP, body: {} });
    certainty = both(certainty, found);
    if (name !== undefined && found !== 'no') names.push(name);
  };
  for (const expression of expressions) {
    const { kind, body } = expression;
    if (kind === 'match') meets(matchOf(body, place));
    else if (kind === 'vmap') certainty = lookUp(body, place, certainty, effects, names);
    else if (isComment(expression)) continue;
    else if (isUnknownMatch(expression, expressions)) certainty = 'maybe';
    else {
      effects.push({ certainty: reached(certainty), kind, body });
      if (!PLAIN.includes(kind) && !VERDICTS.includes(kind)) certainty = 'maybe';
    }
    // Without effects, nothing that the rule names matters.
    if (certainty === 'no') return effects.length === 0 ? NOTHING : { effects, names };
  }
  return { effects, names };
}

function reached(certainty: Certainty): Effect['certainty'] {
  return certainty === 'yes' ? 'yes' : 'maybe';
}

/** Adds the verdicts of a map. @returns the certainty that the rule goes on after the lookup */
function lookUp(map: unknown, place: Place, before: Certainty, effects: Effect[], names: Name[]): Certainty {
  const entries = entriesOf(map, place);
  if (entries === undefined) {
    effects.push({ certainty: 'maybe', kind: 'vmap', body: map });
    return 'maybe';
  }
  for (const { condition, verdict } of entries) {
    const certainty = both(before, condition.certainty);
    if (certainty === 'no') continue;
    if (condition.isStateful) effects.push({ certainty, kind: STATEFUL_LOOKUP, body: {} });
    const [kind = ''] = Object.keys(fieldsOf(verdict));
    effects.push({ certainty, kind, body: fieldsOf(verdict)[kind] });
    if (condition.names !== undefined) names.push(condition.names);
  }
  return entries.length === 0 ? 'no' : 'maybe';
}

/** A comment, which iptables-nft writes as a match of its own. */
function isComment({ kind, body }: Expression): boolean {
  return kind === 'comment' || (kind === 'xt' && textOf(fieldsOf(body).name) === 'comment');
}

/**
 * A match of iptables that nft cannot print. nft before 1.0.6 prints neither type nor name: the
 * expression is then a match if the rule has a verdict, since a rule of iptables has one target.
 */
function isUnknownMatch({ kind, body }: Expression, expressions: readonly Expression[]): boolean {
  if (kind !== 'xt') return false;
  const type = textOf(fieldsOf(body).type);
  return type === '' ? expressions.some(({ kind }) => VERDICTS.includes(kind)) : type === 'match';
}
