/**
 * MSS clamp: the MSS of a SYN is lowered to what the path carries, in both directions.
 */
import t from 'tap';
import { FRAME_NEEDS_CSUM } from '../../../src/abi/batch.js';
import { V_MSS_CLAMPED } from '../../../src/exchange/counters.js';
import {
  ipv4Frame,
  ipv6Frame,
  macNumber,
  macParts,
  type PacketOptions,
  TCP,
  UDP,
} from '../../support/frames.js';
import { concat, hex } from '../../support/hex.js';
import { MemoryPlane } from '../../support/memory-plane.js';

const A = macNumber(1);
const B = macNumber(2);
const PEER = '192.0.2.1';
const SYN = 0x02;
const SYN_ACK = 0x12;
const MSS_1460 = hex('02 04 05 b4');
const LINUX = hex('02 04 05 b4 04 02 08 0a 00 00 00 01 00 00 00 00 01 03 03 07');
const TAG: [number, number][] = [[0x8100, 100]];

interface PlaneOptions {
  pathMtu?: number;
  packetMax?: number;
  peer?: string;
  df?: 'set' | 'unset' | 'inherit';
  mssClamp?: boolean;
}

function planeWith({
  pathMtu = 1500,
  packetMax = 0,
  peer = PEER,
  ...options
}: PlaneOptions = {}): MemoryPlane {
  const plane = new MemoryPlane(options);
  plane.addVni(0, 100, { packetMax });
  const peerIdx = plane.addPeer(0, peer, { pathMtu });
  plane.tables.fdb.learn(0, macParts(B).high, macParts(B).low, peerIdx, plane.tick);
  return plane;
}

const syn = (options: PacketOptions = {}): PacketOptions => ({
  protocol: TCP,
  flags: SYN,
  tcpOptions: MSS_1460,
  payloadLen: 0,
  ...options,
});

function sent(plane: MemoryPlane, frame: Uint8Array): Uint8Array {
  plane.clear();
  plane.fromTap(0, frame);
  plane.breathe();
  return plane.underlay.sent[0].bytes.slice(8);
}

function received(plane: MemoryPlane, frame: Uint8Array, peer = PEER): Uint8Array {
  plane.clear();
  plane.fromPeer(peer, 100, frame);
  plane.breathe();
  return plane.overlay.written[0].bytes;
}

/** The frame that its sender would have sent with that MSS, including the checksum. */
const expected = (make: typeof ipv4Frame, options: PacketOptions, mss: number, at = 2) => {
  const tcpOptions = options.tcpOptions!.slice();
  tcpOptions.set([mss >>> 8, mss & 0xff], at);
  return make(B, A, { ...options, tcpOptions });
};

t.test('the MSS of every SYN and SYN-ACK is clamped in both directions', async (t) => {
  const rows: [string, typeof ipv4Frame, PacketOptions, PlaneOptions, number][] = [
    ['IPv4 over IPv4', ipv4Frame, {}, {}, 1410],
    ['IPv6 over IPv4', ipv6Frame, {}, {}, 1390],
    ['IPv4 over IPv6', ipv4Frame, {}, { peer: '2001:db8::1' }, 1390],
    ['IPv6 over IPv6', ipv6Frame, {}, { peer: '2001:db8::1' }, 1370],
    ['tagged', ipv4Frame, { tags: TAG }, {}, 1406],
    ['tagged twice', ipv6Frame, { tags: [...TAG, ...TAG] }, {}, 1382],
    ['SYN-ACK', ipv4Frame, { flags: SYN_ACK }, {}, 1410],
    ['SYN with ECN', ipv4Frame, { flags: 0xc2 }, {}, 1410],
    ['with the options of Linux', ipv4Frame, { tcpOptions: LINUX }, {}, 1410],
    ['with data (fast open)', ipv4Frame, { payloadLen: 300 }, {}, 1410],
    ['with IP options', ipv4Frame, { ipOptions: hex('94 04 00 00') }, {}, 1410],
    ['with --mtu', ipv4Frame, {}, { packetMax: 1300 }, 1260],
    ['with --mtu, tagged', ipv4Frame, { tags: TAG }, { packetMax: 1300 }, 1260],
    ['outer DF clear without --mtu: the path decides', ipv4Frame, {}, { df: 'unset' }, 1410],
    [
      'outer DF inherited, wide --mtu: the path decides',
      ipv4Frame,
      {},
      { df: 'inherit', packetMax: 9000 },
      1410,
    ],
    ['the smallest clamped MSS', ipv4Frame, {}, { packetMax: 68 }, 48],
  ];
  for (const [name, make, more, how, mss] of rows) {
    const options = syn(more);
    const plane = planeWith(how);
    const outward = sent(plane, make(B, A, options));
    t.same(outward, expected(make, options, mss), `${name}: out`);
    const inward = received(plane, make(B, A, options), how.peer);
    t.same(inward, expected(make, options, mss), `${name}: in`);
    t.equal(plane.vniCell(0, V_MSS_CLAMPED), 2, name);
  }
});

