/**
 * Operands of conditions (the right side of `ip saddr 192.0.2.0/24`) as intervals of keys.
 *
 * A domain maps the values of one kind of field to keys: addresses to hexadecimal digits, names of
 * protocols to numbers. Values that a domain does not know leave the operand incomplete, and a
 * condition on an incomplete operand is never certain not to match.
 */
import type { IpAddress } from '../../wire/ip-address.js';
import { type Interval, type Intervals, point, sorted, startingWith } from './intervals.js';
import { type Chain, type Elements, fieldsOf, isStatefulElement, type Ruleset } from './ruleset.js';

export interface Domain {
  /** @returns undefined for a value that is unknown here */
  readonly interval: (value: unknown) => Interval | undefined;
}

export interface Operand {
  readonly ranges: Intervals;
  /** False: the operand may contain more values. */
  readonly isComplete: boolean;
  /** Elements may expire at any time. */
  readonly expires: boolean;
  /** The lookup of an element counts or limits. */
  readonly isStateful: boolean;
}

const UNKNOWN: Operand = { ranges: [], isComplete: false, expires: false, isStateful: false };
const UNKNOWN_STATEFUL: Operand = { ...UNKNOWN, isStateful: true };

export function addressKey({ family, bytes }: IpAddress): string {
  return Buffer.from(bytes.subarray(0, family === 4 ? 4 : 16)).toString('hex');
}

export const ADDRESS: Domain = domain(addressInterval);

export const DEVICE: Domain = domain((value) => {
  if (typeof value !== 'string') return undefined;
  return /[^\\]\*$|^\*$/.test(value) ? startingWith(value.slice(0, -1)) : point(value.replace(/\\\*$/, '*'));
});

export const NUMBER: Domain = domain((value) => (typeof value === 'number' ? point(value) : undefined));

/** Key of all names that a domain does not list. */
const OTHER = -1;

/** Numbers, and names of numbers. A name that is not listed is none of the listed ones. */
export function namesDomain(numbers: Readonly<Record<string, number>>): Domain {
  return domain((value) => {
    if (typeof value === 'number') return point(value);
    return typeof value === 'string' && value !== '*' ? point(numbers[value] ?? OTHER) : undefined;
  });
}

/** Flags by name or number. A flag that is not listed may be set. */
export function flagsDomain(numbers: Readonly<Record<string, number>>): Domain {
  const known = Object.values(numbers);
  return domain((value) => {
    const number = typeof value === 'string' ? numbers[value] : value;
    return typeof number === 'number' && known.includes(number) ? point(number) : undefined;
  });
}

/** Operands of one ruleset. Those with many elements are kept, because many packets meet them. */
export class Operands {
  readonly #made = new Map<Domain, Map<object, Operand>>();

  of(right: unknown, domain: Domain, { ruleset, chain }: Scope): Operand {
    if (typeof right === 'string' && right.startsWith('@')) {
      const set = ruleset.set(chain, right.slice(1));
      if (set === undefined || set.isDynamic) return set?.isStateful ? UNKNOWN_STATEFUL : UNKNOWN;
      return this.#kept(domain, set.elements, set);
    }
    if (Array.isArray(right)) return this.#kept(domain, right);
    const elements = fieldsOf(right).set;
    return Array.isArray(elements) ? this.#kept(domain, elements) : operandFrom([right], domain);
  }

  #kept(domain: Domain, elements: readonly unknown[], set?: Elements): Operand {
    let made = this.#made.get(domain);
    if (made === undefined) this.#made.set(domain, (made = new Map()));
    let operand = made.get(elements);
    if (operand === undefined) made.set(elements, (operand = operandFrom(elements, domain, set)));
    return operand;
  }
}

/** Where the names of sets are looked up. */
export interface Scope {
  readonly ruleset: Ruleset;
  readonly chain: Chain;
}

