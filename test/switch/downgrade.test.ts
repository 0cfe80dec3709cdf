import t, { type Test } from 'tap';
import { Batch } from '../../src/abi/batch.js';
import { loadShim } from '../../src/abi/binding.js';
import { PEER_ROW_LEN, SEND_SOCKETS, SOURCE_SOCKETS } from '../../src/abi/limits.js';
import { type OffloadName, Offloads } from '../../src/exchange/offloads.js';
import { Downgrade } from '../../src/switch/downgrade.js';
import { MERGE_TCP, MERGE_UDP } from '../../src/switch/port/tap.js';
import { UdpPort } from '../../src/switch/port/udp.js';
import { Tunnel } from '../../src/switch/superframes/tunnel.js';
import { sourceRow } from '../support/memory-plane.js';

const EIO = -5;
const EINVAL = -22;
const LEARNED_ROW = 7;
/** Row that belonged to a learned peer and is now empty. */
const EMPTY_ROW = 8;
const RECEIVE = 1;
const NO_CHECKSUM = 8;

/** Ports of a worker, and the refusals it reported. */
function worker(offloads: Offloads) {
  const taps = { refused: 0, merge: 0 };
  const udp = { refusedTrain: new Int32Array(2), trains: false };
  const tunnel = new Tunnel();
  const peers = {
    isUsed: (peerIdx: number) => peerIdx !== EMPTY_ROW,
    isLearned: (peerIdx: number) => peerIdx === LEARNED_ROW,
  };
  const flows = {
    offload: 'TCX_FLOWS' as const,
    on: false,
    use: (on: boolean) => void (flows.on = on),
    takeError: () => 0,
  };
  const reported: [OffloadName, number][] = [];
  const downgrade = new Downgrade(
    new Offloads(offloads.buffer),
    { taps, udp, peers, options: [tunnel, flows] },
    (...what) => reported.push(what),
  );
  return { taps, udp, flows, tunnel, reported, downgrade };
}

function granted(...names: OffloadName[]): Offloads {
  const offloads = new Offloads();
  for (const name of names) offloads.grant(name);
  return offloads;
}

t.test('ports use the supported offloads', async (t) => {
  const cases: [OffloadName[], boolean, number][] = [
    [[], false, 0],
    [['UDP_SEGMENT'], true, 0],
    [['GSO_TCP'], false, MERGE_TCP],
    [['GSO_TCP', 'GSO_UDP_L4', 'UDP_SEGMENT'], true, MERGE_TCP | MERGE_UDP],
  ];
  for (const [names, trains, merge] of cases) {
    const { taps, udp, reported, downgrade } = worker(granted(...names));
    downgrade.step();
    t.same([udp.trains, taps.merge, reported], [trains, merge, []], names.join(' '));
  }
});

t.test('a refused train is reported once and disables trains for all workers', async (t) => {
  const offloads = granted('UDP_SEGMENT');
  const [first, second] = [worker(offloads), worker(offloads)];
  for (const { udp } of [first, second]) udp.refusedTrain.set([EIO, 1]);
  for (let round = 0; round < 3; round++) {
    first.downgrade.step();
    second.downgrade.step();
    second.udp.refusedTrain.set([EINVAL, 2]);
  }
  t.same(first.reported, [['UDP_SEGMENT', EIO]]);
  t.same(second.reported, []);
  t.notOk(first.udp.trains || second.udp.trains);
  t.same(offloads.refused(), [{ names: ['UDP_SEGMENT'], error: EIO }]);
  const successor = worker(offloads);
  successor.downgrade.step();
  t.notOk(successor.udp.trains, 'a successor does not try trains again');
});

t.test('a refused train to a learned or removed peer disables nothing', async (t) => {
  const offloads = granted('UDP_SEGMENT');
  const { udp, reported, downgrade } = worker(offloads);
  for (const row of [LEARNED_ROW, EMPTY_ROW]) {
    udp.refusedTrain.set([EIO, row]);
    downgrade.step();
    t.ok(udp.trains);
    t.same(reported, []);
    t.equal(udp.refusedTrain[0], 0, 'consumed');
  }
});

