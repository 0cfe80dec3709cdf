/**
 * Tests of inner IPv4 fragments: the receiving host reassembles the packet that was sent.
 */
import t from 'tap';
import { FRAME_NEEDS_CSUM, GSO_UDP_L4 } from '../../../src/abi/batch.js';
import {
  P_TX_FRAMES,
  V_FLOODED_UNKNOWN,
  V_FRAGMENTS,
  V_REPLICATED,
  V_TAP_RX_BYTES,
  V_TAP_RX_FRAMES,
  V_TOO_BIG_FRAGMENT,
} from '../../../src/exchange/counters.js';
import { ipv4Frame, macNumber, macParts, onesSum, type PacketOptions } from '../../support/frames.js';
import { concat, hex } from '../../support/hex.js';
import { MemoryPlane, PendingUnderlay, vxlanHeader } from '../../support/memory-plane.js';
import { reassemble } from '../../support/reassembly.js';

const A = macNumber(1);
const B = macNumber(2);
const TAG: [number, number][] = [[0x8100, 0x2005]];
const MORE = 0x2000;

interface World {
  pathMtu?: number;
  packetMax?: number;
  underlay?: PendingUnderlay;
}

function planeWith({ pathMtu = 1500, packetMax = 0, underlay }: World = {}) {
  const plane = new MemoryPlane({ ...(underlay && { underlay }), tos: 'inherit' });
  plane.addVni(0, 100, { packetMax });
  const peerIdx = plane.addPeer(0, '192.0.2.1', { pathMtu });
  plane.tables.fdb.learn(0, macParts(B).high, macParts(B).low, peerIdx, plane.tick);
  return { plane, peerIdx };
}

/** The sent frames, without VXLAN header. */
function sentFrames(plane: MemoryPlane): Uint8Array[] {
  return plane.underlay.sent.map(({ bytes }) => bytes.slice(8));
}

t.test('the fragments of a packet reassemble to the same packet', async (t) => {
  const rows: [string, PacketOptions, World, number][] = [
    ['one byte too long', { payloadLen: 1451 - 28 }, {}, 2],
    ['a full Ethernet frame', { payloadLen: 1472 }, {}, 2],
    ['tagged', { payloadLen: 1472, tags: TAG }, {}, 2],
    ['tagged twice', { payloadLen: 1472, tags: [...TAG, ...TAG] }, {}, 2],
    [
      'with options',
      { payloadLen: 1400, ipOptions: hex('94 04 00 00 07 07 04 00 00 00 00 00') },
      { pathMtu: 1300 },
      2,
    ],
    ['many', { payloadLen: 60_000 }, { pathMtu: 576 }, 120],
    ['more than a batch', { payloadLen: 65_507 }, { packetMax: 300 }, 234],
    ['the smallest limit', { payloadLen: 1000 }, { packetMax: 68 }, 21],
    ['the largest packet', { payloadLen: 65_507 }, { pathMtu: 9000 }, 8],
  ];
  for (const [name, options, how, count] of rows) {
    const { plane, peerIdx } = planeWith(how);
    const frame = ipv4Frame(B, A, { id: 0xbeef, tos: 0xb9, ...options });
    plane.fromTap(0, frame);
    plane.breathe();
    const frames = sentFrames(plane);
    const linkLen = 14 + 4 * (options.tags?.length ?? 0);
    const largest = Math.max(...frames.map(({ length }) => length));
    t.equal(frames.length, count, name);
    t.ok(
      largest <= (how.packetMax ? how.packetMax + linkLen : (how.pathMtu ?? 1500) - 36),
      `${name}: ${largest}`,
    );
    for (const each of frames)
      t.same(
        each.slice(0, linkLen),
        frame.slice(0, linkLen),
        'each fragment has the Ethernet header of the packet',
      );
    const whole = reassemble(frames.map((each) => each.slice(linkLen)));
    t.same(Buffer.compare(whole, frame.slice(linkLen)), 0, `${name}: the fragments reassemble to the packet`);
    t.same(plane.underlay.sent[0].bytes.slice(0, 8), vxlanHeader(100));
    t.equal(
      new Set(plane.underlay.sent.map(({ srcPortIdx }) => srcPortIdx)).size,
      1,
      'all fragments have one source port',
    );
    t.ok(
      plane.underlay.sent.every(({ tos, df }) => tos === 0xb9 && df === 0),
      'all fragments have the same outer header',
    );
    t.equal(plane.vniCell(0, V_TAP_RX_FRAMES), 1);
    t.equal(
      plane.vniCell(0, V_TAP_RX_BYTES),
      frame.length,
      'the repeated headers do not count as bytes read from the TAP',
    );
    t.equal(plane.vniCell(0, V_FRAGMENTS), count - 1);
    t.equal(plane.vniCell(0, V_TOO_BIG_FRAGMENT), 1);
    t.equal(plane.peerCell(peerIdx, P_TX_FRAMES), count);
    plane.checkIdentity(t, name);
  }
});

