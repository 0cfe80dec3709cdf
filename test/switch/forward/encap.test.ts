import t from 'tap';
import {
  V_FLOODED_BROADCAST,
  V_FLOODED_MULTICAST,
  V_FLOODED_UNKNOWN,
  V_REPLICATED,
  V_TAP_RX_BYTES,
  V_TAP_RX_FRAMES,
} from '../../../src/exchange/counters.js';
import { arpFrame, BROADCAST, ethernet, ipv4Frame, macNumber, macParts } from '../../support/frames.js';
import { concat } from '../../support/hex.js';
import { MemoryPlane, PendingUnderlay, vxlanHeader } from '../../support/memory-plane.js';
import { MemoryOverlay } from '../../support/memory-ports.js';

const A = '02:00:00:00:00:0a';
const B = '02:00:00:00:00:0b';
const MULTICAST = '01:00:5e:00:00:01';

function learn(plane: MemoryPlane, vniIdx: number, mac: string, peerIdx: number): void {
  const { high, low } = macParts(mac);
  plane.tables.fdb.learn(vniIdx, high, low, peerIdx, plane.tick);
}

const peersSentTo = (plane: MemoryPlane) => plane.underlay.sent.map(({ peerIdx }) => peerIdx);

t.test('a known unicast frame goes to its peer only, behind eight bytes of VXLAN', async (t) => {
  for (const vni of [0, 1, 100, 2 ** 24 - 1]) {
    const plane = new MemoryPlane();
    plane.addVni(0, vni);
    const [, two] = ['192.0.2.1', '192.0.2.2', '192.0.2.3'].map((address) => plane.addPeer(0, address));
    learn(plane, 0, B, two);
    const frame = ipv4Frame(B, A);
    plane.fromTap(0, frame);
    plane.breathe();
    t.same(peersSentTo(plane), [two]);
    t.same(plane.underlay.sent[0].bytes, concat(vxlanHeader(vni), frame), `VNI ${vni}`);
    t.equal(plane.vniCell(0, V_TAP_RX_FRAMES), 1);
    t.equal(plane.vniCell(0, V_TAP_RX_BYTES), frame.length);
    t.equal(plane.vniCell(0, V_REPLICATED), 0);
    plane.checkIdentity(t, 'unicast');
  }
});

t.test('encapsulates the shortest and the longest frame', async (t) => {
  const plane = new MemoryPlane();
  plane.addVni(0, 100);
  plane.addPeer(0, '192.0.2.1');
  const frames = [ethernet(B, A, 0x0800, new Uint8Array(0)), ethernet(B, A, 0x0800, new Uint8Array(65_536))];
  for (const frame of frames) {
    plane.fromTap(0, frame);
    plane.breathe();
    t.same(plane.underlay.sent.at(-1)!.bytes, concat(vxlanHeader(100), frame), `${frame.length} bytes`);
  }
});

t.test('a BUM frame goes to each peer of the flood list exactly once', async (t) => {
  const rows: [string, string, number][] = [
    ['broadcast', BROADCAST, V_FLOODED_BROADCAST],
    ['multicast', MULTICAST, V_FLOODED_MULTICAST],
    ['a group address with all bits but one set', 'ff:ff:ff:ff:ff:fe', V_FLOODED_MULTICAST],
    ['unknown unicast', B, V_FLOODED_UNKNOWN],
    ['the all-zero MAC', '00:00:00:00:00:00', V_FLOODED_UNKNOWN],
  ];
  for (const [name, destination, cell] of rows) {
    const plane = new MemoryPlane();
    plane.addVni(0, 100);
    plane.addVni(1, 200);
    const peers = ['192.0.2.1', '2001:db8::1', '192.0.2.2'].map((address) => plane.addPeer(0, address));
    plane.addPeer(0, '192.0.2.9', { flood: false });
    plane.addPeer(1, '192.0.2.1');
    const frame = arpFrame(destination, A);
    plane.fromTap(0, frame);
    plane.breathe();
    t.same(
      peersSentTo(plane).sort(),
      peers,
      `${name}: only peers of the VNI that are in its flood list get a copy`,
    );
    for (const { bytes } of plane.underlay.sent) t.same(bytes, concat(vxlanHeader(100), frame));
    t.equal(plane.vniCell(0, cell), 1, name);
    t.equal(plane.vniCell(0, V_REPLICATED), 2, 'copies after the first count as replicated');
    t.equal(plane.vniCell(0, V_TAP_RX_FRAMES), 1);
    plane.checkIdentity(t, name);
  }
});

