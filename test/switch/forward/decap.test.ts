import t from 'tap';
import {
  G_RESERVED_BITS,
  G_STRAY_VNI,
  P_LAST_SEEN_MS,
  P_RX_BYTES,
  P_RX_FRAMES,
  V_LEARNED,
  V_MOVED,
  V_TAP_TX_BYTES,
  V_TAP_TX_FRAMES,
  V_TWIN_FRAMES,
  V_TWIN_PEER,
} from '../../../src/exchange/counters.js';
import type { DropReason } from '../../../src/exchange/drop-reason.js';
import { formatMac } from '../../../src/wire/mac.js';
import {
  arpFrame,
  BROADCAST,
  ethernet,
  ipv4Frame,
  ipv6Frame,
  macNumber,
  macParts,
  TCP,
  UDP,
} from '../../support/frames.js';
import { concat, hex, patched } from '../../support/hex.js';
import { MemoryPlane, random, TAP_MAC, vxlanHeader } from '../../support/memory-plane.js';

const PEER = '192.0.2.1';
const STRANGER = '198.51.100.66';
const TAP = formatMac(TAP_MAC.high, TAP_MAC.low);
const A = '02:00:00:00:00:0a';
const B = '02:00:00:00:00:0b';
const STATIC_MAC = '02:00:00:00:00:0c';

function makePlane(options: { strictHeader?: boolean; policy?: Parameters<MemoryPlane['addVni']>[2] } = {}) {
  const plane = new MemoryPlane({ strictHeader: options.strictHeader ?? false });
  plane.addVni(0, 100, options.policy);
  plane.addVni(1, 200);
  const peer = plane.addPeer(0, PEER);
  const elsewhere = plane.addPeer(0, '192.0.2.2');
  plane.addPeer(1, '192.0.2.3');
  const { high, low } = macParts(STATIC_MAC);
  plane.tables.fdb.putStatic(0, high, low, elsewhere);
  return { plane, peer, other: plane.tables.vnis.otherIdx[0] };
}

const lookup = (plane: MemoryPlane, vniIdx: number, mac: string) => {
  const { high, low } = macParts(mac);
  return plane.tables.fdb.lookup(vniIdx, high, low);
};

t.test('drops a datagram of 0 to 21 bytes as truncated', async (t) => {
  const { plane } = makePlane();
  const whole = concat(vxlanHeader(100), ethernet(B, A, 0x0800, new Uint8Array(0)));
  for (let len = 0; len < 22; len++) plane.fromUnderlay(PEER, whole.slice(0, len));
  plane.breathe();
  t.same(plane.drops(-1, 'decap'), { truncated: 22 }, 'truncated datagrams are counted for no VNI');
  t.same(plane.overlay.written, []);
  plane.fromUnderlay(PEER, whole);
  plane.breathe();
  t.same(
    plane.overlay.written.map(({ bytes }) => bytes),
    [whole.slice(8)],
    '22 bytes are enough for a VXLAN header and an Ethernet header',
  );
});

t.test('checks the I flag and each reserved bit, with and without --strict-header', async (t) => {
  for (const strictHeader of [false, true])
    for (let bit = 0; bit < 64; bit++) {
      if (bit >= 32 && bit < 56) continue; // the VNI
      const { plane, peer } = makePlane({ strictHeader });
      const header = vxlanHeader(100);
      header[bit >> 3] ^= 0x80 >> (bit & 7);
      const isI = bit === 4;
      plane.fromUnderlay(PEER, concat(header, arpFrame(BROADCAST, A)));
      plane.breathe();
      const name = `bit ${bit}${strictHeader ? ', strict' : ''}`;
      t.equal(plane.overlay.written.length, isI || strictHeader ? 0 : 1, name);
      t.equal(plane.memory.counters.cells[G_RESERVED_BITS], isI ? 0 : 1, name);
      t.same(plane.drops(-1, 'decap'), isI ? { invalid_hdr: 1 } : {}, name);
      t.same(plane.drops(0, 'decap'), strictHeader && !isI ? { reserved_bits: 1 } : {}, name);
      t.equal(lookup(plane, 0, A), isI || strictHeader ? -1 : peer, 'only delivered frames cause learning');
      plane.checkIdentity(t, name);
    }
});

