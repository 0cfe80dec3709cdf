import t from 'tap';
import { Batch, FRAME_NEEDS_CSUM, GSO_NONE, GSO_TCPV4, GSO_TCPV6 } from '../../../src/abi/batch.js';
import { describeFrame, SEGMENTS_TOO_SHORT } from '../../../src/switch/frame/postponed.js';
import {
  arpFrame,
  ethernet,
  ipv4Frame,
  ipv6Frame,
  type PacketOptions,
  TCP,
  UDP,
} from '../../support/frames.js';
import { concat, hex, patched } from '../../support/hex.js';
import { random } from '../../support/memory-plane.js';

const DST = '02:00:00:00:00:02';
const SRC = '02:00:00:00:00:01';
const MTU = 1450;
const OFF = 22;

const GARBAGE = -7777;

/**
 * Result of `describeFrame` for a frame in the middle of an arena whose other bytes are all ones.
 */
function describe(frame: Uint8Array, mtu = MTU, len = frame.length) {
  const arena = concat(new Uint8Array(OFF).fill(0xff), frame.slice(0, len), new Uint8Array(128).fill(0xff));
  const batch = new Batch();
  for (const column of [batch.gsoType, batch.gsoSize, batch.segCount, batch.wireLen]) column.fill(GARBAGE);
  batch.off[3] = OFF;
  batch.len[3] = len;
  batch.flags[3] = 1 << 9;
  const before = arena.slice();
  const network = describeFrame(arena, batch, 3, mtu);
  return {
    isRefused: network === SEGMENTS_TOO_SHORT,
    needsCsum: (batch.flags[3] & FRAME_NEEDS_CSUM) !== 0,
    otherFlags: batch.flags[3] & ~FRAME_NEEDS_CSUM,
    gsoType: batch.gsoType[3],
    gsoSize: batch.gsoSize[3],
    csumStart: batch.csumStart[3],
    csumOff: batch.csumOff[3],
    segCount: batch.segCount[3],
    wireLen: batch.wireLen[3],
    bytesUntouched: Buffer.compare(arena, before) === 0,
  };
}

const families = [
  { name: 'IPv4', make: ipv4Frame, ipLen: 20, tcpType: GSO_TCPV4 },
  { name: 'IPv6', make: ipv6Frame, ipLen: 40, tcpType: GSO_TCPV6 },
] as const;

const plain = (len: number) => ({
  needsCsum: false,
  otherFlags: 1 << 9,
  gsoType: GSO_NONE,
  gsoSize: 0,
  segCount: 1,
  wireLen: len,
  bytesUntouched: true,
});

t.test('a truncated frame is passed on unchanged', async (t) => {
  for (const { make } of families)
    for (const protocol of [TCP, UDP])
      for (const tags of [
        [],
        [[0x8100, 100]],
        [
          [0x88a8, 1],
          [0x8100, 2],
        ],
      ] as [number, number][][]) {
        const frame = make(DST, SRC, { protocol, postponed: true, tags, payloadLen: 3 });
        for (let len = 0; len < frame.length; len++) {
          const found = describe(frame, MTU, len);
          if (found.needsCsum || found.gsoType !== 0 || found.wireLen !== len)
            t.fail(`${protocol}, ${tags.length} tags, ${len} of ${frame.length} bytes`);
        }
        t.equal(describe(frame).needsCsum, true, 'the whole frame is recognised');
      }
});

t.test('does not change other protocols, fragments and complete checksums', async (t) => {
  const rows: [string, Uint8Array][] = [
    ['ARP', arpFrame(DST, SRC)],
    ['ICMP', ipv4Frame(DST, SRC, { protocol: 1, postponed: true })],
    ['a first fragment', ipv4Frame(DST, SRC, { protocol: UDP, postponed: true, fragment: 0x2000 })],
    ['a last fragment', ipv4Frame(DST, SRC, { protocol: TCP, postponed: true, fragment: 0x00b9 })],
    ['UDP without a checksum', patched(ipv4Frame(DST, SRC), 40, 0, 0)],
    [
      'three tags',
      ipv4Frame(DST, SRC, {
        postponed: true,
        tags: [
          [0x8100, 1],
          [0x8100, 2],
          [0x8100, 3],
        ],
      }),
    ],
    ['EtherType 0x9100', patched(ipv4Frame(DST, SRC, { postponed: true }), 12, 0x91, 0x00)],
    ['IP version 5', patched(ipv4Frame(DST, SRC, { postponed: true }), 14, 0x55)],
    ['IHL 4', patched(ipv4Frame(DST, SRC, { postponed: true }), 14, 0x44)],
    ['a total length beyond the frame', patched(ipv4Frame(DST, SRC, { postponed: true }), 16, 0x05, 0xdc)],
    [
      'TCP with a data offset of 16 bytes',
      patched(ipv4Frame(DST, SRC, { protocol: TCP, postponed: true }), 46, 0x40),
    ],
    [
      'TCP whose header is longer than the packet',
      patched(ipv4Frame(DST, SRC, { protocol: TCP, postponed: true, payloadLen: 0 }), 46, 0xf0),
    ],
    [
      'an IPv6 fragment',
      ethernet(
        DST,
        SRC,
        0x86dd,
        hex(`
        60 00 00 00 00 10 2c 40                                # payload 16, next header 44
        fd 00 00 00 00 00 00 00 00 00 00 00 00 00 00 01
        fd 00 00 00 00 00 00 00 00 00 00 00 00 00 00 02
        11 00 00 01 00 00 00 07                                # UDP, offset 0, M
        9c 40 13 89 00 08 00 00
      `),
      ),
    ],
    [
      'an IPv6 header chain with nine extension headers',
      ipv6Frame(DST, SRC, {
        postponed: true,
        extension: concat(...Array(9).fill(hex('00 00 01 04 00 00 00 00'))),
      }),
    ],
  ];
  for (const [name, frame] of rows) t.match(describe(frame), plain(frame.length), name);
  for (const { name, make } of families)
    for (const protocol of [TCP, UDP])
      for (const payloadLen of [0, 1, 1000, 8000, 60_000]) {
        const frame = make(DST, SRC, { protocol, payloadLen });
        t.match(
          describe(frame),
          plain(frame.length),
          `${name}, protocol ${protocol}, ${payloadLen} bytes: a true checksum`,
        );
      }
});

