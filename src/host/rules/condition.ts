/**
 * Certainty with which a packet meets a condition of a rule.
 *
 * A proved condition is 'yes' or 'no'; an expression that is unknown here is 'maybe'.
 */
import { fieldOf, type Name } from './field.js';
import { both, type Certainty, contained, either, negated } from './intervals.js';
import { type Operands, plainElement, type Scope } from './operand.js';
import type { Packet } from './packet.js';
import { type Elements, fieldsOf, isStatefulElement, listOf, textOf } from './ruleset.js';

export interface Condition {
  readonly certainty: Certainty;
  /** The rule names the port, an address or a device of the packet, not by a negation. */
  readonly names?: Name | undefined;
  /** The lookup counts or limits: the packet may be in the set, whether or not this is negated. */
  readonly isStateful?: boolean | undefined;
}

/** The rule ends without a match, also where the condition is negated. */
const BROKEN: Condition = { certainty: 'no' };
const MAYBE: Condition = { certainty: 'maybe' };

/** Where a condition stands, and which packet meets it. */
export interface Place extends Scope {
  readonly packet: Packet;
  readonly operands: Operands;
  readonly effort: Effort;
}

/** Bound on the work for one question. */
export interface Effort {
  /** Rules and elements of maps that may still be evaluated; negative: there were too many. */
  left: number;
}

/** @param match body of `{ "match": { "left": …, "op": …, "right": … } }` */
export function matchOf(match: unknown, place: Place): Condition {
  const { left, op, right } = fieldsOf(match);
  switch (op) {
    case '==':
    case '!=':
      // A list of flags is compared as a whole.
      if (Array.isArray(right) && right.length > 1) return isBroken(left, place) ? BROKEN : MAYBE;
      return op === '==' ? conditionOf(left, right, place) : inverse(conditionOf(left, right, place));
    case 'in':
      return conditionOf(left, right, place);
    // None of the flags, which only connections have here.
    case '!':
      return fieldsOf(left).ct === undefined ? MAYBE : inverse(conditionOf(left, right, place));
    default:
      return { certainty: comparison(left, textOf(op), right, place) };
  }
}

function inverse(condition: Condition): Condition {
  if (condition === BROKEN) return BROKEN;
  return { ...condition, certainty: negated(condition.certainty), names: undefined };
}

/** @returns whether the rule ends at the field, or at a field of a concatenation */
function isBroken(left: unknown, { packet }: Place): boolean {
  const { concat } = fieldsOf(left);
  return (Array.isArray(concat) ? concat : [left]).some((field) => fieldOf(field, packet) === 'no');
}

/** @returns the condition that the field has one of the values; BROKEN if the rule ends here */
export function conditionOf(left: unknown, right: unknown, place: Place): Condition {
  const { concat } = fieldsOf(left);
  if (Array.isArray(concat)) return isBroken(left, place) ? BROKEN : concatenation(concat, right, place);
  const field = fieldOf(left, place.packet);
  if (field === 'no') return BROKEN;
  if (field === undefined) return { certainty: 'maybe', isStateful: isStatefulSet(right, place) };
  const operand = place.operands.of(right, field.domain, place);
  let certainty = contained(field.values, operand.ranges);
  if (certainty === 'no' && !operand.isComplete) certainty = 'maybe';
  if (certainty === 'yes' && operand.expires) certainty = 'maybe';
  const isNamed =
    certainty === 'yes' || (certainty === 'maybe' && operand.isComplete && field.name !== 'port');
  const isStateful = operand.isStateful && certainty !== 'no';
  return { certainty, names: isNamed ? field.name : undefined, isStateful };
}