t.test('drops a datagram whose VNI is not configured, and counts it for no VNI', async (t) => {
  const plane = new MemoryPlane();
  [0, 1, 2 ** 24 - 1].forEach((vni, vniIdx) => {
    plane.addVni(vniIdx, vni);
    plane.addPeer(vniIdx, PEER);
  });
  for (const vni of [0, 1, 2, 256, 65536, 2 ** 23, 2 ** 24 - 2, 2 ** 24 - 1])
    plane.fromPeer(PEER, vni, arpFrame(BROADCAST, A));
  plane.breathe();
  t.same(
    plane.overlay.written.map(({ vniIdx }) => vniIdx),
    [0, 1, 2],
  );
  t.same(plane.drops(-1, 'decap'), { vni_not_found: 5 });
  t.equal(
    plane.memory.counters.cells[G_STRAY_VNI],
    2 ** 24 - 1,
    'the counter is the last unknown VNI plus 1',
  );
});

t.test('the checks run in order: the first violated one gives the drop reason', async (t) => {
  const badFrame = arpFrame(BROADCAST, 'ff:ff:ff:ff:ff:ff'); // a multicast source
  const reserved = patched(vxlanHeader(100, 0xff), 7, 0xff);
  const rows: { reason: DropReason; source: string; bytes: Uint8Array; vniIdx: number }[] = [
    {
      reason: 'truncated',
      source: STRANGER,
      bytes: concat(patched(reserved, 0, 0xf7, 0, 0, 0, 9, 9, 9), badFrame).slice(0, 21),
      vniIdx: -1,
    },
    {
      reason: 'invalid_hdr',
      source: STRANGER,
      bytes: concat(patched(reserved, 0, 0xf7, 0, 0, 0, 9, 9, 9), badFrame),
      vniIdx: -1,
    },
    {
      reason: 'vni_not_found',
      source: STRANGER,
      bytes: concat(patched(reserved, 4, 9, 9, 9), badFrame),
      vniIdx: -1,
    },
    { reason: 'source_not_peer', source: STRANGER, bytes: concat(reserved, badFrame), vniIdx: 0 },
    { reason: 'reserved_bits', source: PEER, bytes: concat(reserved, badFrame), vniIdx: 0 },
    { reason: 'mac_invalid_source', source: PEER, bytes: concat(vxlanHeader(100), badFrame), vniIdx: 0 },
    {
      reason: 'local_mac',
      source: PEER,
      bytes: concat(vxlanHeader(100), ipv4Frame(B, TAP, { tags: [[0x8100, 5]] })),
      vniIdx: 0,
    },
    {
      reason: 'vlan_drop',
      source: PEER,
      bytes: concat(vxlanHeader(100), ipv4Frame(B, STATIC_MAC, { tags: [[0x8100, 5]] })),
      vniIdx: 0,
    },
    {
      reason: 'entry_exists',
      source: PEER,
      bytes: concat(vxlanHeader(100), ipv4Frame(B, STATIC_MAC)),
      vniIdx: 0,
    },
  ];
  for (const { reason, source, bytes, vniIdx } of rows) {
    const { plane } = makePlane({ strictHeader: true, policy: { vlan: 'drop' } });
    plane.fromUnderlay(source, bytes);
    plane.breathe();
    t.same(plane.drops(vniIdx, 'decap'), { [reason]: 1 }, reason);
    t.same(plane.drops(vniIdx < 0 ? 0 : -1, 'decap'), {}, `${reason}: counted once`);
    t.same(plane.overlay.written, []);
    t.equal(plane.vniCell(0, V_LEARNED), 0);
    plane.checkIdentity(t, reason);
  }
});

