/**
 * ECN and DSCP through the tunnel (RFC 6040).
 */
import t from 'tap';
import { arpFrame, ipv4Frame, ipv6Frame, macNumber, type PacketOptions } from '../../support/frames.js';
import { concat } from '../../support/hex.js';
import { MemoryPlane, vxlanHeader } from '../../support/memory-plane.js';

const A = macNumber(1);
const B = macNumber(2);
const DSCP = 0xb8;
const CE = 3;
/** [inner][outer], binary; −1: dropped. RFC 6040 figure 4. */
const RESULT = [
  [0, 0, 0, -1],
  [1, 1, 1, 3],
  [2, 1, 2, 3],
  [3, 3, 3, 3],
];
const MAKERS: [string, (options: PacketOptions) => Uint8Array][] = [
  ['IPv4', (options) => ipv4Frame(B, A, options)],
  ['IPv4 tagged', (options) => ipv4Frame(B, A, { ...options, tags: [[0x8100, 5]] })],
  ['IPv6', (options) => ipv6Frame(B, A, options)],
];

function planeWith(options: ConstructorParameters<typeof MemoryPlane>[0] = {}): MemoryPlane {
  const plane = new MemoryPlane(options);
  plane.addVni(0, 100);
  plane.addPeer(0, '192.0.2.1');
  return plane;
}

t.test('decapsulation sets ECN as in RFC 6040 figure 4', async (t) => {
  for (const [name, make] of MAKERS)
    for (let inner = 0; inner < 4; inner++)
      for (let outer = 0; outer < 4; outer++) {
        const plane = planeWith();
        const datagram = concat(vxlanHeader(100), make({ tos: DSCP | inner }));
        plane.fromUnderlay('192.0.2.1', datagram, 0, 0x40 | outer);
        plane.breathe();
        const result = RESULT[inner][outer];
        const what = `${name}, ${inner} in ${outer}`;
        if (result < 0) {
          t.same(plane.overlay.written, [], what);
          t.same(plane.drops(0, 'decap'), { ip_tunnel_ecn: 1 }, what);
        } else t.same(plane.overlay.written[0].bytes, make({ tos: DSCP | result }), what);
        plane.checkIdentity(t, what);
      }
});

t.test('every frame of a train gets the ECN mark of the train', async (t) => {
  const plane = planeWith();
  const datagram = concat(vxlanHeader(100), ipv4Frame(B, A, { tos: 2 }));
  plane.fromUnderlay('192.0.2.1', concat(datagram, datagram, datagram), datagram.length, CE);
  plane.fromUnderlay('192.0.2.1', datagram, 0, 0);
  plane.breathe();
  const marked = plane.overlay.written.map(({ bytes }) => bytes[15] & 3);
  t.same(marked, [3, 3, 3, 2], 'frames outside the train are unchanged');
});

t.test('frames without an ECN field pass unchanged', async (t) => {
  const broken = ipv4Frame(B, A).fill(0x41, 14, 15);
  for (const frame of [arpFrame(B, A), broken, ipv4Frame(B, A).slice(0, 20), ipv6Frame(B, A).slice(0, 30)]) {
    const plane = planeWith();
    plane.fromUnderlay('192.0.2.1', concat(vxlanHeader(100), frame), 0, CE);
    plane.breathe();
    t.same(plane.overlay.written[0].bytes, frame);
  }
});

t.test('the source of a frame that is dropped because of ECN is learned', async (t) => {
  const plane = planeWith();
  plane.fromUnderlay('192.0.2.1', concat(vxlanHeader(100), ipv4Frame(B, A)), 0, CE);
  plane.breathe();
  plane.fromTap(0, ipv4Frame(A, B));
  plane.breathe();
  t.equal(plane.underlay.sent.length, 1);
});

t.test('encapsulation takes DSCP from --tos and ECN from the packet', async (t) => {
  for (const [name, make] of MAKERS)
    for (let ecn = 0; ecn < 4; ecn++) {
      for (const tos of ['inherit', 0, 0x28, 0xfc] as const) {
        const plane = planeWith({ tos });
        plane.fromTap(0, make({ tos: DSCP | ecn }));
        plane.breathe();
        const expected = (tos === 'inherit' ? DSCP : tos) | ecn;
        t.equal(plane.underlay.sent[0].tos, expected, `${name}, ${ecn}, --tos ${tos}`);
      }
    }
  for (const [tos, expected] of [
    ['inherit', 0],
    [0x28, 0x28],
  ] as const) {
    const plane = planeWith({ tos });
    const frames = [arpFrame(B, A), ipv4Frame(B, A).slice(0, 33), ipv6Frame(B, A).slice(0, 15)];
    for (const frame of frames) plane.fromTap(0, frame);
    plane.breathe();
    t.same(
      plane.underlay.sent.map((datagram) => datagram.tos),
      [expected, expected, expected],
      `no IP, ${tos}`,
    );
  }
});

t.test('the outer DF follows --df and the inner packet', async (t) => {
  const DF = 0x4000;
  const frames: [string, Uint8Array, number][] = [
    ['IPv4 with DF', ipv4Frame(B, A, { fragment: DF }), 0],
    ['IPv4 without', ipv4Frame(B, A), 1],
    ['IPv6', ipv6Frame(B, A), 0],
    ['no IP', arpFrame(B, A), 1],
    ['IPv4, cut off', ipv4Frame(B, A, { fragment: DF }).slice(0, 33), 1],
  ];
  for (const [df, expected] of [
    ['set', [0, 0, 0, 0, 0]],
    ['unset', [1, 1, 1, 1, 1]],
    ['inherit', frames.map(([, , inherited]) => inherited)],
  ] as const) {
    const plane = planeWith({ df });
    for (const [, frame] of frames) plane.fromTap(0, frame);
    plane.breathe();
    t.same(
      plane.underlay.sent.map((datagram) => datagram.df),
      expected,
      `--df ${df}`,
    );
  }
});