t.test('a fragment is fragmented again', async (t) => {
  for (const [field, more] of [
    [MORE, true],
    [MORE | 185, true],
    [185, false],
  ] as const) {
    const { plane } = planeWith();
    const frame = ipv4Frame(B, A, { payloadLen: 1472, fragment: field });
    plane.fromTap(0, frame);
    plane.breathe();
    const fields = sentFrames(plane).map((each) => Buffer.from(each).readUInt16BE(20));
    t.same(fields, [MORE | field, (more ? MORE : 0) | ((field & 0x1fff) + 178)], `${field.toString(16)}`);
    const data = sentFrames(plane).map((each) => each.slice(34));
    t.same(concat(...data), frame.slice(34));
  }
});

t.test('earlier frames are sent before the fragments', async (t) => {
  const { plane } = planeWith();
  const small = (n: number) => ipv4Frame(B, A, { payloadLen: n });
  for (const frame of [small(1), small(1472), small(2)]) plane.fromTap(0, frame);
  plane.breathe();
  t.same(
    sentFrames(plane).map(({ length }) => length),
    [43, 1458, 90, 44],
  );
});

t.test('only the copies of a flood that exceed their path are fragmented', async (t) => {
  const plane = new MemoryPlane();
  plane.addVni(0, 100);
  for (const [i, pathMtu] of [1400, 9000, 1500].entries()) plane.addPeer(0, `192.0.2.${i + 1}`, { pathMtu });
  const frame = ipv4Frame(macNumber(9), A, { payloadLen: 2000 });
  plane.fromTap(0, frame);
  plane.breathe();
  t.equal(plane.underlay.sent.length, 2 + 1 + 2);
  t.equal(plane.vniCell(0, V_TAP_RX_FRAMES), 1);
  t.equal(plane.vniCell(0, V_TAP_RX_BYTES), frame.length);
  t.equal(plane.vniCell(0, V_FLOODED_UNKNOWN), 1);
  t.equal(plane.vniCell(0, V_REPLICATED), 2);
  t.equal(plane.vniCell(0, V_FRAGMENTS), 2);
  plane.checkIdentity(t, 'flood');
});

t.test('a UDP superframe is split into datagrams with checksums, then fragmented', async (t) => {
  const SIZE = 1472;
  for (const payloadLen of [2 * SIZE, 5 * SIZE + 100, 44 * SIZE]) {
    const { plane, peerIdx } = planeWith();
    const bytes = ipv4Frame(B, A, { payloadLen, id: 0xfffe, postponed: true, tags: TAG });
    const columns = {
      gsoType: GSO_UDP_L4,
      gsoSize: SIZE,
      csumStart: 38,
      csumOff: 6,
      flags: FRAME_NEEDS_CSUM,
    };
    plane.overlay.waiting.push({ vniIdx: 0, bytes, superframe: columns });
    plane.breathe();
    const byId = new Map<number, Uint8Array[]>();
    for (const packet of sentFrames(plane).map((frame) => frame.slice(18))) {
      const id = Buffer.from(packet).readUInt16BE(4);
      byId.set(id, [...(byId.get(id) ?? []), packet]);
    }
    const count = Math.ceil(payloadLen / SIZE);
    t.same(
      [...byId.keys()],
      Array.from({ length: count }, (_, k) => (0xfffe + k) & 0xffff),
      'the IPv4 identifications of the datagrams are consecutive',
    );
    const datagrams = [...byId.values()].map(reassemble);
    for (const [k, datagram] of datagrams.entries()) {
      const l4 = datagram.slice(20);
      const udpLen = 8 + Math.min(SIZE, payloadLen - k * SIZE);
      t.same(l4.slice(4, 6), Uint8Array.of(udpLen >>> 8, udpLen & 0xff), 'UDP length');
      const pseudo = concat(datagram.slice(12, 20), Uint8Array.of(0, 17, udpLen >>> 8, udpLen & 0xff));
      t.equal(onesSum(pseudo, l4), 0xffff, 'UDP checksum');
    }
    const payload = concat(...datagrams.map((datagram) => datagram.slice(28)));
    t.equal(Buffer.compare(payload, bytes.slice(46)), 0, 'payload');
    t.equal(plane.vniCell(0, V_TAP_RX_FRAMES), count);
    t.equal(plane.vniCell(0, V_TAP_RX_BYTES), payloadLen + count * 46);
    t.equal(plane.peerCell(peerIdx, P_TX_FRAMES), plane.underlay.sent.length);
    plane.checkIdentity(t, `${count} datagrams`);
  }
});