t.test(
  'drops what arrives by a device of the overlay, counted in a configured VNI or globally',
  async (t) => {
    const { plane, peer, other } = makePlane();
    const [UNDERLAY, BRIDGE, TAP_DEVICE] = [2, 7, 9];
    const apply = (...indexes: number[]) =>
      plane.applier.apply({ op: 'overlay.devices', indexes: Int32Array.from(indexes) }, plane.tick);
    const frame = concat(vxlanHeader(100), arpFrame(BROADCAST, A));
    const bytes = (vni: number) => concat(vxlanHeader(vni), arpFrame(BROADCAST, A));
    const arrive = (ifindex: number, datagram = frame, gsoSize = 0) => {
      plane.fromUnderlay(PEER, datagram, gsoSize, 0, ifindex);
      plane.breathe();
    };
    apply(BRIDGE, TAP_DEVICE);
    for (const ifindex of [BRIDGE, UNDERLAY, BRIDGE, TAP_DEVICE, 0, UNDERLAY, BRIDGE]) arrive(ifindex);
    t.equal(plane.overlay.written.length, 3, 'frames of the underlay and of an unknown device are delivered');
    t.same(plane.drops(0, 'decap'), { from_overlay: 4 });
    t.equal(plane.peerCell(other, P_RX_FRAMES), 4, 'forged frames are not counted for the peer');
    t.equal(plane.peerCell(peer, P_RX_FRAMES), 3);
    arrive(BRIDGE, concat(frame, frame, frame), frame.length);
    t.same(plane.drops(0, 'decap'), { from_overlay: 7 }, 'each datagram of a train');
    arrive(BRIDGE, bytes(999));
    arrive(BRIDGE, patched(frame, 0, 0));
    t.same(plane.drops(-1, 'decap'), { from_overlay: 2 }, 'an unknown VNI, and no I flag');
    arrive(BRIDGE, frame.slice(0, 21));
    t.equal(plane.drops(-1, 'decap').truncated, 1);
    apply(UNDERLAY);
    arrive(UNDERLAY);
    arrive(BRIDGE);
    t.same(plane.drops(0, 'decap'), { from_overlay: 8 }, 'a new list replaces the previous one at once');
    t.equal(plane.overlay.written.length, 4);
    plane.checkIdentity(t, 'from_overlay');
  },
);

t.test('drops a datagram whose source is no peer of its VNI', async (t) => {
  const { plane, peer, other } = makePlane();
  for (const source of [STRANGER, '192.0.2.3', '0.0.0.0', '::', '::1', 'c000:201::'])
    plane.fromPeer(source, 100, arpFrame(BROADCAST, A));
  plane.breathe();
  t.same(plane.drops(0, 'decap'), { source_not_peer: 6 }, 'a peer of another VNI is a stranger here');
  t.equal(
    plane.peerCell(other, P_RX_FRAMES),
    6,
    'frames of strangers are counted in the row of other sources',
  );
  t.equal(plane.peerCell(peer, P_RX_FRAMES), 0);
  t.equal(lookup(plane, 0, A), -1);
  plane.checkIdentity(t, 'strangers');
});

t.test('drops a frame whose source MAC is zero, multicast or our own', async (t) => {
  const { plane } = makePlane();
  for (const source of ['00:00:00:00:00:00', '01:00:00:00:00:00', 'ff:ff:ff:ff:ff:ff', '33:33:00:00:00:01'])
    plane.fromPeer(PEER, 100, arpFrame(BROADCAST, source));
  plane.fromPeer(PEER, 100, arpFrame(BROADCAST, TAP));
  plane.breathe();
  t.same(plane.drops(0, 'decap'), { mac_invalid_source: 4, local_mac: 1 });
  for (const source of ['00:00:00:00:00:01', '80:00:00:00:00:00', 'fe:ff:ff:ff:ff:ff'])
    plane.fromPeer(PEER, 100, arpFrame(BROADCAST, source));
  plane.breathe();
  t.equal(plane.overlay.written.length, 3, 'unusual unicast MACs pass');
});