t.test('case 1: marks a postponed checksum for the kernel', async (t) => {
  for (const { name, make, ipLen } of families)
    for (const protocol of [TCP, UDP])
      for (const tags of [
        [],
        [[0x8100, 0x6064]],
        [
          [0x88a8, 1],
          [0x8100, 2],
        ],
      ] as [number, number][][]) {
        const frame = make(DST, SRC, { protocol, postponed: true, tags, payloadLen: 101 });
        t.match(
          describe(frame),
          {
            ...plain(frame.length),
            needsCsum: true,
            csumStart: 14 + 4 * tags.length + ipLen,
            csumOff: protocol === TCP ? 16 : 6,
          },
          `${name}, protocol ${protocol}, ${tags.length} tags`,
        );
      }
});

t.test('case 1: finds the checksum behind options, extension headers and padding', async (t) => {
  const v6 = ipv6Frame(DST, SRC, { postponed: true, extension: hex('11 00 01 04 00 00 00 00') });
  t.match(describe(v6), { needsCsum: true, csumStart: 14 + 40 + 8, csumOff: 6 }, 'hop-by-hop options');
  // IPv4 with four bytes of options: IHL is 6, and the total length is larger by four.
  const short = ipv4Frame(DST, SRC, { postponed: true, payloadLen: 0 });
  const options = concat(
    patched(short.slice(0, 34), 14, 0x46, 0, 0, 32),
    hex('01 01 01 00'),
    short.slice(34),
  );
  t.match(describe(options), { needsCsum: true, csumStart: 14 + 24, csumOff: 6 }, 'IPv4 options');
  const padded = concat(short, new Uint8Array(18));
  t.match(describe(padded), { needsCsum: true, wireLen: padded.length }, 'Ethernet padding');
});

t.test('case 2: a TCP superframe gets segments of the overlay MTU', async (t) => {
  for (const { name, make, ipLen, tcpType } of families) {
    const segment = MTU - ipLen - 20;
    const options: PacketOptions = { protocol: TCP, postponed: true };
    const head = 14 + ipLen + 20;
    for (const [payloadLen, segments] of [
      [segment, 1],
      [segment + 1, 2],
      [2 * segment, 2],
      [10 * segment + 5, 11],
      [65_000 - ipLen, Math.ceil((65_000 - ipLen) / segment)],
    ]) {
      const frame = make(DST, SRC, { ...options, payloadLen });
      t.match(
        describe(frame),
        {
          needsCsum: true,
          gsoType: segments > 1 ? tcpType : GSO_NONE,
          gsoSize: segments > 1 ? segment : 0,
          segCount: segments,
          wireLen: payloadLen + segments * head,
        },
        `${name}: ${payloadLen} bytes are ${segments} frames on the wire`,
      );
    }
  }
});

t.test('case 2: refuses crafted headers that leave no room for payload', async (t) => {
  const extension = concat(hex('06 aa'), new Uint8Array(0xaa * 8 + 6));
  const frame = ipv6Frame(DST, SRC, { protocol: TCP, postponed: true, payloadLen: 60_000, extension });
  for (const [mtu, isRefused] of [
    [1280, true],
    [1428, true],
    [1428 + 255, true],
    [1428 + 256, false],
    [9000, false],
  ] as const) {
    const found = describe(frame, mtu);
    t.ok(found.segCount <= 60_000 / 256 + 1, `overlay MTU ${mtu}: ${found.segCount} frames`);
    t.equal(found.isRefused, isRefused, `overlay MTU ${mtu}`);
  }
});

t.test('UDP is never a superframe: only its checksum is marked for the kernel', async (t) => {
  for (const { name, make } of families) {
    const frame = make(DST, SRC, { protocol: UDP, postponed: true, payloadLen: 5000 });
    t.match(describe(frame), { ...plain(frame.length), needsCsum: true }, name);
  }
});

t.test('random byte changes never yield offsets outside the frame', async (t) => {
  const next = random(7);
  let described = 0;
  for (let round = 0; round < 20_000; round++) {
    const { make } = families[next(2)];
    const protocol = next(2) === 0 ? TCP : UDP;
    const frame = make(DST, SRC, { protocol, postponed: true, payloadLen: next(120) });
    for (let change = next(4); change > 0; change--) frame[12 + next(frame.length - 12)] = next(256);
    const found = describe(frame, 68 + next(100));
    if (found.needsCsum) described++;
    if (!found.bytesUntouched) t.fail(`round ${round}: bytes changed`);
    if (found.needsCsum && found.csumStart + found.csumOff + 2 > frame.length)
      t.fail(`round ${round}: checksum field at ${found.csumStart} + ${found.csumOff} of ${frame.length}`);
    if (found.segCount < 1 || found.wireLen < frame.length)
      t.fail(`round ${round}: ${found.segCount} frames`);
  }
  t.ok(described > 2000, `${described} of the changed frames were recognised`);
});
