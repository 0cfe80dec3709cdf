/**
 * Handling of frames that exceed the path to their peer.
 */
import t, { type Test } from 'tap';
import { FRAME_NEEDS_CSUM, GSO_TCPV4, GSO_TCPV6, GSO_UDP_L4 } from '../../../src/abi/batch.js';
import {
  V_FRAGMENTS,
  V_REPLICATED,
  V_TAP_RX_BYTES,
  V_TAP_RX_FRAMES,
  V_TAP_TX_FRAMES,
  V_TOO_BIG_DROP,
  V_TOO_BIG_FRAGMENT,
  V_TOO_BIG_ICMP,
} from '../../../src/exchange/counters.js';
import {
  BROADCAST,
  ethernet,
  ipv4Frame,
  ipv6Frame,
  macBytes,
  macNumber,
  macParts,
  type PacketOptions,
  TCP,
} from '../../support/frames.js';
import { concat, hex, patched } from '../../support/hex.js';
import { MemoryPlane } from '../../support/memory-plane.js';

const A = macNumber(1);
const B = macNumber(2);
const DF = 0x4000;
const TAG: [number, number][] = [[0x8100, 0x2005]];
/** Bytes of the Ethernet, IP and UDP headers in front of the payload. */
const UDP4 = 42;
const UDP6 = 62;

interface PlaneOptions {
  pathMtu?: number;
  packetMax?: number;
  peer?: string;
  df?: 'set' | 'unset' | 'inherit';
}

/** A plane with one peer; MAC B is behind that peer. */
function planeWith({ pathMtu = 1500, packetMax = 0, peer = '192.0.2.1', df = 'set' }: PlaneOptions = {}) {
  const plane = new MemoryPlane({ df });
  plane.addVni(0, 100, { packetMax });
  const peerIdx = plane.addPeer(0, peer, { pathMtu });
  plane.tables.fdb.learn(0, macParts(B).high, macParts(B).low, peerIdx, plane.tick);
  return plane;
}

interface Outcome {
  sent: number;
  /** The `df` column of the sent datagrams. */
  df: number[];
  answers: Uint8Array[];
  counted: { icmp: number; fragment: number; drop: number };
}

function outcome(plane: MemoryPlane, ...frames: Uint8Array[]): Outcome {
  plane.clear();
  for (const frame of frames) plane.fromTap(0, frame);
  plane.breathe();
  return {
    sent: plane.underlay.sent.length,
    df: plane.underlay.sent.map(({ df }) => df),
    answers: plane.overlay.written.map(({ bytes }) => bytes),
    counted: {
      icmp: plane.vniCell(0, V_TOO_BIG_ICMP),
      fragment: plane.vniCell(0, V_TOO_BIG_FRAGMENT),
      drop: plane.vniCell(0, V_TOO_BIG_DROP),
    },
  };
}

const SENT = { icmp: 0, fragment: 0, drop: 0 };
const ANSWERED = { icmp: 1, fragment: 0, drop: 0 };
const DROPPED = { icmp: 0, fragment: 0, drop: 1 };

/** A frame with a UDP packet of `len` bytes; the Ethernet header is not counted in `len`. */
const packet4 = (len: number, options: PacketOptions = {}) =>
  ipv4Frame(B, A, { fragment: DF, payloadLen: len - UDP4 + 14, ...options });
const packet6 = (len: number, options: PacketOptions = {}) =>
  ipv6Frame(B, A, { payloadLen: len - UDP6 + 14, ...options });
const raw = (len: number, type = 0x88b5) => ethernet(B, A, type, new Uint8Array(len));