t.test('a peer that uses the MAC of our TAP or bridge is recorded', async (t) => {
  const { plane, peer } = makePlane();
  const twin = () => [plane.vniCell(0, V_TWIN_FRAMES), plane.vniCell(0, V_TWIN_PEER)];
  const tap = TAP.split(':');
  plane.fromPeer(PEER, 100, arpFrame(BROADCAST, ['02', ...tap.slice(1, 5), '7f'].join(':')));
  plane.fromPeer(PEER, 100, arpFrame(BROADCAST, ['04', ...tap.slice(1)].join(':')));
  plane.breathe();
  t.same(twin(), [0, 0], 'similar MACs are those of other hosts');
  plane.fromPeer(PEER, 100, arpFrame(BROADCAST, ['fa', ...tap.slice(1)].join(':')));
  plane.breathe();
  t.same(twin(), [1, peer + 1]);
  t.same(plane.drops(0, 'decap'), {}, 'the bridge decides about frames with its MAC');
  plane.fromPeer(PEER, 100, arpFrame(BROADCAST, TAP));
  plane.breathe();
  t.same(twin(), [2, peer + 1]);
  t.same(plane.drops(0, 'decap'), { local_mac: 1 });
});

t.test('a valid frame is delivered unchanged and counted, and its source is learned', async (t) => {
  const { plane, peer } = makePlane();
  const frame = ipv4Frame(B, A);
  plane.fromPeer(PEER, 100, frame);
  plane.breathe();
  const [written] = plane.overlay.written;
  t.same(written.bytes, frame);
  t.match(written, { vniIdx: 0, gsoType: 0 });
  t.equal(plane.vniCell(0, V_TAP_TX_FRAMES), 1);
  t.equal(plane.vniCell(0, V_TAP_TX_BYTES), frame.length);
  t.equal(plane.peerCell(peer, P_RX_FRAMES), 1);
  t.equal(plane.peerCell(peer, P_RX_BYTES), frame.length);
  t.equal(plane.peerCell(peer, P_LAST_SEEN_MS), plane.nowMs);
  t.equal(lookup(plane, 0, A), peer);
  plane.checkIdentity(t, 'one frame');
});

t.test('no frame from the underlay returns to it (split horizon)', async (t) => {
  const { plane, peer } = makePlane({ policy: { accept: 'any' } });
  plane.fromPeer(PEER, 100, arpFrame(BROADCAST, A));
  plane.fromPeer('192.0.2.2', 100, arpFrame(BROADCAST, B));
  plane.breathe();
  plane.clear();
  for (const destination of [BROADCAST, A, B, '01:00:5e:00:00:01', macNumber(77)])
    for (const source of [PEER, '192.0.2.2', STRANGER])
      plane.fromPeer(source, 100, ipv4Frame(destination, macNumber(5)));
  plane.breathe();
  t.same(plane.underlay.sent, []);
  t.equal(plane.overlay.written.length, 15);
  t.ok(peer >= 0);
});