t.test('a flood sends to the peers of one address family in succession', async (t) => {
  const plane = new MemoryPlane();
  plane.addVni(0, 100);
  const [v6a, v4a, v6b, v4b] = ['2001:db8::1', '192.0.2.1', '2001:db8::2', '192.0.2.2'].map((address) =>
    plane.addPeer(0, address),
  );
  plane.fromTap(0, arpFrame(BROADCAST, A));
  plane.breathe();
  t.same(peersSentTo(plane), [v6b, v6a, v4a, v4b]);
});

t.test('replicates to flood lists of any length, including more than a batch', async (t) => {
  for (const count of [1, 2, 127, 128, 129, 255, 256, 257, 300]) {
    const plane = new MemoryPlane();
    plane.addVni(0, 100);
    const peers = Array.from({ length: count }, (_, i) => plane.addPeer(0, `10.0.${i >> 8}.${i & 255}`));
    const frames = [0, 1, 2].map((i) => arpFrame(BROADCAST, macNumber(i)));
    for (const frame of frames) plane.fromTap(0, frame);
    plane.breathe();
    t.equal(plane.underlay.sent.length, 3 * count);
    for (const [i, frame] of frames.entries()) {
      const copies = plane.underlay.sent.slice(i * count, (i + 1) * count);
      const receivers = new Set(copies.map(({ peerIdx }) => peerIdx));
      t.ok(
        peers.every((peerIdx) => receivers.has(peerIdx)),
        `${count} peers: each has frame ${i}`,
      );
      t.ok(
        copies.every(({ bytes }) => Buffer.compare(bytes.subarray(8), frame) === 0),
        'all copies have the same bytes',
      );
    }
    t.equal(plane.vniCell(0, V_REPLICATED), 3 * (count - 1));
    t.equal(plane.vniCell(0, V_TAP_RX_FRAMES), 3);
    plane.checkIdentity(t, `${count} peers`);
  }
});

t.test('drops a BUM frame without a flood target (no_tx_target)', async (t) => {
  const plane = new MemoryPlane();
  plane.addVni(0, 100);
  plane.addPeer(0, '192.0.2.9', { flood: false });
  for (const destination of [BROADCAST, MULTICAST, B]) plane.fromTap(0, arpFrame(destination, A));
  plane.breathe();
  t.same(plane.underlay.sent, []);
  t.same(plane.drops(0, 'encap'), { no_tx_target: 3 });
  t.equal(plane.vniCell(0, V_FLOODED_BROADCAST), 0, 'a frame without target does not count as flooded');
  plane.checkIdentity(t, 'without peers');
});

t.test('flood off drops unknown unicast, but not broadcast and multicast', async (t) => {
  const plane = new MemoryPlane();
  plane.addVni(0, 100, { flood: false });
  const peer = plane.addPeer(0, '192.0.2.1');
  learn(plane, 0, B, peer);
  for (const destination of [A, B, BROADCAST, MULTICAST]) plane.fromTap(0, arpFrame(destination, A));
  plane.breathe();
  t.equal(plane.underlay.sent.length, 3);
  t.same(plane.drops(0, 'encap'), { flood_off: 1 });
  plane.checkIdentity(t, 'with flood off');
});

t.test('one batch with the same MAC in two VNIs goes to each VNI’s peer', async (t) => {
  const plane = new MemoryPlane();
  plane.addVni(0, 100);
  plane.addVni(1, 200);
  const one = plane.addPeer(0, '192.0.2.1');
  const two = plane.addPeer(1, '192.0.2.2');
  learn(plane, 0, B, one);
  learn(plane, 1, B, two);
  for (const vniIdx of [0, 1, 1, 0]) plane.fromTap(vniIdx, ipv4Frame(B, A));
  plane.breathe();
  t.same(
    plane.underlay.sent.map(({ peerIdx, bytes }) => [peerIdx, bytes[6]]),
    [
      [one, 100],
      [one, 100],
      [two, 200],
      [two, 200],
    ],
  );
  plane.checkIdentity(t, 'two VNIs');
});

t.test('a flow keeps its source socket; many flows use many sockets', async (t) => {
  const plane = new MemoryPlane();
  plane.addVni(0, 100);
  plane.addPeer(0, '192.0.2.1');
  plane.addPeer(0, '192.0.2.2');
  const sockets = new Map<number, Set<number>>();
  for (let round = 0; round < 3; round++)
    for (let flow = 0; flow < 200; flow++) {
      plane.clear();
      plane.fromTap(0, ipv4Frame(B, A, { sourcePort: 20_000 + flow, payloadLen: round * 100 }));
      plane.breathe();
      for (const { srcPortIdx } of plane.underlay.sent)
        sockets.set(flow, (sockets.get(flow) ?? new Set()).add(srcPortIdx));
    }
  for (const [flow, used] of sockets) if (used.size !== 1) t.fail(`flow ${flow} used ${used.size} sockets`);
  const all = new Set([...sockets.values()].flatMap((used) => [...used]));
  t.ok(all.size > 50, `200 flows used ${all.size} of 64 sockets`);
  t.ok([...all].every((socket) => socket >= 0 && socket < 64));
});