t.test('a frame as long as the limit passes, and a frame of one byte more does not', async (t) => {
  const rows: [string, PlaneOptions, Uint8Array, Uint8Array][] = [
    ['IPv4 over IPv4', {}, packet4(1450), packet4(1451)],
    ['IPv4 over IPv6', { peer: '2001:db8::1' }, packet4(1430), packet4(1431)],
    ['IPv6 over IPv4', {}, packet6(1450), packet6(1451)],
    ['IPv6 over IPv6', { peer: '2001:db8::1' }, packet6(1430), packet6(1431)],
    ['a tag takes four bytes', {}, packet4(1446, { tags: TAG }), packet4(1447, { tags: TAG })],
    ['jumbo frames', { pathMtu: 9000 }, packet4(8950), packet4(8951)],
    ['--mtu', { packetMax: 1400 }, packet4(1400), packet4(1401)],
    [
      '--mtu with a tag: the tag is not counted',
      { packetMax: 1400 },
      packet4(1400, { tags: TAG }),
      packet4(1401, { tags: TAG }),
    ],
    ['--mtu above the path', { packetMax: 9000 }, packet4(1450), packet4(1451)],
  ];
  for (const [name, how, fits, exceeds] of rows) {
    t.match(outcome(planeWith(how), fits), { sent: 1, df: [0], answers: [], counted: SENT }, name);
    const plane = planeWith(how);
    t.match(outcome(plane, exceeds), { sent: 0, counted: ANSWERED }, `${name}: one byte more`);
    t.equal(plane.overlay.written.length, 1);
    t.same(plane.drops(0, 'encap'), { too_big: 1 });
    plane.checkIdentity(t, name);
  }
});

t.test('an IPv4 packet with DF is answered with ICMP fragmentation needed', async (t) => {
  const frame = packet4(1500, { tags: TAG });
  const plane = planeWith();
  const [answer] = outcome(plane, frame).answers;
  t.same(
    answer.slice(0, 18),
    concat(macBytes(A), macBytes(B), hex('81 00 20 05 08 00')),
    'the answer has swapped addresses and the tag of the frame',
  );
  t.same(answer.slice(26, 28), hex('40 01'), 'TTL, ICMP');
  t.same(
    answer.slice(30, 38),
    hex('0a 00 00 02  0a 00 00 01'),
    'the answer goes from the destination of the packet to its source',
  );
  t.same(answer.slice(38, 40), hex('03 04'));
  t.same(answer.slice(42, 46), hex('00 00 05 a6'), 'the MTU is 1446, because the tag is part of each frame');
  t.same(answer.slice(46), frame.slice(18, 18 + 548), 'the answer quotes the packet');
  t.equal(answer.length, 18 + 576);
  t.equal(plane.overlay.written[0].vniIdx, 0);
  t.equal(plane.vniCell(0, V_TAP_TX_FRAMES), 0, 'the answer does not count as a frame from a peer');
});

t.test('an IPv6 packet is answered with ICMPv6 packet too big', async (t) => {
  const frame = packet6(1500);
  const [answer] = outcome(planeWith(), frame).answers;
  t.same(answer.slice(0, 14), concat(macBytes(A), macBytes(B), hex('86 dd')));
  t.same(answer.slice(54, 56), hex('02 00'));
  t.same(answer.slice(58, 62), hex('00 00 05 aa'), 'MTU 1450');
  t.same(answer.slice(62), frame.slice(14, 14 + 1232));
  t.equal(answer.length, 14 + 1280);
});

t.test('the MTU in an answer to IPv6 is never below 1280', async (t) => {
  const mtuOf = (answer: Uint8Array) => Buffer.from(answer).readUInt32BE(58);
  for (const [pathMtu, mtu] of [
    [1331, 1281],
    [1330, 1280],
    [1329, 1280],
    [1280, 1280],
  ]) {
    const { answers } = outcome(planeWith({ pathMtu }), packet6(1500));
    t.equal(mtuOf(answers[0]), mtu, `a path of ${pathMtu}`);
  }
});

t.test(
  'if an IPv6 packet of at most 1280 bytes exceeds the path, its datagram is fragmented or dropped',
  async (t) => {
    const rows: [string, PlaneOptions, object][] = [
      ['DF set: dropped', { df: 'set' }, { sent: 0, answers: [], counted: DROPPED }],
      ['DF inherited: outer fragments', { df: 'inherit' }, { sent: 1, df: [2], answers: [], counted: SENT }],
      ['DF clear', { df: 'unset' }, { sent: 1, df: [2], answers: [], counted: SENT }],
    ];
    for (const [name, how, expected] of rows)
      for (const len of [1231, 1280])
        t.match(outcome(planeWith({ ...how, pathMtu: 1280 }), packet6(len)), expected, name);
    const limited = planeWith({ packetMax: 1200 });
    t.match(
      outcome(limited, packet6(1280)),
      { sent: 1, df: [0], counted: SENT },
      'a packet above --mtu passes if the path carries it',
    );
  },
);