t.test('equal MACs in two VNIs behind one VTEP are learned separately', async (t) => {
  const plane = new MemoryPlane();
  const next = random(3);
  const peers = [0, 1].map((vniIdx) => {
    plane.addVni(vniIdx, 100 + vniIdx);
    return [1, 2].map((n) => plane.addPeer(vniIdx, `192.0.2.${n}`));
  });
  const where: Map<string, number>[] = [new Map(), new Map()];
  for (let i = 0; i < 500; i++) {
    const [vniIdx, n, mac] = [next(2), next(2), macNumber(next(20))];
    plane.fromPeer(`192.0.2.${n + 1}`, 100 + vniIdx, arpFrame(BROADCAST, mac));
    where[vniIdx].set(mac, peers[vniIdx][n]);
  }
  plane.breathe();
  for (const [vniIdx, expected] of where.entries())
    for (const [mac, peerIdx] of expected) t.equal(lookup(plane, vniIdx, mac), peerIdx);
  plane.clear();
  for (const vniIdx of [0, 1])
    for (const mac of where[vniIdx].keys()) plane.fromTap(vniIdx, ipv4Frame(mac, B));
  plane.breathe();
  for (const { peerIdx, bytes } of plane.underlay.sent)
    if (!peers[bytes[6] - 100].includes(peerIdx)) t.fail(`VNI ${bytes[6]} leaked to peer row ${peerIdx}`);
  t.equal(plane.underlay.sent.length, where[0].size + where[1].size, 'known unicast is not replicated');
});

t.test('a move of a MAC takes effect at once; nothing is learned with learning off', async (t) => {
  const { plane, peer } = makePlane();
  plane.fromPeer(PEER, 100, arpFrame(BROADCAST, A));
  plane.fromPeer('192.0.2.2', 100, arpFrame(BROADCAST, A));
  plane.fromPeer(PEER, 100, arpFrame(BROADCAST, A));
  plane.breathe();
  t.equal(lookup(plane, 0, A), peer);
  t.equal(plane.vniCell(0, V_MOVED), 2, 'three frames of one batch move the MAC twice');
  const off = makePlane({ policy: { learning: false } });
  off.plane.fromPeer(PEER, 100, arpFrame(BROADCAST, A));
  off.plane.breathe();
  t.equal(off.plane.overlay.written.length, 1);
  t.equal(lookup(off.plane, 0, A), -1);
});

t.test('with --accept any, a stranger is learned, and frames are sent to it', async (t) => {
  const { plane, other } = makePlane({ policy: { accept: 'any' } });
  plane.fromPeer(STRANGER, 100, arpFrame(BROADCAST, A));
  plane.breathe();
  plane.fromTap(0, ipv4Frame(A, B));
  plane.breathe();
  t.equal(plane.overlay.written.length, 1);
  t.equal(plane.underlay.sent.length, 1, 'a known unicast frame is sent as one copy');
  const { peerIdx } = plane.underlay.sent[0];
  t.same([...plane.tables.peers.address(peerIdx).slice(0, 4)], [198, 51, 100, 66]);
  t.equal(plane.tables.peers.port(peerIdx), 4789);
  t.equal(plane.peerCell(other, P_RX_FRAMES), 1);
  plane.checkIdentity(t, 'after a frame to a stranger');
  plane.fromTap(0, arpFrame(BROADCAST, B));
  plane.clear();
  plane.breathe();
  t.notOk(
    plane.underlay.sent.some((datagram) => datagram.peerIdx === peerIdx),
    'BUM frames go to configured peers only',
  );
});

t.test('the VLAN policy passes, strips or drops tagged frames', async (t) => {
  const tags: [number, number][] = [
    [0x88a8, 0x0001],
    [0x8100, 0xe064],
  ];
  const untagged = ipv4Frame(B, A);
  const once = ipv4Frame(B, A, { tags: tags.slice(1) });
  const twice = ipv4Frame(B, A, { tags });
  const old = ipv4Frame(B, A, { tags: [[0x9100, 0x0001], ...tags, ...tags] });
  const rows: ['pass' | 'strip' | 'drop', Uint8Array[]][] = [
    ['pass', [untagged, once, twice, old]],
    ['strip', [untagged, untagged, untagged, untagged]],
    ['drop', [untagged]],
  ];
  for (const [vlan, expected] of rows) {
    const { plane, peer } = makePlane({ policy: { vlan } });
    for (const frame of [untagged, once, twice, old]) plane.fromPeer(PEER, 100, frame);
    plane.breathe();
    t.same(
      plane.overlay.written.map(({ bytes }) => bytes),
      expected,
      vlan,
    );
    t.same(plane.drops(0, 'decap'), vlan === 'drop' ? { vlan_drop: 3 } : {}, vlan);
    t.equal(plane.peerCell(peer, P_RX_FRAMES), 4);
    plane.checkIdentity(t, vlan);
  }
});

