/** Bytes of messages and attributes; malformed ones first. */
import fc from 'fast-check';
import t from 'tap';
import { parseAddress } from '../../../src/host/netlink/addresses.js';
import { parseLink, parsePort, parseRemoval } from '../../../src/host/netlink/links.js';
import {
  attributesIn,
  join,
  type Message,
  messagesIn,
  NLM_F_CREATE,
  NLM_F_DUMP,
  nest,
  nested,
  Request,
  textOf,
  u8Of,
  u32Of,
} from '../../../src/host/netlink/message.js';
import { parseRoute } from '../../../src/host/netlink/routes.js';
import { concat, hex, patched } from '../../support/hex.js';
import { holds } from '../../support/properties.js';

const MESSAGE = hex(`
  14000000 10000500 07000000 00000000   # length 20, type 16, flags request and ack, sequence 7
  aabbccdd
`);

t.test('a message with an impossible length ends the list', async (t) => {
  t.same(messagesIn(new Uint8Array(0)), []);
  t.same(messagesIn(MESSAGE.subarray(0, 15)), [], 'a truncated header');
  t.same(messagesIn(MESSAGE.subarray(0, 19)), [], 'one byte short');
  for (const length of [0, 3, 15, 21, 255])
    t.same(messagesIn(patched(MESSAGE, 0, length)), [], `length ${length}`);
  t.same(messagesIn(patched(MESSAGE, 0, 0xff, 0xff, 0xff, 0xff)), [], 'length 4,294,967,295');
  const [first, ...rest] = messagesIn(concat(MESSAGE, patched(MESSAGE, 0, 3)));
  t.match(first, { type: 16, sequence: 7 });
  t.same(rest, [], 'messages before it remain');
});

t.test('messages are split at their padded lengths', async (t) => {
  const odd = hex(`
    11000000 02000000 08000000 00000000   # length 17, type 2
    ee 000000                             # one byte and padding
  `);
  const wanted: Message[] = [
    { type: 2, flags: 0, sequence: 8, body: Uint8Array.of(0xee) },
    { type: 16, flags: 5, sequence: 7, body: hex('aabbccdd') },
  ];
  t.same(messagesIn(concat(odd, MESSAGE)), wanted);
  t.same(messagesIn(concat(MESSAGE, odd.subarray(0, 17))), [wanted[1], wanted[0]], 'the last lacks padding');
  const offset = concat(hex('ff'), MESSAGE).subarray(1);
  t.same(messagesIn(offset), [wanted[1]], 'bytes in the middle of a buffer');
});

t.test('an attribute with an impossible length ends the list', async (t) => {
  const one = hex('0600 0300 6869 0000   # type 3, two bytes, padding');
  t.same([...attributesIn(one)], [[3, hex('6869')]]);
  t.same([...attributesIn(one.subarray(0, 6))], [[3, hex('6869')]], 'the last lacks padding');
  for (const length of [0, 3, 9, 255]) t.equal(attributesIn(patched(one, 0, length)).size, 0, `${length}`);
  t.equal(attributesIn(one.subarray(0, 3)).size, 0);
  t.equal(attributesIn(one.subarray(0, 5)).size, 0);
  t.equal(attributesIn(one, 8).size, 0, 'begins at the end');
  t.equal(attributesIn(one, 16).size, 0, 'begins beyond the end');
  t.same([...attributesIn(concat(one, hex('0000 0500')))], [[3, hex('6869')]]);
});

t.test('a nested attribute does not reach beyond its parent', async (t) => {
  const outer = hex(`
    0c00 1280             # length 12, type 18, nested
      0600 0100 6869 0000 # type 1
    0800 0400 01000000    # type 4
  `);
  t.same([...nested(attributesIn(outer), 18)], [[1, hex('6869')]]);
  const beyond = patched(outer, 4, 0x0c);
  t.equal(nested(attributesIn(beyond), 18).size, 0, 'a length that fits only into the message');
  t.equal(u32Of(attributesIn(beyond), 4), 1);
  t.equal(nested(attributesIn(outer), 99).size, 0, 'absent');
});

t.test('values of the wrong size are absent', async (t) => {
  const attributes = attributesIn(
    hex(`
      0400 0100             # empty
      0700 0200 010203 00   # three bytes
      0800 0300 ffffffff
      0c00 0400 0100000002000000
      0500 0580 2a 000000   # the flag "nested" is no part of the type
      0800 0600 6c6f0000    # "lo", zero, zero
      0600 0700 6c6f 0000   # "lo" without a zero
      0500 0800 ff 000000   # no UTF-8
    `),
  );
  t.equal(u8Of(attributes, 1), undefined);
  t.equal(u32Of(attributes, 1), undefined);
  t.equal(textOf(attributes, 1), '');
  t.equal(u32Of(attributes, 2), undefined);
  t.equal(u8Of(attributes, 2), 1);
  t.equal(u32Of(attributes, 3), 0xffffffff);
  t.equal(u32Of(attributes, 4), 1);
  t.equal(u8Of(attributes, 5), 42);
  t.equal(textOf(attributes, 6), 'lo');
  t.equal(textOf(attributes, 7), 'lo');
  t.equal(textOf(attributes, 8), '\ufffd');
  t.equal(u32Of(attributes, 9), undefined);
});

t.test('a request is encoded byte by byte', async (t) => {
  const request = new Request(16, NLM_F_CREATE, hex('00000000'))
    .u8(1, 2)
    .u32(2, -1)
    .text(3, 'é')
    .bytes(4, new Uint8Array(0))
    .nest(5, [nest(6, [])]);
  t.same(
    request.encode(0x01020304),
    hex(`
      38000000 1000 0504 04030201 00000000   # length 56, type 16, request, ack and create
      00000000                               # fixed part
      0500 0100 02 000000
      0800 0200 ffffffff
      0600 0300 c3a9 0000
      0400 0400
      0800 0580  0400 0680                   # nested
    `),
  );
  t.same(
    new Request(18, NLM_F_DUMP, Uint8Array.of(1)).encode(0),
    hex(`
      11000000 1200 0103 00000000 00000000   # length 17: a dump is not acknowledged
      01 000000
    `),
  );
});

const parsers = [parseLink, parsePort, parseRemoval, parseAddress, parseRoute];

t.test('no bytes make the parsers fail', async (t) => {
  await holds(2000, [fc.uint8Array({ maxLength: 200 })], (bytes) => {
    messagesIn(bytes);
    for (const parse of parsers) parse({ type: 16, flags: 0, sequence: 0, body: bytes });
  });
  t.pass('random bytes');
  const byte = fc.nat(255);
  const attribute = fc
    .tuple(fc.integer({ min: 0, max: 50 }), fc.integer({ min: 0, max: 40 }), fc.uint8Array({ maxLength: 36 }))
    .map(([type, length, value]) => concat(Uint8Array.of(length, 0, type, 0), value));
  const body = fc
    .tuple(fc.constantFrom(0, 2, 7, 10), byte, fc.array(attribute, { maxLength: 8 }))
    .map(([family, second, attributes]) => {
      const fixed = new Uint8Array(16);
      fixed.set([family, second]);
      return join([fixed, ...attributes]);
    });
  await holds(5000, [body], (bytes) => {
    for (const parse of parsers)
      for (const length of [bytes.length, bytes.length - 1])
        parse({ type: 16, flags: 0, sequence: 0, body: bytes.subarray(0, length) });
  });
  t.pass('random attributes');
});
