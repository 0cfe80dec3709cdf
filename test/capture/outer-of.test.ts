import t from 'tap';
import { outerOf, type Peer } from '../../src/capture/outer-of.js';
import type { Captured } from '../../src/exchange/capture-ring.js';
import { formatIpAddress, parseIpAddress } from '../../src/wire/ip-address.js';

const NOTHING = { tos: 4, len: 0, bytes: new Uint8Array(0) };

function peer(text: string, port = 4789): Peer {
  const { family, bytes } = parseIpAddress(text)!;
  return { address: { text, family, bytes, port } };
}

function makeOuter() {
  const rows = new Map([
    [7, peer('192.0.2.7')],
    [8, peer('2001:db8::8', 8472)],
  ]);
  let lookups = 0;
  const outer = outerOf({
    peerAt: (vniIdx, peerIdx) => {
      lookups++;
      return vniIdx === 3 ? rows.get(peerIdx) : undefined;
    },
    local: (_peer, family) => (family === 4 ? '192.0.2.1' : undefined),
    port: 4790,
    ttl: 64,
  });
  const of = (changes: Partial<Captured>) => {
    const standard = { atMs: 5000, received: false, peerIdx: 7, vniIdx: 3, sourcePort: 50_000, ...NOTHING };
    const { family, source, destination, tos, ttl } = outer({ ...standard, ...changes });
    const text = ({ bytes, port }: { bytes: Uint8Array; port: number }) =>
      `${formatIpAddress(family, bytes)} ${port}`;
    return [text(source), text(destination), tos, ttl];
  };
  return { of, rows, lookups: () => lookups };
}

t.test('each outer header has the known addresses, and zeros instead of unknown ones', async (t) => {
  const { of } = makeOuter();
  t.same(of({}), ['192.0.2.1 50000', '192.0.2.7 4789', 4, 64], 'a sent datagram has the configured TTL');
  t.same(of({ received: true }), ['192.0.2.7 50000', '192.0.2.1 4790', 4, 0], 'the received TTL is unknown');
  t.same(of({ peerIdx: 8 }), [':: 50000', '2001:db8::8 8472', 4, 64], 'an unknown local address is zero');
  t.same(of({ peerIdx: -1, received: true }), ['0.0.0.0 50000', '0.0.0.0 4790', 4, 0]);
  t.same(of({ vniIdx: 9, peerIdx: 9 }), ['0.0.0.0 50000', '0.0.0.0 0', 4, 64]);
});

t.test('peers are looked up once a second', async (t) => {
  const { of, rows, lookups } = makeOuter();
  for (let i = 0; i < 100; i++) of({ atMs: 5000 + i });
  t.equal(lookups(), 1);
  rows.set(7, peer('192.0.2.9'));
  t.same(of({ atMs: 6200 })[1], '192.0.2.9 4789', 'the row now belongs to another peer');
  t.equal(lookups(), 2);
});