t.test('stripping tags keeps a postponed checksum and superframe intact', async (t) => {
  const { plane } = makePlane({ policy: { vlan: 'strip' } });
  const rows: [number, number][][] = [
    [[0x8100, 5]],
    [[0x9100, 5]],
    [
      [0x88a8, 5],
      [0x8100, 6],
      [0x8100, 7],
    ],
  ];
  const large = { postponed: true, protocol: TCP, payloadLen: 14_100 };
  for (const tags of rows) {
    plane.fromPeer(PEER, 100, ipv4Frame(B, A, { tags, postponed: true, protocol: TCP }));
    plane.fromPeer(PEER, 100, ipv4Frame(B, A, { tags, ...large }));
    plane.breathe();
    t.same(plane.overlay.written[0].bytes, ipv4Frame(B, A, { postponed: true, protocol: TCP }));
    t.match(plane.overlay.written[0], { gsoType: 0, csumStart: 34, csumOff: 16, flags: 1 });
    t.same(plane.overlay.written[1].bytes, ipv4Frame(B, A, large));
    t.match(plane.overlay.written[1], { gsoType: 1, gsoSize: 1410, csumStart: 34, csumOff: 16, flags: 1 });
    plane.checkIdentity(t, `${tags.length} tags`);
    plane.clear();
  }
});

t.test('drops a frame that ends within a tag or directly behind it', async (t) => {
  for (const [vlan, len] of (['pass', 'strip'] as const).flatMap((each) =>
    [14, 15, 16, 17, 18, 19].map((bytes) => [each, bytes] as const),
  )) {
    const { plane } = makePlane({ policy: { vlan } });
    const frame = ipv4Frame(B, A, { tags: [[0x8100, 5]] }).slice(0, len);
    plane.fromPeer(PEER, 100, frame);
    plane.breathe();
    t.same(plane.overlay.written, [], `${len} bytes`);
    t.same(plane.drops(0, 'decap'), { invalid_hdr: 1 });
    plane.checkIdentity(t, `${len} bytes`);
  }
});

t.test('no inner length field can join or split datagrams of a train', async (t) => {
  const SECRET = Buffer.from('SECRET-OF-VNI-200');
  const size = 1422;
  const secret = ipv4Frame(B, A, { payloadLen: size - 42 });
  secret.set(SECRET, 60);
  for (const make of [ipv4Frame, ipv6Frame])
    for (const by of [1, 8, size, 3 * size, 60_000]) {
      const plane = new MemoryPlane();
      for (const [row, vni] of [100, 200].entries()) {
        plane.addVni(row, vni);
        plane.addPeer(row, PEER);
      }
      const evil = make(B, A, {
        protocol: UDP,
        postponed: true,
        payloadLen: size - (make === ipv4Frame ? 42 : 62),
      });
      const at = make === ipv4Frame ? 16 : 18;
      const ipLen = Math.min(0xffff, Buffer.from(evil).readUInt16BE(at) + by);
      evil.set([ipLen >>> 8, ipLen & 0xff], at);
      const tenant = concat(vxlanHeader(200), secret);
      const train = concat(vxlanHeader(100), evil, tenant, tenant, tenant);
      plane.fromUnderlay(PEER, train, size + 8);
      plane.breathe();
      t.same(
        plane.overlay.written.map(({ vniIdx, bytes }) => [vniIdx, Buffer.compare(bytes, secret)]),
        [
          [1, 0],
          [1, 0],
          [1, 0],
        ],
        `length + ${by}: all datagrams of VNI 200 arrive there`,
      );
      t.same(plane.drops(0, 'decap'), { ambiguous: 1 });
      plane.checkIdentity(t, `length + ${by}`);
    }
});