t.test('refused superframes disable only their own kind', async (t) => {
  const { taps, udp, reported, downgrade } = worker(granted('UDP_SEGMENT', 'GSO_TCP', 'GSO_UDP_L4'));
  taps.refused = MERGE_UDP;
  downgrade.step();
  t.equal(taps.merge, MERGE_TCP);
  taps.refused = MERGE_UDP | MERGE_TCP;
  downgrade.step();
  downgrade.step();
  t.equal(taps.merge, 0);
  t.ok(udp.trains, 'refused superframes leave trains enabled');
  t.same(reported, [
    ['GSO_UDP_L4', EINVAL],
    ['GSO_TCP', EINVAL],
  ]);
});

t.test('the kernel refuses a train without UDP checksum; the shim then sends each datagram', async (t) => {
  const { port, receive } = senderWithoutChecksum(t);
  const { peers, taps } = {
    peers: { isUsed: () => true, isLearned: () => false },
    taps: { refused: 0, merge: 0 },
  };
  const reported: OffloadName[] = [];
  const downgrade = new Downgrade(
    granted('UDP_SEGMENT'),
    { taps, udp: port, peers, options: [new Tunnel()] },
    (name) => reported.push(name),
  );
  for (const trains of [true, false]) {
    downgrade.step();
    t.equal(port.trains, trains);
    const batch = new Batch();
    batch.count = 3;
    batch.len.fill(100);
    t.equal(port.send(batch, new Uint8Array(100)), 0, 'every datagram was sent');
    t.equal(receive(), 3);
    t.equal(port.refusedTrain[0], trains ? EINVAL : 0);
  }
  downgrade.step();
  t.same(reported, ['UDP_SEGMENT']);
});

t.test('superframes are sent whole while the offload is enabled, but not after a refusal', async (t) => {
  const offloads = granted('UDP_TUNNEL_GSO');
  const { tunnel, reported, downgrade } = worker(offloads);
  const words = new Int32Array(tunnel.bytes.buffer);
  const { layout } = loadShim();
  const fd = () => words[layout['offsetof.tunnel.fd'] / 4];
  const ports = Array.from({ length: SOURCE_SOCKETS }, () => 49_152);
  const setup = { fd: 7, local: new Uint8Array(4), mtu: 1500, ttl: 64, df: false, udpChecksum: true, ports };
  tunnel.set(setup);
  for (const [change, wanted] of [
    [() => {}, 7],
    [() => offloads.withdraw('UDP_TUNNEL_GSO'), -1],
    [() => offloads.grant('UDP_TUNNEL_GSO'), 7],
    [() => (words[layout['offsetof.tunnel.error'] / 4] = EIO), -1],
    [() => offloads.grant('UDP_TUNNEL_GSO'), -1],
  ] as const) {
    change();
    downgrade.step();
    t.equal(fd(), wanted);
  }
  t.same(reported, [['UDP_TUNNEL_GSO', EIO]]);
});

t.test('a refusal after the offload was disabled is ignored', async (t) => {
  const offloads = granted('UDP_TUNNEL_GSO');
  const { tunnel, reported, downgrade } = worker(offloads);
  offloads.withdraw('UDP_TUNNEL_GSO');
  new Int32Array(tunnel.bytes.buffer)[loadShim().layout['offsetof.tunnel.error'] / 4] = EIO;
  downgrade.step();
  offloads.grant('UDP_TUNNEL_GSO');
  downgrade.step();
  t.same(reported, []);
  t.ok(offloads.inUse('UDP_TUNNEL_GSO'));
});

/** A port whose only socket sends to itself and refuses trains. */
function senderWithoutChecksum(t: Test): { port: UdpPort; receive: () => number } {
  const shim = loadShim();
  const ownPort = 20_000 + (process.pid % 20_000);
  const row = sourceRow('127.0.0.1', ownPort);
  const fd = shim.udpOpen(row, '', RECEIVE | NO_CHECKSUM, 0, 0, 0);
  t.ok(fd >= 0, `a socket: ${fd}`);
  t.teardown(() => shim.close(fd));
  const peers = new Uint8Array(PEER_ROW_LEN);
  peers.set(row);
  const send = new Int32Array(SEND_SOCKETS).fill(-1);
  send[0] = fd;
  const port = new UdpPort(shim, { ipv4: [fd], ipv6: [], send }, peers, new Tunnel().bytes, () =>
    performance.now(),
  );
  const receive = () => {
    port.markReadable(fd);
    return port.receive(new Batch());
  };
  return { port, receive };
}
