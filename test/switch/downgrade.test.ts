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
/** Of a learned peer that was forgotten since. */
const EMPTY_ROW = 8;
const RECEIVE = 1;
const NO_CHECKSUM = 8;

/** A worker's ports, and what it has said. */
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
  const said: [OffloadName, number][] = [];
  const downgrade = new Downgrade(
    new Offloads(offloads.buffer),
    { taps, udp, peers, options: [tunnel, flows] },
    (...what) => said.push(what),
  );
  return { taps, udp, flows, tunnel, said, downgrade };
}

function granted(...names: OffloadName[]): Offloads {
  const offloads = new Offloads();
  for (const name of names) offloads.grant(name);
  return offloads;
}

t.test('ports use what was granted', async (t) => {
  const cases: [OffloadName[], boolean, number][] = [
    [[], false, 0],
    [['UDP_SEGMENT'], true, 0],
    [['GSO_TCP'], false, MERGE_TCP],
    [['GSO_TCP', 'GSO_UDP_L4', 'UDP_SEGMENT'], true, MERGE_TCP | MERGE_UDP],
  ];
  for (const [names, trains, merge] of cases) {
    const { taps, udp, said, downgrade } = worker(granted(...names));
    downgrade.step();
    t.same([udp.trains, taps.merge, said], [trains, merge, []], names.join(' '));
  }
});

t.test('a refused train: said once, by one worker, and all go without', async (t) => {
  const offloads = granted('UDP_SEGMENT');
  const [first, second] = [worker(offloads), worker(offloads)];
  for (const { udp } of [first, second]) udp.refusedTrain.set([EIO, 1]);
  for (let round = 0; round < 3; round++) {
    first.downgrade.step();
    second.downgrade.step();
    second.udp.refusedTrain.set([EINVAL, 2]);
  }
  t.same(first.said, [['UDP_SEGMENT', EIO]]);
  t.same(second.said, []);
  t.notOk(first.udp.trains || second.udp.trains);
  t.same(offloads.refused(), [{ names: ['UDP_SEGMENT'], error: EIO }]);
  const successor = worker(offloads);
  successor.downgrade.step();
  t.notOk(successor.udp.trains, 'a successor does not try again');
});

t.test('a refused train to a learned peer, or one that is gone, turns nothing off', async (t) => {
  const offloads = granted('UDP_SEGMENT');
  const { udp, said, downgrade } = worker(offloads);
  for (const row of [LEARNED_ROW, EMPTY_ROW]) {
    udp.refusedTrain.set([EIO, row]);
    downgrade.step();
    t.ok(udp.trains);
    t.same(said, []);
    t.equal(udp.refusedTrain[0], 0, 'heard');
  }
});

t.test('refused superframes, one kind at a time', async (t) => {
  const { taps, udp, said, downgrade } = worker(granted('UDP_SEGMENT', 'GSO_TCP', 'GSO_UDP_L4'));
  taps.refused = MERGE_UDP;
  downgrade.step();
  t.equal(taps.merge, MERGE_TCP);
  taps.refused = MERGE_UDP | MERGE_TCP;
  downgrade.step();
  downgrade.step();
  t.equal(taps.merge, 0);
  t.ok(udp.trains, 'trains are another matter');
  t.same(said, [
    ['GSO_UDP_L4', EINVAL],
    ['GSO_TCP', EINVAL],
  ]);
});

t.test('a train that the kernel really refuses, for it has no UDP checksum', async (t) => {
  const { port, receive } = senderWithoutChecksum(t);
  const { peers, taps } = {
    peers: { isUsed: () => true, isLearned: () => false },
    taps: { refused: 0, merge: 0 },
  };
  const said: OffloadName[] = [];
  const downgrade = new Downgrade(
    granted('UDP_SEGMENT'),
    { taps, udp: port, peers, options: [new Tunnel()] },
    (name) => said.push(name),
  );
  for (const trains of [true, false]) {
    downgrade.step();
    t.equal(port.trains, trains);
    const batch = new Batch();
    batch.count = 3;
    batch.len.fill(100);
    t.equal(port.send(batch, new Uint8Array(100)), 0, 'every datagram went');
    t.equal(receive(), 3);
    t.equal(port.refusedTrain[0], trains ? EINVAL : 0);
  }
  downgrade.step();
  t.same(said, ['UDP_SEGMENT']);
});

t.test('superframes leave whole while it is granted, and never again after a refusal', async (t) => {
  const offloads = granted('UDP_TUNNEL_GSO');
  const { tunnel, said, downgrade } = worker(offloads);
  const words = new Int32Array(tunnel.bytes.buffer);
  const { layout } = loadShim();
  const fd = () => words[layout['offsetof.tunnel.fd'] / 4];
  const ports = Array.from({ length: SOURCE_SOCKETS }, () => 49_152);
  const way = { fd: 7, local: new Uint8Array(4), mtu: 1500, ttl: 64, df: false, udpChecksum: true, ports };
  tunnel.set(way);
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
  t.same(said, [['UDP_TUNNEL_GSO', EIO]]);
});

t.test('a refusal that comes after the offload was withdrawn is none', async (t) => {
  const offloads = granted('UDP_TUNNEL_GSO');
  const { tunnel, said, downgrade } = worker(offloads);
  offloads.withdraw('UDP_TUNNEL_GSO');
  new Int32Array(tunnel.bytes.buffer)[loadShim().layout['offsetof.tunnel.error'] / 4] = EIO;
  downgrade.step();
  offloads.grant('UDP_TUNNEL_GSO');
  downgrade.step();
  t.same(said, []);
  t.ok(offloads.inUse('UDP_TUNNEL_GSO'));
});

/** Sends to itself from its only socket, which refuses trains. */
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