t.test('drops a postponed TCP superframe whose headers leave no room for segments', async (t) => {
  const { plane } = makePlane();
  const extension = concat(hex('06 9c'), new Uint8Array(0x9c * 8 + 6));
  const frame = ipv6Frame(B, A, { protocol: TCP, postponed: true, payloadLen: 40_000, extension });
  plane.fromPeer(PEER, 100, frame);
  plane.breathe();
  t.same(plane.overlay.written, []);
  t.same(plane.drops(0, 'decap'), { segments: 1 });
  plane.checkIdentity(t, 'segments');
});

t.test('each datagram of a train is judged by itself, including a shorter last one', async (t) => {
  const good = concat(vxlanHeader(100), ipv4Frame(B, A, { payloadLen: 30 }));
  const unknown = concat(vxlanHeader(999), ipv4Frame(B, A, { payloadLen: 30 }));
  const flagless = concat(vxlanHeader(100, 0), ipv4Frame(B, A, { payloadLen: 30 }));
  const looped = concat(vxlanHeader(100), ipv4Frame(B, TAP, { payloadLen: 30 }));
  const train = concat(good, unknown, flagless, looped, good);
  for (const lastLen of [good.length, good.length - 1, 22, 21, 8, 1]) {
    const { plane, peer } = makePlane();
    const bytes = concat(train, good.slice(0, lastLen));
    plane.fromUnderlay(PEER, bytes, good.length);
    plane.breathe();
    const whole = lastLen >= 22;
    const reaches = lastLen === good.length - 1;
    t.equal(
      plane.overlay.written.length,
      2 + (whole && !reaches ? 1 : 0),
      `last datagram of ${lastLen} bytes`,
    );
    t.same(plane.overlay.written[0].bytes, good.slice(8));
    t.same(plane.drops(-1, 'decap'), {
      vni_not_found: 1,
      invalid_hdr: 1,
      ...(whole ? {} : { truncated: 1 }),
    });
    t.same(plane.drops(0, 'decap'), { local_mac: 1, ...(reaches ? { ambiguous: 1 } : {}) });
    t.equal(plane.peerCell(peer, P_RX_FRAMES), 3 + (whole ? 1 : 0));
    plane.checkIdentity(t, `${lastLen}`);
  }
});

t.test('delivers a full batch of trains with more frames than a batch holds', async (t) => {
  const { plane, peer } = makePlane();
  const piece = concat(vxlanHeader(100), ethernet(B, A, 0x88b5, new Uint8Array(46)));
  const train = concat(...Array<Uint8Array>(64).fill(piece));
  for (let i = 0; i < 128; i++) plane.fromUnderlay(PEER, train, piece.length);
  plane.breathe();
  t.equal(plane.overlay.written.length, 128 * 64);
  t.ok(plane.overlay.written.every(({ bytes }) => Buffer.compare(bytes, piece.subarray(8)) === 0));
  t.equal(plane.peerCell(peer, P_RX_FRAMES), 128 * 64);
  plane.checkIdentity(t, 'trains');
});

t.test('handles segment sizes that no train can have', async (t) => {
  const whole = concat(vxlanHeader(100), arpFrame(BROADCAST, A));
  for (const size of [whole.length, whole.length + 1, 65535]) {
    const { plane } = makePlane();
    plane.fromUnderlay(PEER, whole, size);
    plane.breathe();
    t.same(plane.overlay.written[0]?.bytes, whole.slice(8), `segment size ${size} for ${whole.length} bytes`);
  }
  for (const size of [1, 7, 8, 21]) {
    const { plane } = makePlane();
    plane.fromUnderlay(PEER, whole, size);
    plane.breathe();
    t.same(plane.overlay.written, [], `segment size ${size}`);
    t.same(plane.drops(-1, 'decap'), { truncated: Math.ceil(whole.length / size) });
  }
});