t.test('the length in the IP header of a UDP superframe is ignored', async (t) => {
  const SIZE = 1472;
  const payloadLen = 5 * SIZE + 100;
  const SECRET = Buffer.from('SECRET-OF-ANOTHER-TENANT');
  for (const ipLen of [0, 20, 28, 29, 576, 65535]) {
    const { plane } = planeWith();
    const other = ipv4Frame(B, A, { payloadLen: 40_000, postponed: true });
    for (let at = 42; at + SECRET.length < other.length; at += SECRET.length) other.set(SECRET, at);
    const columns = {
      gsoType: GSO_UDP_L4,
      gsoSize: SIZE,
      csumStart: 34,
      csumOff: 6,
      flags: FRAME_NEEDS_CSUM,
    };
    plane.overlay.waiting.push({ vniIdx: 0, bytes: other, superframe: columns });
    plane.breathe();
    plane.clear();
    const bytes = ipv4Frame(B, A, { payloadLen, postponed: true });
    bytes.set([ipLen >>> 8, ipLen & 0xff], 16);
    plane.overlay.waiting.push({ vniIdx: 0, bytes, superframe: columns });
    plane.breathe();
    const sent = sentFrames(plane);
    t.notOk(
      sent.some((frame) => Buffer.from(frame).includes(SECRET)),
      `length ${ipLen}: no bytes of another frame are sent`,
    );
    const total = sent.reduce((sum, frame) => sum + frame.length, 0);
    t.ok(total <= payloadLen + sent.length * 42, `length ${ipLen}: ${total} bytes`);
    plane.checkIdentity(t, `length ${ipLen}`);
  }
});

t.test('a superframe with a datagram longer than an IPv4 packet is dropped and counted', async (t) => {
  for (const [payloadLen, gsoSize, isDropped] of [
    [65_507, 65_507, false],
    [65_508, 65_507, false],
    [65_508, 65_508, true],
    [65_516, 0xffff, true],
  ] as const) {
    const { plane } = planeWith();
    const bytes = concat(
      ipv4Frame(B, A, { payloadLen: 5000, postponed: true }),
      new Uint8Array(payloadLen - 5000),
    );
    const columns = { gsoType: GSO_UDP_L4, gsoSize, csumStart: 34, csumOff: 6, flags: FRAME_NEEDS_CSUM };
    plane.overlay.waiting.push({ vniIdx: 0, bytes, superframe: columns });
    plane.breathe();
    t.equal(plane.underlay.sent.length === 0, isDropped, `${payloadLen} bytes by ${gsoSize}`);
    t.same(plane.drops(0, 'encap'), isDropped ? { too_big: 1 } : {});
    t.equal(plane.vniCell(0, V_TAP_RX_FRAMES), isDropped ? 1 : Math.ceil(payloadLen / gsoSize));
    plane.checkIdentity(t, `${payloadLen} bytes`);
  }
});

t.test('a computed UDP checksum of zero is sent as 0xffff', async (t) => {
  const SIZE = 1472;
  const bytes = ipv4Frame(B, A, { payloadLen: 2 * SIZE, postponed: true });
  const first = concat(
    bytes.slice(14, 34),
    bytes.slice(34, 38),
    Uint8Array.of(0x05, 0xc8, 0, 0),
    bytes.slice(42, 42 + SIZE),
  );
  const sum = onesSum(first.slice(12, 20), Uint8Array.of(0, 17, 0x05, 0xc8), first.slice(20));
  const fill = (0xffff - sum + ((bytes[42] << 8) | bytes[43])) % 0xffff;
  bytes.set([fill >>> 8, fill & 0xff], 42);
  const { plane } = planeWith();
  const columns = { gsoType: GSO_UDP_L4, gsoSize: SIZE, csumStart: 34, csumOff: 6, flags: FRAME_NEEDS_CSUM };
  plane.overlay.waiting.push({ vniIdx: 0, bytes, superframe: columns });
  plane.breathe();
  t.same(sentFrames(plane)[0].slice(40, 42), hex('ff ff'));
});

t.test('failed and pending sends of fragments are counted', async (t) => {
  const underlay = new PendingUnderlay();
  const { plane, peerIdx } = planeWith({ underlay });
  plane.fromTap(0, ipv4Frame(B, A, { payloadLen: 4000 }));
  plane.breathe();
  t.equal(plane.vniCell(0, V_FRAGMENTS), 0, 'no send has completed yet');
  underlay.answer(3);
  plane.breathe();
  t.equal(plane.vniCell(0, V_FRAGMENTS), 2);
  t.equal(plane.vniCell(0, V_TAP_RX_BYTES), 4042);
  plane.checkIdentity(t, 'later');
  underlay.sendStatus.set(peerIdx, -101);
  plane.fromTap(0, ipv4Frame(B, A, { payloadLen: 4000 }));
  plane.breathe();
  underlay.answer(3);
  plane.breathe();
  t.same(plane.drops(0, 'encap'), { no_route: 3 });
  plane.checkIdentity(t, 'failed');
});
