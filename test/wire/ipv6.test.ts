import t from 'tap';
import * as ipv6 from '../../src/wire/ipv6.js';
import { concat, hex, patched } from '../support/hex.js';

const FIXED = hex(`
  60 01 23 45   # version 6, traffic class, flow label
  00 08 11 40   # 8 bytes of payload, UDP, hop limit 64
  fd 00 00 00 00 00 00 00 00 00 00 00 00 00 00 01
  fd 00 00 00 00 00 00 00 00 00 00 00 00 00 00 02
`);
const UDP = hex('c3 50 12 b5 00 08 00 00');
const packet = concat(FIXED, UDP);

const HOP_BY_HOP = 0;
const ROUTING = 43;
const FRAGMENT = 44;
const AUTHENTICATION = 51;
const NONE = 59;
const DESTINATION = 60;

/** A packet with the given extension headers, chained, and UDP at the end. */
function chained(...extensions: [kind: number, body: Uint8Array][]): Uint8Array {
  const kinds = [...extensions.map(([kind]) => kind), 17];
  const headers = extensions.map(([, body], i) => patched(body, 0, kinds[i + 1]));
  const payload = concat(...headers, UDP);
  return concat(patched(FIXED, 4, payload.length >>> 8, payload.length & 0xff, kinds[0]), payload);
}

function walk(b: Uint8Array, off = 0): { protocol: number; at: number } | undefined {
  const found = ipv6.transport(b, off, b.length);
  if (found < 0) return undefined;
  return { protocol: ipv6.transportProtocol(found), at: ipv6.transportOffset(found) };
}

const options = hex('00 00  01 04 00 00 00 00');
const longOptions = concat(hex('00 02'), new Uint8Array(22));
const atomicFragment = hex('00 00 00 00  de ad be ef');
const authentication = concat(hex('00 04'), new Uint8Array(22));

t.test('rejects a packet truncated at any length', async (t) => {
  for (let len = 0; len < packet.length; len++) {
    t.equal(ipv6.check(packet, 0, len), false, `${len} bytes`);
    t.equal(ipv6.check(packet.slice(0, len), 0, len), false, `${len} bytes, the buffer ends there`);
  }
  t.equal(ipv6.check(packet, 0, packet.length), true);
  for (let version = 0; version < 16; version++) {
    t.equal(
      ipv6.check(patched(packet, 0, version << 4), 0, packet.length),
      version === 6,
      `version ${version}`,
    );
  }
  t.equal(
    ipv6.check(patched(packet, 4, 0, 9), 0, packet.length),
    false,
    'payload longer than the bytes present',
  );
  t.equal(ipv6.check(patched(packet, 4, 0, 0), 0, packet.length), true, 'an empty payload is valid');
});

t.test('rejects an extension chain truncated at any length', async (t) => {
  const b = chained([HOP_BY_HOP, options], [ROUTING, longOptions], [FRAGMENT, atomicFragment]);
  const transportAt = b.length - UDP.length;
  for (let end = ipv6.IPV6_LEN; end < transportAt; end++) {
    t.equal(ipv6.transport(b, 0, end), -1, `end at ${end}, the buffer has more bytes`);
    const cut = concat(b.slice(0, end), new Uint8Array(200).fill(17));
    t.equal(ipv6.transport(cut, 0, end), -1, `end at ${end}, followed by other bytes`);
  }
  t.not(ipv6.transport(b, 0, transportAt), -1, 'the chain is complete even without a transport header');
});

t.test('bounds the number of extension headers', async (t) => {
  const many = (n: number) =>
    chained(...Array.from({ length: n }, () => [DESTINATION, options] as [number, Uint8Array]));
  t.same(walk(many(8)), { protocol: 17, at: 40 + 8 * 8 });
  t.equal(walk(many(9)), undefined);
  t.equal(walk(many(180)), undefined);
});

t.test('steps over extension headers of the maximum length', async (t) => {
  const longest = concat(hex('00 ff'), new Uint8Array(2046));
  const b = chained(...Array.from({ length: 8 }, () => [DESTINATION, longest] as [number, Uint8Array]));
  t.same(walk(b), { protocol: 17, at: 40 + 8 * 2048 });
});

t.test('computes the length of each kind of extension header', async (t) => {
  t.same(walk(packet), { protocol: 17, at: 40 });
  t.same(walk(chained([HOP_BY_HOP, options])), { protocol: 17, at: 48 });
  t.same(walk(chained([ROUTING, longOptions])), { protocol: 17, at: 64 });
  t.same(
    walk(chained([DESTINATION, options], [HOP_BY_HOP, options])),
    { protocol: 17, at: 56 },
    'headers are accepted in any order',
  );
  t.same(walk(chained([AUTHENTICATION, authentication])), { protocol: 17, at: 64 }, '(4 + 2) × 4 bytes');
  t.same(walk(concat(hex('eeeeee'), chained([HOP_BY_HOP, options])), 3), { protocol: 17, at: 48 });
  t.same(walk(patched(packet, 6, NONE)), { protocol: NONE, at: 40 });
  t.same(walk(patched(packet, 6, 50)), { protocol: 50, at: 40 }, 'ESP ends the walk');
});

t.test('fragments stop the walk, atomic fragments do not', async (t) => {
  t.same(walk(chained([FRAGMENT, atomicFragment])), { protocol: 17, at: 48 });
  for (let bit = 0; bit < 16; bit++) {
    const word = 1 << bit;
    const b = chained([HOP_BY_HOP, options], [FRAGMENT, patched(atomicFragment, 2, word >>> 8, word & 0xff)]);
    // Bits 1 and 2 are reserved; bit 0 is M, bits 3 to 15 are the offset.
    const reserved = bit === 1 || bit === 2;
    t.same(walk(b), reserved ? { protocol: 17, at: 56 } : { protocol: FRAGMENT, at: 48 }, `bit ${bit}`);
  }
});