t.test('a failed send does not affect the other receivers', async (t) => {
  const EHOSTUNREACH = -113;
  const ENOBUFS = -105;
  const plane = new MemoryPlane();
  plane.addVni(0, 100);
  const peers = [1, 2, 3].map((n) => plane.addPeer(0, `192.0.2.${n}`));
  plane.underlay.sendStatus.set(peers[0], EHOSTUNREACH);
  plane.underlay.sendStatus.set(peers[1], ENOBUFS);
  plane.fromTap(0, arpFrame(BROADCAST, A));
  plane.breathe();
  t.same(peersSentTo(plane), [peers[2]]);
  t.same(plane.drops(0, 'encap'), { no_route: 1, underlay_full: 1 });
  t.equal(plane.vniCell(0, V_TAP_RX_FRAMES), 1, 'the frame counts as read although its first copy failed');
  plane.checkIdentity(t, 'failures');
});

t.test('sends that complete later are counted like immediate sends', async (t) => {
  const underlay = new PendingUnderlay();
  const plane = new MemoryPlane({ underlay });
  plane.addVni(0, 100, { flood: false });
  const peers = Array.from({ length: 10 }, (_, i) => plane.addPeer(0, `192.0.2.${i + 1}`));
  underlay.sendStatus.set(peers[4], -113);
  for (let i = 0; i < 40; i++) plane.fromTap(0, arpFrame(BROADCAST, A));
  plane.fromTap(0, arpFrame(B, A));
  plane.breathe();
  t.equal(underlay.pending, 400);
  t.equal(plane.vniCell(0, V_TAP_RX_FRAMES), 1, 'only the drop is counted before the completions');
  plane.checkIdentity(t, 'while all sends are pending');
  while (underlay.pending > 0) {
    underlay.answer(37);
    plane.loop.housekeeping(plane.clock);
    plane.checkIdentity(t, `${underlay.pending} pending`);
  }
  t.equal(plane.vniCell(0, V_TAP_RX_FRAMES), 41);
  t.equal(plane.vniCell(0, V_REPLICATED), 360);
  t.equal(plane.vniCell(0, V_FLOODED_BROADCAST), 40);
  t.same(plane.drops(0, 'encap'), { flood_off: 1, no_route: 40 });
});

t.test('one round counts more completions than fit into a batch', async (t) => {
  const underlay = new PendingUnderlay();
  const plane = new MemoryPlane({ underlay });
  plane.addVni(0, 100);
  plane.addPeer(0, '192.0.2.1');
  for (let i = 0; i < 500; i++) plane.fromTap(0, arpFrame(BROADCAST, A));
  plane.breathe();
  underlay.answer(384);
  plane.loop.housekeeping(plane.clock);
  t.equal(plane.vniCell(0, V_TAP_RX_FRAMES), 384);
});

t.test('a TAP without room behind another TAP’s frames is read in the same round', async (t) => {
  /** A port with room for two frames at a time, like an arena full of superframes. */
  class SmallOverlay extends MemoryOverlay {
    #held = 0;
    override read(...[batch, vniIdx]: Parameters<MemoryOverlay['read']>): number {
      if (this.#held === 2) return 0;
      const own = this.waiting.filter((frame) => frame.vniIdx === vniIdx);
      const late = this.waiting.filter((frame) => frame.vniIdx !== vniIdx).concat(own.slice(2 - this.#held));
      this.waiting.splice(0, this.waiting.length, ...own.slice(0, 2 - this.#held));
      const got = super.read(batch, vniIdx);
      this.waiting.push(...late);
      this.#held += got;
      return got;
    }
    override reset(): void {
      super.reset();
      this.#held = 0;
    }
  }
  const plane = new MemoryPlane({ overlay: new SmallOverlay() });
  for (const vniIdx of [0, 1]) {
    plane.addVni(vniIdx, 100 + vniIdx);
    plane.addPeer(vniIdx, '192.0.2.1');
    for (let i = 0; i < 4; i++) plane.fromTap(vniIdx, arpFrame(BROADCAST, A));
  }
  for (let round = 0; round < 2; round++) {
    for (const vniIdx of [0, 1]) plane.loop.readOverlay(vniIdx);
    plane.loop.forwardOverlay();
  }
  t.equal(plane.vniCell(0, V_TAP_RX_FRAMES), 4);
  t.equal(plane.vniCell(1, V_TAP_RX_FRAMES), 4, 'the second TAP did not starve');
});