t.test('a SYN behind an extension header is clamped', async (t) => {
  const extension = Uint8Array.of(TCP, 0, 1, 4, 0, 0, 0, 0);
  const options = { ...syn(), extension };
  const frame = sent(planeWith(), ipv6Frame(B, A, options));
  t.same(frame, expected(ipv6Frame, options, 1390));
});

t.test('the checksum is updated for an MSS option at an odd offset', async (t) => {
  for (const from of [1461, 0x1000, 0xffff, 0x0600]) {
    const tcpOptions = concat(hex('01 02 04'), Uint8Array.of(from >>> 8, from & 0xff), hex('01 01 00'));
    const options = syn({ tcpOptions });
    t.same(sent(planeWith(), ipv4Frame(B, A, options)), expected(ipv4Frame, options, 1410, 3), `${from}`);
  }
});

t.test('SYNs whose MSS fits and all other frames are unchanged', async (t) => {
  const rows: [string, Uint8Array, PlaneOptions][] = [
    ['an MSS that fits', ipv4Frame(B, A, syn({ tcpOptions: hex('02 04 05 82') })), {}],
    ['a smaller MSS', ipv4Frame(B, A, syn({ tcpOptions: hex('02 04 02 18') })), {}],
    ['no MSS option', ipv4Frame(B, A, syn({ tcpOptions: new Uint8Array(0) })), {}],
    ['an option of length zero', ipv4Frame(B, A, syn({ tcpOptions: hex('08 00 00 00 02 04 05 b4') })), {}],
    ['no SYN', ipv4Frame(B, A, syn({ flags: 0x10 })), {}],
    ['UDP with the same bytes', ipv4Frame(B, A, { protocol: UDP, payloadLen: 64 }), {}],
    ['a later fragment', ipv4Frame(B, A, syn({ fragment: 0x00b9 })), {}],
    ['clamp off', ipv4Frame(B, A, syn()), { mssClamp: false }],
    ['outer DF clear with --mtu 9000', ipv4Frame(B, A, syn()), { df: 'unset', packetMax: 9000 }],
    ['a wider path', ipv4Frame(B, A, syn()), { pathMtu: 1550 }],
  ];
  for (const [name, frame, how] of rows) {
    const plane = planeWith(how);
    t.same(sent(plane, frame), frame, `${name}: out`);
    t.same(received(plane, frame), frame, `${name}: in`);
    t.equal(plane.vniCell(0, V_MSS_CLAMPED), 0, name);
  }
});

t.test('no byte of a truncated frame is changed', async (t) => {
  for (const make of [ipv4Frame, ipv6Frame]) {
    const whole = make(B, A, syn({ tcpOptions: LINUX }));
    for (let len = 14; len < whole.length; len++) {
      const cut = whole.slice(0, len);
      t.same(received(planeWith(), cut), cut, `${len} bytes`);
    }
  }
});

t.test(
  'a postponed checksum stays postponed and unchanged, because it does not cover the options',
  async (t) => {
    const options = syn({ postponed: true });
    const plane = planeWith();
    const inward = received(plane, ipv4Frame(B, A, options));
    t.same(inward, expected(ipv4Frame, options, 1410));
    t.equal(plane.overlay.written[0].flags & FRAME_NEEDS_CSUM, FRAME_NEEDS_CSUM);
  },
);

t.test('a stripped tag does not reduce the MSS', async (t) => {
  const plane = new MemoryPlane();
  plane.addVni(0, 100, { vlan: 'strip' });
  plane.addPeer(0, PEER, { pathMtu: 1500 });
  const inward = received(plane, ipv4Frame(B, A, syn({ tags: TAG })));
  t.same(inward, expected(ipv4Frame, syn(), 1410));
});

t.test(
  'all copies of a flooded SYN are clamped to the narrowest path, and the clamp counts once',
  async (t) => {
    const plane = planeWith();
    plane.addPeer(0, '192.0.2.2', { pathMtu: 1400 });
    plane.addPeer(0, '192.0.2.3', { pathMtu: 1450 });
    plane.fromTap(0, ipv4Frame(macNumber(9), A, syn()));
    plane.breathe();
    t.equal(plane.underlay.sent.length, 3);
    for (const { bytes } of plane.underlay.sent)
      t.same(bytes.slice(8 + 14), expected(ipv4Frame, syn(), 1310).slice(14));
    t.equal(plane.vniCell(0, V_MSS_CLAMPED), 1);
  },
);

t.test('a SYN without a target is dropped, and the second SYN from a stranger is clamped', async (t) => {
  const plane = new MemoryPlane();
  plane.addVni(0, 100, { accept: 'any' });
  const frame = ipv4Frame(B, A, syn());
  plane.fromTap(0, frame);
  plane.breathe();
  t.same(plane.drops(0, 'encap'), { no_tx_target: 1 });
  t.same(
    received(plane, frame, '198.51.100.7'),
    frame,
    'the first SYN of a stranger passes unchanged, because its path is unknown',
  );
  t.same(
    received(plane, frame, '198.51.100.7'),
    expected(ipv4Frame, syn(), 1410),
    'the second SYN is clamped, because the stranger has a row',
  );
});