t.test('frames that must be neither answered nor fragmented are dropped', async (t) => {
  const icmp = (type: number) => patched(packet4(1451, { protocol: 1 }), 34, type);
  const icmpv6 = (type: number) => patched(packet6(1451, { protocol: 58 }), 54, type);
  const from4 = (...from: number[]) => packet4(1451, { from });
  const to4 = (...to: number[]) => packet4(1451, { to });
  const at6 = (off: number, ...bytes: number[]) => patched(packet6(1451), off, ...bytes);
  const rows: [string, Uint8Array][] = [
    ['no IP', raw(1451)],
    ['IPv4 in name only', raw(1451, 0x0800)],
    ['IPv6 in name only', raw(1451, 0x86dd)],
    ['three tags', packet4(1451, { tags: [...TAG, ...TAG, ...TAG] })],
    ['too long only because of padding', concat(packet4(1400), new Uint8Array(100))],
    ['a later fragment with DF', packet4(1451, { fragment: DF | 100 })],
    ['unreachable', icmp(3)],
    ['source quench', icmp(4)],
    ['redirect', icmp(5)],
    ['time exceeded', icmp(11)],
    ['parameter problem', icmp(12)],
    ['from 0.0.0.0', from4(0, 0, 0, 0)],
    ['from loopback', from4(127, 0, 0, 1)],
    ['from a group', from4(224, 0, 0, 1)],
    ['from broadcast', from4(255, 255, 255, 255)],
    ['to a group', to4(239, 1, 2, 3)],
    ['to broadcast', to4(255, 255, 255, 255)],
    ['ICMPv6 unreachable', icmpv6(1)],
    ['ICMPv6 too big', icmpv6(2)],
    ['ICMPv6 redirect', icmpv6(137)],
    ['from an IPv6 group', at6(22, 0xff)],
    ['from ::', at6(22, ...new Array<number>(16).fill(0))],
    ['from ::1', at6(22, ...new Array<number>(15).fill(0), 1)],
    ['to an IPv6 group', at6(38, 0xff, 2)],
    ['a broken header chain', patched(packet6(1451), 20, 0, 64).fill(0xff, 55, 56)],
    [
      'a later IPv6 fragment',
      concat(patched(packet6(1451), 20, 44).slice(0, 54), hex('11 00 00 10'), new Uint8Array(1407)),
    ],
    [
      'the first fragment of an ICMPv6 error message',
      concat(
        patched(packet6(1451), 20, 44).slice(0, 54),
        hex('3a 00 00 01 00 00 00 01 01'),
        new Uint8Array(1402),
      ),
    ],
    ['to a group MAC', ethernet('01:00:5e:00:00:01', A, 0x0800, packet4(1451).slice(14))],
    ['to the broadcast MAC', ethernet(BROADCAST, A, 0x0800, packet4(1451).slice(14))],
    ['from a group MAC', ethernet(B, '01:00:5e:00:00:01', 0x0800, packet4(1451).slice(14))],
    ['from the all-zero MAC', ethernet(B, '00:00:00:00:00:00', 0x0800, packet4(1451).slice(14))],
  ];
  for (const [name, frame] of rows) {
    const plane = planeWith();
    t.match(outcome(plane, frame), { sent: 0, answers: [], counted: DROPPED }, name);
    t.equal(plane.overlay.written.length, 0, name);
    t.same(plane.drops(0, 'encap'), { too_big: 1 }, name);
    plane.checkIdentity(t, name);
  }
});

t.test('echo requests, first fragments and packets for unknown MACs are answered', async (t) => {
  const rows: [string, Uint8Array][] = [
    ['an echo request', patched(packet4(1451, { protocol: 1 }), 34, 8)],
    ['an IPv6 echo request', patched(packet6(1451, { protocol: 58 }), 54, 128)],
    ['a first fragment', packet4(1451, { fragment: DF | 0x2000 })],
    [
      'a first IPv6 fragment',
      concat(
        patched(packet6(1451), 20, 44).slice(0, 54),
        hex('11 00 00 01 00 00 00 01'),
        new Uint8Array(1403),
      ),
    ],
    ['TCP', packet4(1451, { protocol: TCP })],
    ['to an unknown MAC', ethernet(macNumber(9), A, 0x0800, packet4(1451).slice(14))],
  ];
  for (const [name, frame] of rows) {
    const { answers, counted } = outcome(planeWith(), frame);
    t.equal(answers.length, 1, name);
    t.same(counted, ANSWERED, name);
  }
});

