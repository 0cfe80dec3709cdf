import t from 'tap';
import { networkOffset } from '../../src/wire/ethernet.js';
import { isIpv4, packetEnd, transport } from '../../src/wire/ip-packet.js';
import { NEXT_HEADER_FRAGMENT, transportOffset, transportProtocol } from '../../src/wire/ipv6.js';
import { arpFrame, ipv4Frame, ipv6Frame, TCP, UDP } from '../support/frames.js';
import { concat, hex, patched } from '../support/hex.js';

const DST = '02:00:00:00:00:02';
const SRC = '02:00:00:00:00:01';
const NETWORK = 14;

/** End of the packet in a frame, and protocol and offset of its payload. */
function found(frame: Uint8Array): { end: number; protocol: number; at: number } {
  const off = networkOffset(frame, 0, frame.length);
  const end = packetEnd(frame, off, frame.length);
  const packed = transport(frame, off, end);
  return { end, protocol: transportProtocol(packed), at: off + transportOffset(packed) };
}

const families = [
  { name: 'IPv4', make: ipv4Frame, ipLen: 20 },
  { name: 'IPv6', make: ipv6Frame, ipLen: 40 },
] as const;

t.test('rejects a packet truncated at any length', async (t) => {
  for (const { name, make } of families) {
    const frame = make(DST, SRC, { payloadLen: 3 });
    for (let len = NETWORK; len < frame.length; len++)
      t.equal(packetEnd(frame, NETWORK, len), -1, `${name}: ${len} of ${frame.length}`);
    t.equal(packetEnd(frame, NETWORK, frame.length), frame.length, name);
  }
});

t.test('rejects frames without IP or with the wrong IP version', async (t) => {
  const v4 = ipv4Frame(DST, SRC);
  const v6 = ipv6Frame(DST, SRC);
  for (const [name, frame] of [
    ['ARP', arpFrame(DST, SRC)],
    ['IPv4 as IPv6', patched(v4, 12, 0x86, 0xdd)],
    ['IPv6 as IPv4', patched(v6, 12, 0x08, 0x00)],
    ['IPv4 as something else', patched(v4, 12, 0x88, 0xcc)],
  ] as const)
    t.equal(packetEnd(frame, NETWORK, frame.length), -1, name);
});

t.test('finds end and transport in both versions, with tags and padding', async (t) => {
  for (const { name, make, ipLen } of families)
    for (const protocol of [TCP, UDP])
      for (const tags of [[], [[0x8100, 7]]] as [number, number][][]) {
        const frame = make(DST, SRC, { protocol, tags, payloadLen: 5 });
        const ip = NETWORK + 4 * tags.length;
        t.equal(isIpv4(frame, ip), name === 'IPv4');
        t.same(
          found(concat(frame, new Uint8Array(9))),
          { end: frame.length, protocol, at: ip + ipLen },
          `${name}, protocol ${protocol}, ${tags.length} tags`,
        );
      }
});

t.test('finds the transport behind options and extension headers', async (t) => {
  const extension = hex('11 00 01 04 00 00 00 00');
  t.match(found(ipv6Frame(DST, SRC, { extension })), { protocol: UDP, at: NETWORK + 48 });
  const plain = ipv4Frame(DST, SRC, { payloadLen: 0 });
  const options = concat(
    patched(plain.slice(0, 34), NETWORK, 0x46, 0, 0, 32),
    hex('01 01 01 00'),
    plain.slice(34),
  );
  t.same(found(options), { end: 46, protocol: UDP, at: NETWORK + 24 });
});

t.test('a fragment has no transport header in either version', async (t) => {
  for (const fragment of [0x2000, 0x2001, 0x0001])
    t.match(found(ipv4Frame(DST, SRC, { fragment })), { protocol: NEXT_HEADER_FRAGMENT });
  t.match(found(ipv4Frame(DST, SRC, { fragment: 0x4000 })), { protocol: UDP }, 'DF alone is not a fragment');
  const extension = hex('11 00 00 01 00 00 00 07');
  const v6 = patched(ipv6Frame(DST, SRC, { extension }), NETWORK + 6, NEXT_HEADER_FRAGMENT);
  t.match(found(v6), { protocol: NEXT_HEADER_FRAGMENT });
});

t.test('rejects an IPv6 extension chain that is too long', async (t) => {
  const extension = concat(...Array(9).fill(hex('00 00 01 04 00 00 00 00')));
  const frame = ipv6Frame(DST, SRC, { extension });
  t.equal(transport(frame, NETWORK, packetEnd(frame, NETWORK, frame.length)), -1);
});