t.test('writes a TCP superframe of a same-host peer whole, for the kernel to segment', async (t) => {
  const { plane, peer } = makePlane();
  const tcp = ipv4Frame(B, A, { protocol: TCP, postponed: true, payloadLen: 60_000 });
  plane.fromPeer(PEER, 100, tcp);
  plane.breathe();
  t.match(plane.overlay.written, [{ gsoType: 1, gsoSize: 1410, flags: 1, csumStart: 34, csumOff: 16 }]);
  t.same(plane.overlay.written[0].bytes, tcp);
  const frames = Math.ceil(60_000 / 1410);
  t.equal(plane.peerCell(peer, P_RX_FRAMES), frames, 'a superframe counts as its segments');
  t.equal(plane.vniCell(0, V_TAP_TX_FRAMES), frames);
  plane.checkIdentity(t, 'superframes');
});

t.test('a dropped superframe counts as its segments', async (t) => {
  const { plane } = makePlane();
  plane.fromPeer(STRANGER, 100, ipv4Frame(B, A, { protocol: TCP, postponed: true, payloadLen: 14_100 }));
  plane.breathe();
  t.same(plane.drops(0, 'decap'), { source_not_peer: 10 });
  plane.checkIdentity(t, 'stranger');
});

t.test('a failed TAP write counts as a drop with the reason of its errno', async (t) => {
  const rows: [number, DropReason][] = [
    [-5, 'overlay_down'],
    [-11, 'overlay_full'],
    [-22, 'invalid_hdr'],
  ];
  for (const [status, reason] of rows) {
    const { plane, peer } = makePlane();
    plane.overlay.writeStatus = status;
    for (let i = 0; i < 200; i++) plane.fromPeer(PEER, 100, arpFrame(BROADCAST, A));
    plane.fromPeer(PEER, 100, arpFrame(BROADCAST, TAP));
    plane.breathe();
    t.same(plane.drops(0, 'decap'), { [reason]: 200, local_mac: 1 });
    t.equal(plane.peerCell(peer, P_RX_FRAMES), 201);
    plane.checkIdentity(t, reason);
  }
});

t.test('random datagrams cause no sends, and the counters stay consistent', async (t) => {
  const next = random(11);
  const { plane } = makePlane();
  for (let i = 0; i < 10_000; i++) {
    const bytes = Uint8Array.from({ length: next(80) }, () => next(256));
    if (next(2) === 0) bytes.set(vxlanHeader(100).slice(0, bytes.length));
    plane.fromUnderlay([PEER, STRANGER, '::'][next(3)], bytes, next(4) === 0 ? next(100) : 0);
  }
  plane.breathe();
  t.same(plane.underlay.sent, []);
  plane.checkIdentity(t, 'random datagrams');
  t.ok(plane.overlay.written.every(({ vniIdx, bytes }) => vniIdx === 0 && bytes.length >= 14));
});

t.test('delivers an annotated datagram from the wire', async (t) => {
  const { plane, peer } = makePlane();
  plane.fromUnderlay(
    PEER,
    hex(`
      08 00 00 00  00 00 64 00            # VXLAN: I, VNI 100
      ff ff ff ff ff ff                   # to all
      02 00 00 00 00 0a  08 06            # from :0a, ARP
      00 01 08 00 06 04 00 01             # who has
      02 00 00 00 00 0a  0a 00 00 0a      # I am 10.0.0.10
      00 00 00 00 00 00  0a 00 00 0b      # 10.0.0.11?
    `),
  );
  plane.breathe();
  t.equal(plane.overlay.written.length, 1);
  t.equal(lookup(plane, 0, A), peer);
});
