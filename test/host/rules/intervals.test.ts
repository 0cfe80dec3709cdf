/** Containment of interval lists, keys of addresses and devices, and rulesets of any shape. */
import assert from 'node:assert/strict';
import fc from 'fast-check';
import t from 'tap';
import {
  both,
  contained,
  either,
  type Interval,
  negated,
  sorted,
} from '../../../src/host/rules/intervals.js';
import { ADDRESS, addressKey, DEVICE } from '../../../src/host/rules/operand.js';
import { Ruleset } from '../../../src/host/rules/ruleset.js';
import { rulesAgainstShortcut } from '../../../src/host/rules/shortcut-rules.js';
import { makeIpAddress, parseIpAddress } from '../../../src/wire/ip-address.js';
import { holds } from '../../support/properties.js';
import { stockRuleset } from './judge.js';
import { OURS } from './kinds.js';

const span = fc.tuple(fc.nat(40), fc.nat(6)).map(([lo, length]): Interval => ({ lo, hi: lo + length }));
const spans = fc.array(span, { maxLength: 8 });

t.test('containment agrees with a comparison of all numbers', async () => {
  const numbers = (list: readonly Interval[]) =>
    new Set(
      list.flatMap(({ lo, hi }) =>
        Array.from({ length: Number(hi) - Number(lo) + 1 }, (_, i) => Number(lo) + i),
      ),
    );
  await holds(2000, [spans, spans], (first, second) => {
    const [values, ranges] = [sorted(first), sorted(second)];
    const [inValues, inRanges] = [numbers(values), numbers(ranges)];
    const shared = [...inValues].filter((number) => inRanges.has(number)).length;
    const found = contained(values, ranges);
    if (shared === 0) assert.equal(found, 'no');
    else if (found === 'yes') assert.equal(shared, inValues.size);
    else assert.equal(found, 'maybe');
    // Adjacent ranges that contain one value together are the only doubt.
    if (shared === inValues.size && shared > 0 && values.every(({ lo, hi }) => lo === hi))
      assert.equal(found, 'yes');
  });
});

t.test('three-valued logic', async (t) => {
  t.same(
    ['yes', 'maybe', 'no'].map((a) => negated(a as 'yes')),
    ['no', 'maybe', 'yes'],
  );
  t.equal(both('yes', 'maybe'), 'maybe');
  t.equal(both('maybe', 'no'), 'no');
  t.equal(either('maybe', 'no'), 'maybe');
  t.equal(either('maybe', 'yes'), 'yes');
});

t.test('keys of addresses are those of the address parser', async () => {
  const bytes = fc.uint8Array({ minLength: 16, maxLength: 16 });
  await holds(2000, [fc.constantFrom(4, 6) as fc.Arbitrary<4 | 6>, bytes], (family, bytes) => {
    const address = makeIpAddress(family, bytes);
    assert.deepEqual(ADDRESS.interval(address.text), { lo: addressKey(address), hi: addressKey(address) });
  });
});

t.test('prefixes contain the addresses with these first bits', async () => {
  const bytes = fc.uint8Array({ minLength: 16, maxLength: 16 });
  await holds(2000, [bytes, bytes, fc.nat(128)], (network, other, len) => {
    const address = makeIpAddress(6, network);
    const range = ADDRESS.interval({ prefix: { addr: address.text, len } })!;
    const isInside = (one: Uint8Array) =>
      [...Array(len).keys()].every(
        (bit) => ((one[bit >> 3] ^ network[bit >> 3]) & (0x80 >> (bit & 7))) === 0,
      );
    const key = addressKey(makeIpAddress(6, other));
    assert.equal(key >= range.lo && key <= range.hi, isInside(other));
    assert.ok(addressKey(address) >= range.lo && addressKey(address) <= range.hi);
  });
});

t.test('addresses and devices in the forms of nft', async (t) => {
  const key = (text: string) => ADDRESS.interval(text)?.lo;
  t.equal(key('0.0.0.0'), '00000000');
  t.equal(key('255.255.255.255'), 'ffffffff');
  t.equal(key('::'), '0'.repeat(32));
  t.equal(key('::ffff:192.0.2.1'), '00000000000000000000ffffc0000201');
  t.equal(key('2001:db8::1'), addressKey(parseIpAddress('2001:db8::1')!));
  for (const bad of [
    '',
    '1',
    '1.2.3',
    '1.2.3.256',
    '1.2.3.4.5',
    '1.2.3.x',
    ':',
    '1:2',
    '1::2::3',
    'fe80::1%u0',
    '*',
    '12345::',
  ])
    t.equal(ADDRESS.interval(bad), undefined, bad);
  t.equal(ADDRESS.interval(7), undefined);
  t.same(ADDRESS.interval({ range: ['10.0.0.1', '10.0.0.9'] }), { lo: '0a000001', hi: '0a000009' });
  t.same(DEVICE.interval('eth0'), { lo: 'eth0', hi: 'eth0' });
  t.same(DEVICE.interval('eth*'), { lo: 'eth', hi: 'eth\uffff' });
  t.same(DEVICE.interval('eth\\*'), { lo: 'eth*', hi: 'eth*' }, 'a star that is part of the name');
  t.equal(DEVICE.interval(3), undefined);
});

t.test('no ruleset of any shape is an exception', async () => {
  const stock = ['calico-nftables', 'kube-proxy-nftables', 'firewalld-masquerade', 'docker'].flatMap(
    stockRuleset,
  );
  const values = fc.oneof(
    fc.constantFrom(null, '', '@x', -1, 4789, 'ip', [], {}, [[]], { set: null }),
    fc.jsonValue(),
  );
  await holds(500, [fc.nat(stock.length - 1), fc.nat(), values], (which, depth, value) => {
    const elements = [...stock];
    elements[which] = structuredClone(stock[which]);
    replace(elements[which], depth, value);
    const found = rulesAgainstShortcut(new Ruleset(elements), OURS, 'flows');
    for (const obstacle of found) assert.equal(typeof obstacle.text, 'string');
  });
  await holds(500, [fc.array(fc.jsonValue())], (elements) => {
    assert.ok(rulesAgainstShortcut(new Ruleset(elements), OURS, 'flows').length >= 0);
  });
});

/** Replaces a value somewhere below an object. */
function replace(parent: unknown, choice: number, value: unknown): void {
  if (typeof parent !== 'object' || parent === null) return;
  const fields = parent as Record<string, unknown>;
  const keys = Object.keys(fields);
  if (keys.length === 0) return;
  const key = keys[choice % keys.length];
  const isDeeper = choice % 5 !== 0 && typeof fields[key] === 'object' && fields[key] !== null;
  if (isDeeper) replace(fields[key], Math.floor(choice / 5), value);
  else fields[key] = value;
}
