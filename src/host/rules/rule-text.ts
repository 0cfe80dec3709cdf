/**
 * Rules as short text, in the words of nft(8).
 *
 * The text is for messages: it is cut at 100 characters, and what is unknown here is printed by its
 * kind alone.
 */
import { AS_TEXT, type Expression, fieldsOf, listOf, type Rule, textOf } from './ruleset.js';

const MAX_LENGTH = 100;

/** @returns for example `udp dport 4789 counter snat to 10.1.0.9` */
export function ruleText({ expressions }: Rule): string {
  return cut(expressions.map(expressionText).filter(Boolean).join(' '));
}

/** @returns for example `snat to 10.1.0.9` */
export function expressionText({ kind, body }: Expression): string {
  switch (kind) {
    case AS_TEXT:
      return cut(textOf(body));
    case 'match':
      return matchText(body);
    case 'vmap':
      return cut(`${valueText(fieldsOf(body).key)} vmap ${valueText(fieldsOf(body).data)}`);
    case 'counter':
    case 'quota':
    case 'limit':
      return typeof body === 'string' ? `${kind} name ${body}` : kind;
    case 'jump':
    case 'goto':
      return `${kind} ${textOf(fieldsOf(body).target)}`;
    case 'snat':
    case 'dnat':
    case 'redirect':
    case 'tproxy':
    case 'dup':
      return addressedText(kind, body);
    case 'mangle':
      return `${valueText(fieldsOf(body).key)} set ${valueText(fieldsOf(body).value)}`;
    case 'xt':
      return textOf(fieldsOf(body).name) || kind;
    default:
      return kind;
  }
}

function matchText(body: unknown): string {
  const { left, op, right } = fieldsOf(body);
  const operator = op === '==' || op === 'in' ? '' : `${textOf(op)} `;
  return cut(`${valueText(left)} ${operator}${valueText(right)}`);
}

function addressedText(kind: string, body: unknown): string {
  const { addr, port } = fieldsOf(body);
  if (addr === undefined && port === undefined) return kind;
  const address = addr === undefined ? '' : valueText(addr);
  return cut(`${kind} to ${address}${port === undefined ? '' : `:${valueText(port)}`}`);
}

/** Fields of libnftables-json(5) that contain one name, and the order of their words. */
const WORDS: Readonly<Record<string, readonly string[]>> = {
  payload: ['protocol', 'field'],
  meta: ['key'],
  ct: ['dir', 'key'],
  fib: ['flags', 'result'],
  exthdr: ['name', 'field'],
  socket: ['key'],
};

function valueText(value: unknown): string {
  if (typeof value === 'string' || typeof value === 'number' || typeof value === 'boolean')
    return String(value);
  if (Array.isArray(value)) return value.map(valueText).join(',');
  const fields = fieldsOf(value);
  const [kind = ''] = Object.keys(fields);
  const body = fieldsOf(fields[kind]);
  if (WORDS[kind] !== undefined) {
    const words = WORDS[kind].map((word) => valueText(body[word] ?? '')).filter(Boolean);
    return [...(kind === 'payload' ? [] : [kind]), ...words].join(' ');
  }
  switch (kind) {
    case 'prefix':
      return `${valueText(body.addr)}/${valueText(body.len)}`;
    case 'range':
      return listOf(fields.range).map(valueText).join('-');
    case 'set':
      return `{ ${setText(listOf(fields.set))} }`;
    case 'concat':
      return listOf(fields.concat).map(valueText).join(' . ');
    case 'elem':
      return valueText(body.val);
    case '&':
    case '|':
    case '^':
      return listOf(fields[kind]).map(valueText).join(` ${kind} `);
    default:
      return kind;
  }
}

const MAX_ELEMENTS = 8;

function setText(elements: readonly unknown[]): string {
  const first = elements.slice(0, MAX_ELEMENTS).map(entryText);
  return (elements.length > MAX_ELEMENTS ? [...first, '…'] : first).join(', ');
}

/** Element of a set, or pair of a map. */
function entryText(entry: unknown): string {
  if (!Array.isArray(entry)) return valueText(entry);
  const [kind = ''] = Object.keys(fieldsOf(entry[1]));
  return `${valueText(entry[0])} : ${expressionText({ kind, body: fieldsOf(entry[1])[kind] })}`;
}

function cut(text: string): string {
  return text.length <= MAX_LENGTH ? text : `${text.slice(0, MAX_LENGTH - 1)}…`;
}