/** @returns the value of an element without its comment, timeout and statements */
export function plainElement(element: unknown): unknown {
  const { elem } = fieldsOf(element);
  return elem === undefined ? element : fieldsOf(elem).val;
}

function operandFrom(elements: readonly unknown[], { interval }: Domain, set?: Elements): Operand {
  const known: Interval[] = [];
  for (const element of elements) {
    const range = interval(plainElement(element));
    if (range !== undefined) known.push(range);
  }
  return {
    ranges: sorted(known),
    isComplete: known.length === elements.length,
    expires: set?.expires ?? false,
    isStateful: set?.isStateful ?? elements.some(isStatefulElement),
  };
}

/** @param scalar interval of a value that is no range */
function domain(scalar: Domain['interval']): Domain {
  return {
    interval: (value) => {
      const { range } = fieldsOf(value);
      if (!Array.isArray(range)) return scalar(value);
      const [first, last] = [scalar(range[0]), scalar(range[1])];
      return first && last && { lo: first.lo, hi: last.hi };
    },
  };
}

/** Address, or `{ "prefix": { "addr": …, "len": … } }`. */
function addressInterval(value: unknown): Interval | undefined {
  if (typeof value === 'string') {
    const key = addressKeyOf(value);
    return key === undefined ? undefined : point(key);
  }
  const { addr, len } = fieldsOf(fieldsOf(value).prefix);
  if (typeof addr !== 'string' || typeof len !== 'number') return undefined;
  const key = addressKeyOf(addr);
  return key === undefined ? undefined : prefixInterval(key, len);
}

/** nft prints 50,000 addresses of a set in canonical form, so this parser accepts no other form. */
function addressKeyOf(text: string): string | undefined {
  return text.includes(':') ? hexadecimalKey(text) : decimalKey(text);
}

function decimalKey(text: string): string | undefined {
  let key = '';
  let byte = 0;
  for (let i = 0; i <= text.length; i++) {
    const code = text.charCodeAt(i);
    if (code >= DIGIT_0 && code <= DIGIT_9) byte = byte * 10 + code - DIGIT_0;
    else if (byte > 255 || (code !== DOT && i < text.length)) return undefined;
    else {
      key += HEX[byte];
      byte = 0;
    }
  }
  return key.length === 8 ? key : undefined;
}

const DIGIT_0 = 0x30;
const DIGIT_9 = 0x39;
const DOT = 0x2e;
const HEX = Array.from({ length: 256 }, (_, byte) => byte.toString(16).padStart(2, '0'));

function hexadecimalKey(text: string): string | undefined {
  const keys = text.split('::').map(groupsKey);
  const [head, tail] = keys;
  if (head === undefined || keys.length > 2 || keys.includes(undefined)) return undefined;
  const key = tail === undefined ? head : head.padEnd(32 - tail.length, '0') + tail;
  return key.length === 32 ? key : undefined;
}

/** Groups of an IPv6 address; the last one may be an IPv4 address. */
function groupsKey(text: string): string | undefined {
  if (text === '') return '';
  const keys = text
    .split(':')
    .map((group) =>
      GROUP.test(group) ? group.padStart(4, '0') : group.includes('.') ? decimalKey(group) : undefined,
    );
  return keys.includes(undefined) ? undefined : keys.join('');
}

const GROUP = /^[0-9a-f]{1,4}$/;

/** @returns the addresses with the first `length` bits of the key */
export function prefixInterval(key: string, length: number): Interval {
  const digits = length >>> 2;
  const bits = length & 3;
  if (digits >= key.length) return point(key);
  const kept = key.slice(0, digits);
  const host = (1 << (4 - bits)) - 1;
  const digit = Number.parseInt(key[digits], 16);
  return {
    lo: (kept + (digit & ~host & 15).toString(16)).padEnd(key.length, '0'),
    hi: (kept + (digit | host).toString(16)).padEnd(key.length, 'f'),
  };
}