/** A concatenation matches an element if each of its parts matches the part of the element. */
function concatenation(parts: readonly unknown[], right: unknown, place: Place): Condition {
  const set = namedSet(right, place);
  const elements = set?.elements ?? fieldsOf(right).set ?? (Array.isArray(right) ? right : [right]);
  if (typeof right === 'string' && (set === undefined || set.isDynamic)) return MAYBE;
  let certainty: Certainty = 'no';
  let names: Name | undefined;
  for (const element of listOf(elements)) {
    place.effort.left--;
    const found = elementOf(parts, element, place);
    certainty = either(certainty, found.certainty);
    names ??= found.names;
    if (certainty === 'yes') break;
  }
  if (certainty === 'yes' && set?.expires) certainty = 'maybe';
  return { certainty, names, isStateful: certainty !== 'no' && set?.isStateful };
}

function elementOf(parts: readonly unknown[], element: unknown, place: Place): Condition {
  const { concat } = fieldsOf(plainElement(element));
  if (!Array.isArray(concat) || concat.length !== parts.length) return MAYBE;
  let certainty: Certainty = 'yes';
  let names: Name | undefined;
  for (let i = 0; i < parts.length; i++) {
    const found = conditionOf(parts[i], concat[i], place);
    certainty = both(certainty, found.certainty);
    if (certainty === 'no') return { certainty };
    names ??= found.names;
  }
  return { certainty, names };
}

/** The operators `<`, `>`, `<=` and `>=` with a number. */
function comparison(left: unknown, op: string, right: unknown, { packet }: Place): Certainty {
  const field = fieldOf(left, packet);
  if (field === 'no') return 'no';
  if (field === undefined || typeof right !== 'number') return 'maybe';
  switch (op) {
    case '<':
      return contained(field.values, [{ lo: 0, hi: right - 1 }]);
    case '<=':
      return contained(field.values, [{ lo: 0, hi: right }]);
    case '>':
      return contained(field.values, [{ lo: right + 1, hi: 0xffffffff }]);
    case '>=':
      return contained(field.values, [{ lo: right, hi: 0xffffffff }]);
    default:
      return 'maybe';
  }
}

/** One element of a verdict map that the packet may match. */
export interface MapEntry {
  readonly condition: Condition;
  /** Verdict as an expression: `{ "jump": { "target": … } }`. */
  readonly verdict: unknown;
}

/** @param map body of `{ "vmap": { "key": …, "data": … } }` */
export function entriesOf(map: unknown, place: Place): MapEntry[] | undefined {
  const { key, data } = fieldsOf(map);
  const { concat } = fieldsOf(key);
  const isConcatenated = Array.isArray(concat);
  const named = namedSet(data, place);
  const pairs = named?.elements ?? fieldsOf(data).set;
  if (!Array.isArray(pairs) || named?.isDynamic) return undefined;
  if (isBroken(key, place)) return [];
  place.effort.left -= pairs.length;
  if (place.effort.left < 0) return undefined;
  const entries: MapEntry[] = [];
  let elsewhere: Certainty = 'no';
  let fallback: unknown;
  for (const [element, verdict] of pairs.map(listOf)) {
    const value = plainElement(element);
    if (value === '*') {
      fallback = verdict;
      continue;
    }
    const found = isConcatenated ? elementOf(concat, value, place) : conditionOf(key, value, place);
    if (found.certainty === 'no') continue;
    const condition = named?.expires ? { ...found, certainty: both(found.certainty, 'maybe') } : found;
    entries.push({
      condition: { ...condition, isStateful: isStatefulElement(element) || named?.isStateful },
      verdict,
    });
    elsewhere = either(elsewhere, condition.certainty);
  }
  if (fallback !== undefined && elsewhere !== 'yes')
    entries.push({ condition: { certainty: negated(elsewhere) }, verdict: fallback });
  return entries;
}

function namedSet(right: unknown, { ruleset, chain }: Place): Elements | undefined {
  return typeof right === 'string' && right.startsWith('@') ? ruleset.set(chain, right.slice(1)) : undefined;
}

function isStatefulSet(right: unknown, place: Place): boolean {
  return namedSet(right, place)?.isStateful ?? false;
}