t.test('answers are rate-limited per VNI, and packets beyond the limit count as dropped', async (t) => {
  const plane = planeWith();
  plane.addVni(1, 200);
  plane.addPeer(1, '192.0.2.1', { pathMtu: 1500 });
  const send = (vniIdx: number, count: number) => {
    plane.clear();
    for (let i = 0; i < count; i++) plane.fromTap(vniIdx, packet4(1500));
    plane.breathe();
    return plane.overlay.written.length;
  };
  plane.breathe();
  t.equal(send(0, 120), 50, 'a full bucket allows a burst of 50 answers');
  t.equal(plane.vniCell(0, V_TOO_BIG_ICMP), 50);
  t.equal(plane.vniCell(0, V_TOO_BIG_DROP), 70);
  t.same(plane.drops(0, 'encap'), { too_big: 120 });
  t.equal(send(0, 10), 0);
  t.equal(send(1, 60), 50, 'another VNI has its own limit');
  plane.nowMs += 7;
  plane.breathe();
  t.equal(send(0, 20), 7, 'the limit allows one more answer per millisecond');
  plane.nowMs += 3_000_000_000;
  plane.breathe();
  t.equal(send(0, 120), 50, 'the burst is available again after more than 2³¹ ms');
  plane.checkIdentity(t, 'limited');
});

t.test('an answer that the TAP refuses counts as a drop', async (t) => {
  const plane = planeWith();
  plane.overlay.writeStatus = -11;
  t.match(outcome(plane, packet4(1500)), { sent: 0, counted: DROPPED });
});

t.test('with outer DF clear, the kernel fragments datagrams', async (t) => {
  const rows: [string, PlaneOptions, Uint8Array, object][] = [
    ['unset: all', { df: 'unset' }, packet4(1500), { df: [2], counted: SENT }],
    ['unset: a datagram that fits is not marked', { df: 'unset' }, packet4(1450), { df: [1], counted: SENT }],
    ['unset: IPv6', { df: 'unset' }, packet6(1500), { df: [2], counted: SENT }],
    ['unset: no IP', { df: 'unset' }, raw(1500), { df: [2], counted: SENT }],
    ['unset, packetMax 9000', { df: 'unset', packetMax: 9000 }, packet4(9000), { df: [2], counted: SENT }],
    [
      'unset, above packetMax',
      { df: 'unset', packetMax: 9000 },
      packet4(9001),
      { sent: 0, counted: ANSWERED },
    ],
    ['inherit: IPv4 with DF', { df: 'inherit' }, packet4(1500), { sent: 0, counted: ANSWERED }],
    ['inherit: IPv4 without', { df: 'inherit' }, packet4(1500, { fragment: 0 }), { df: [2], counted: SENT }],
    ['inherit: IPv6', { df: 'inherit' }, packet6(1500), { sent: 0, counted: ANSWERED }],
    ['inherit: no IP', { df: 'inherit' }, raw(1500), { df: [2], counted: SENT }],
  ];
  for (const [name, how, frame, expected] of rows) t.match(outcome(planeWith(how), frame), expected, name);
  const { answers } = outcome(planeWith({ df: 'unset', packetMax: 9000 }), packet4(9001));
  t.equal(Buffer.from(answers[0]).readUInt16BE(40), 9000, 'the answer has the MTU of --mtu, not of the path');
});

t.test('each copy of a flood is judged by its own path', async (t) => {
  const plane = new MemoryPlane();
  plane.addVni(0, 100);
  const [wide, narrow] = [9000, 1500].map((pathMtu, i) => plane.addPeer(0, `192.0.2.${i + 1}`, { pathMtu }));
  plane.fromTap(0, ethernet(BROADCAST, A, 0x88b5, new Uint8Array(2000)));
  plane.breathe();
  t.same(
    plane.underlay.sent.map(({ peerIdx }) => peerIdx),
    [wide],
  );
  t.same(plane.drops(0, 'encap'), { too_big: 1 });
  t.equal(plane.vniCell(0, V_REPLICATED), 1);
  t.ok(narrow > wide);
  plane.checkIdentity(t, 'flood');
});

/** A VNI with one peer for each of these paths. */
function pathsOf(pathMtus: readonly number[]): MemoryPlane {
  const plane = new MemoryPlane();
  plane.addVni(0, 100);
  for (const [i, pathMtu] of pathMtus.entries()) plane.addPeer(0, `10.0.${i >> 8}.${i & 255}`, { pathMtu });
  return plane;
}

