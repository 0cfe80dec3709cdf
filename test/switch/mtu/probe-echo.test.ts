import t from 'tap';
import { PROBE_LEN, PROBE_REPLY, PROBE_REQUEST, writeProbe } from '../../../src/wire/probe.js';
import { arpFrame } from '../../support/frames.js';
import { patched } from '../../support/hex.js';
import { MemoryPlane, PendingUnderlay } from '../../support/memory-plane.js';

const PEER = '192.0.2.1';
const STRANGER = '198.51.100.66';

function makePlane(underlay?: PendingUnderlay) {
  const plane = new MemoryPlane(underlay && { underlay });
  plane.addVni(0, 100);
  plane.addVni(1, 200, { accept: 'any' });
  return { plane, peer: plane.addPeer(0, PEER), peer6: plane.addPeer(0, '2001:db8::1') };
}

function probe(kind: number, len: number, vni = 100): Uint8Array {
  const b = new Uint8Array(kind === PROBE_REPLY ? PROBE_LEN : len);
  writeProbe(b, 0, kind, vni, len, 0x11111111, 0x22222222);
  return b;
}

t.test('invalid probes and probes of strangers are dropped as invalid_hdr', async (t) => {
  const rows: [string, string, Uint8Array][] = [
    ['a stranger', STRANGER, probe(PROBE_REQUEST, 100)],
    ['a stranger, with accept any', STRANGER, probe(PROBE_REQUEST, 100, 200)],
    ['a peer of another VNI', PEER, probe(PROBE_REQUEST, 100, 200)],
    ['a VNI that is not configured', PEER, probe(PROBE_REQUEST, 100, 300)],
    ['a truncated request', PEER, probe(PROBE_REQUEST, 100).slice(0, 99)],
    ['all zeros', PEER, new Uint8Array(100)],
  ];
  for (const [name, source, bytes] of rows) {
    const { plane } = makePlane();
    plane.fromUnderlay(source, bytes);
    plane.breathe();
    t.same(plane.underlay.sent, [], name);
    t.same(plane.drops(-1, 'decap'), { invalid_hdr: 1 }, name);
  }
});

t.test('replies are limited to 64 per second for each peer', async (t) => {
  const { plane } = makePlane();
  for (let i = 0; i < 1000; i++) plane.fromUnderlay(PEER, probe(PROBE_REQUEST, 100));
  plane.breathe();
  t.equal(plane.underlay.sent.length, 64);
  t.same(
    plane.drops(-1, 'decap'),
    { invalid_hdr: 1000 - 64 },
    'requests beyond the limit are dropped and counted',
  );
  plane.fromUnderlay('2001:db8::1', probe(PROBE_REQUEST, 100));
  plane.breathe();
  t.equal(plane.underlay.sent.length, 65, 'another peer has its own limit');
  plane.nowMs += 1000;
  plane.fromUnderlay(PEER, probe(PROBE_REQUEST, 100));
  plane.breathe();
  t.equal(plane.underlay.sent.length, 66);
});

t.test('a request of any size gets a reply of 24 bytes, sent to the configured peer', async (t) => {
  const { plane, peer, peer6 } = makePlane();
  for (const len of [PROBE_LEN, 100, 1472, 9000]) {
    plane.clear();
    plane.fromUnderlay(PEER, probe(PROBE_REQUEST, len));
    plane.breathe();
    t.equal(plane.underlay.sent.length, 1, `${len}`);
    t.match(plane.underlay.sent[0], { peerIdx: peer });
    t.same(
      plane.underlay.sent[0].bytes,
      probe(PROBE_REPLY, len),
      'the reply repeats the length and the nonce',
    );
  }
  plane.clear();
  plane.fromUnderlay('2001:db8::1', probe(PROBE_REQUEST, 200));
  plane.breathe();
  t.match(plane.underlay.sent, [{ peerIdx: peer6 }]);
  t.same(plane.drops(-1, 'decap'), {}, 'an answered probe is not a drop');
  t.same(plane.overlay.written, [], 'a probe is not delivered as a frame');
  plane.checkIdentity(t, 'after the probes');
});

t.test('each request of a train is answered', async (t) => {
  const { plane } = makePlane();
  const one = probe(PROBE_REQUEST, 100);
  const train = new Uint8Array(300);
  for (let i = 0; i < 3; i++) train.set(one, i * 100);
  plane.fromUnderlay(PEER, train, 100);
  plane.breathe();
  t.equal(plane.underlay.sent.length, 3);
});

t.test('a reply is passed to the callback and not answered', async (t) => {
  const { plane, peer } = makePlane();
  plane.fromUnderlay(PEER, probe(PROBE_REPLY, 1472));
  plane.fromUnderlay(STRANGER, probe(PROBE_REPLY, 1472));
  plane.breathe();
  t.same(plane.underlay.sent, []);
  t.same(plane.probeReplies, [{ peerIdx: peer, high: 0x11111111, low: 0x22222222, len: 1472 }]);
  t.same(plane.drops(-1, 'decap'), { invalid_hdr: 1 }, 'the reply of a stranger is dropped');
});

t.test('ARP replies to a probe MAC are passed to the callback and delivered', async (t) => {
  const { plane, peer } = makePlane();
  const reply = (mac: string, operation = 2) => patched(arpFrame(mac, '02:00:00:00:00:0a'), 20, 0, operation);
  plane.fromPeer(STRANGER, 100, reply('02:76:11:22:33:44'));
  plane.fromPeer(PEER, 100, reply('02:76:11:22:33:44', 1));
  plane.fromPeer(PEER, 100, reply('02:77:11:22:33:44'));
  plane.fromPeer(PEER, 100, reply('02:76:11:22:33:44').slice(0, 41));
  plane.breathe();
  t.same(
    plane.probeReplies,
    [],
    'a reply of a stranger, a request, a reply to another MAC and a truncated reply are ignored',
  );
  plane.clear();
  plane.fromPeer(PEER, 100, reply('02:76:11:22:33:44'));
  plane.breathe();
  t.same(plane.probeReplies, [{ peerIdx: peer, high: 0x0276, low: 0x11223344, len: 0 }]);
  t.equal(plane.overlay.written.length, 1);
  plane.checkIdentity(t, 'after the ARP reply, which counts as a frame');
});

t.test('a reply that completes later counts as no frame', async (t) => {
  const underlay = new PendingUnderlay();
  const { plane, peer } = makePlane(underlay);
  plane.fromUnderlay(PEER, probe(PROBE_REQUEST, 100));
  plane.breathe();
  underlay.answer(1);
  plane.breathe();
  t.equal(underlay.sent.length, 1);
  t.same(plane.identity(0), { encap: [0, 0], decap: [0, 0] });
  t.equal(plane.peerCell(peer, 1), 0);
});

t.test('probes of one peer, or of VMs behind it, do not use the limit of another peer', async (t) => {
  const { plane } = makePlane();
  for (let i = 0; i < 300; i++) plane.addPeer(1, `10.9.${i >> 8}.${i & 255}`);
  plane.addVni(2, 300);
  const rows = Array.from({ length: 300 }, (_, i) => plane.addPeer(2, `10.8.${i >> 8}.${i & 255}`));
  const arp = arpFrame('02:76:01:02:03:04', '02:00:00:00:00:07');
  arp[21] = 2; // a reply
  for (let i = 0; i < 100; i++) {
    plane.fromPeer(PEER, 100, arp);
    plane.fromUnderlay(PEER, probe(PROBE_REQUEST, 100));
  }
  plane.breathe();
  plane.clear();
  for (const [i] of rows.entries())
    plane.fromUnderlay(`10.8.${i >> 8}.${i & 255}`, probe(PROBE_REQUEST, 100, 300));
  plane.breathe();
  t.equal(plane.underlay.sent.length, rows.length, 'the requests of all other peers are answered');
});