t.test('a flooded frame is answered only if no copy fits, with the MTU of the widest path', async (t) => {
  /** Next-hop MTU of an ICMP answer, and of an ICMPv6 answer. */
  const mtu4 = (answer: Uint8Array) => Buffer.from(answer).readUInt16BE(40);
  const mtu6 = (answer: Uint8Array) => Buffer.from(answer).readUInt32BE(58);
  const rows: [string, number[], Uint8Array, (answer: Uint8Array) => number, number[]][] = [
    ['the last copy fits', [...Array<number>(60).fill(1400), 9000], packet4(1500), mtu4, []],
    ['the first copy fits', [9000, ...Array<number>(60).fill(1400)], packet4(1500), mtu4, []],
    ['no copy fits', [1300, 1450, 1400, ...Array<number>(700).fill(1300)], packet4(1500), mtu4, [1400]],
    ['IPv6: a copy fits', [1400, 9000], packet6(1500), mtu6, []],
    ['IPv6: no copy fits', [1400, 1450, 1300], packet6(1500), mtu6, [1400]],
    ['one peer', [1400], packet4(1500), mtu4, [1350]],
  ];
  for (const [name, paths, frame, mtuOf, expected] of rows) {
    const plane = pathsOf(paths);
    plane.fromTap(0, frame);
    plane.breathe();
    const answers = plane.overlay.written.map(({ bytes }) => mtuOf(bytes));
    t.same(answers, expected, name);
    t.equal(plane.vniCell(0, V_TOO_BIG_ICMP), expected.length, name);
    plane.checkIdentity(t, name);
  }
});

const superframe = (gsoType: number, gsoSize: number, csumStart = 34) => ({
  gsoType,
  gsoSize,
  csumStart,
  csumOff: gsoType === GSO_UDP_L4 ? 6 : 16,
  flags: FRAME_NEEDS_CSUM,
});

function superOutcome(
  plane: MemoryPlane,
  bytes: Uint8Array,
  columns: ReturnType<typeof superframe>,
): Outcome {
  plane.overlay.waiting.push({ vniIdx: 0, bytes, superframe: columns });
  return outcome(plane);
}

t.test('a superframe is judged by its segments', async (t) => {
  const tcp4 = (fragment: number) =>
    ipv4Frame(B, A, { protocol: TCP, payloadLen: 14_000, postponed: true, fragment });
  const tcp6 = ipv6Frame(B, A, { protocol: TCP, payloadLen: 14_000, postponed: true });
  const rows: [string, Uint8Array, ReturnType<typeof superframe>, object][] = [
    ['TCP that fits', tcp4(DF), superframe(GSO_TCPV4, 1410), { sent: 1, counted: SENT }],
    [
      'TCP with DF',
      tcp4(DF),
      superframe(GSO_TCPV4, 1411),
      { sent: 0, counted: { icmp: 10, fragment: 0, drop: 0 } },
    ],
    ['TCP over IPv6 that fits', tcp6, superframe(GSO_TCPV6, 1390, 54), { sent: 1, counted: SENT }],
    [
      'TCP over IPv6',
      tcp6,
      superframe(GSO_TCPV6, 1400, 54),
      { sent: 0, counted: { icmp: 10, fragment: 0, drop: 0 } },
    ],
    ['shorter than one segment', tcp4(DF), superframe(GSO_TCPV4, 20_000), { sent: 0, counted: ANSWERED }],
  ];
  for (const [name, bytes, columns, expected] of rows) {
    const plane = planeWith();
    t.match(superOutcome(plane, bytes, columns), expected, name);
    t.equal(
      plane.overlay.written.length,
      plane.underlay.sent.length === 0 ? 1 : 0,
      'the superframe gets one answer, not one per segment',
    );
    plane.checkIdentity(t, name);
  }
});

t.test('TCP superframes without DF get smaller segments', async (t) => {
  const bytes = ipv4Frame(B, A, { protocol: TCP, payloadLen: 14_600, postponed: true });
  const plane = planeWith();
  const { sent } = superOutcome(plane, bytes, superframe(GSO_TCPV4, 1460));
  t.equal(sent, 1);
  t.match(plane.underlay.sent[0], { gsoSize: 1410, segCount: 11, csumStart: 42 });
  t.same(plane.underlay.sent[0].bytes.slice(8), bytes, 'no byte of the superframe is changed');
  t.equal(plane.vniCell(0, V_TOO_BIG_FRAGMENT), 10);
  t.equal(plane.vniCell(0, V_TAP_RX_FRAMES), 11);
  t.equal(plane.vniCell(0, V_TAP_RX_BYTES), 14_600 + 11 * 54);
  t.equal(plane.vniCell(0, V_FRAGMENTS), 0, 'smaller segments do not count as fragments');
  plane.checkIdentity(t, 'cut');
  const least = planeWith({ packetMax: 128 });
  t.match(superOutcome(least, bytes, superframe(GSO_TCPV4, 1460)), { sent: 1 });
  t.equal(least.underlay.sent[0].gsoSize, 88);
  const less = planeWith({ packetMax: 127 });
  t.match(superOutcome(less, bytes, superframe(GSO_TCPV4, 1460)), { sent: 0 }, 'segments below 88 bytes');
  t.ok((less.drops(0, 'encap').too_big ?? 0) > 0);
  const many = ipv4Frame(B, A, { protocol: TCP, payloadLen: 60_000, postponed: true });
  t.match(superOutcome(planeWith({ packetMax: 275 }), many, superframe(GSO_TCPV4, 1460)), { sent: 1 });
  t.match(
    superOutcome(planeWith({ packetMax: 273 }), many, superframe(GSO_TCPV4, 1460)),
    { sent: 0 },
    'more than 256 segments',
  );
  const header = ipv4Frame(B, A, {
    protocol: TCP,
    payloadLen: 14_600,
    postponed: true,
    tcpOptions: new Uint8Array(40),
  });
  const nothingLeft = planeWith({ packetMax: 80 });
  t.match(
    superOutcome(nothingLeft, header, superframe(GSO_TCPV4, 1460)),
    { sent: 0 },
    'headers alone are too long',
  );
});

t.test('oversized superframes whose columns contradict their headers are dropped', async (t) => {
  const bytes = ipv4Frame(B, A, { protocol: TCP, payloadLen: 4000, postponed: true });
  const udp = ipv4Frame(B, A, { payloadLen: 4000, postponed: true });
  const rows: [string, Uint8Array, ReturnType<typeof superframe>][] = [
    ['TCP: no size', bytes, superframe(GSO_TCPV4, 0)],
    ['TCP: headers at offset 5,000', bytes, superframe(GSO_TCPV4, 1460, 5000)],
    ['UDP: no size', udp, superframe(GSO_UDP_L4, 0)],
    ['UDP: headers at offset 38', udp, superframe(GSO_UDP_L4, 1472, 38)],
    ['UDP: the frame is TCP', bytes, superframe(GSO_UDP_L4, 1472)],
    ['UDP: no postponed checksum', udp, { ...superframe(GSO_UDP_L4, 1472), flags: 0 }],
    ['UDP: a fragment', patched(udp, 20, 0x20), superframe(GSO_UDP_L4, 1472)],
  ];
  for (const [name, frame, columns] of rows) {
    const plane = planeWith();
    t.match(superOutcome(plane, frame, columns), { sent: 0, answers: [] }, name);
    t.ok(plane.vniCell(0, V_TOO_BIG_DROP) > 0, name);
    plane.checkIdentity(t, name);
  }
});

t.test('random bytes in oversized frames keep the counters consistent', async (t: Test) => {
  const plane = planeWith({ pathMtu: 1300 });
  let state = 1;
  const random = () => (state = (Math.imul(state, 1664525) + 1013904223) >>> 0) >>> 24;
  const bases = [
    packet4(1400),
    packet4(1400, { fragment: 0 }),
    packet6(1400),
    packet4(1400, { tags: TAG, fragment: 0 }),
  ];
  for (let round = 0; round < 4000; round++) {
    const frame = bases[round & 3].slice();
    for (let change = random() % 6; change >= 0; change--) frame[12 + (random() % 60)] = random();
    plane.fromTap(0, frame);
    plane.breathe();
    plane.nowMs += 1;
    plane.checkIdentity(t, `round ${round}`);
    for (const { bytes } of plane.underlay.sent)
      if (bytes.length > 1300 - 28) t.fail(`round ${round}: ${bytes.length} bytes were sent`);
    plane.clear();
    if (!t.passing()) return;
  }
  t.same(Object.keys(plane.drops(0, 'encap')), ['too_big']);
  for (const cell of [V_TOO_BIG_ICMP, V_TOO_BIG_FRAGMENT, V_TOO_BIG_DROP])
    t.ok(plane.vniCell(0, cell) > 100, 'every outcome occurred');
});
