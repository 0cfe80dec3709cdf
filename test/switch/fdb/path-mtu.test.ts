/**
 * Path MTU from routes and reports, and the frame limit derived from it.
 */
import t from 'tap';
import { P_PATH_MTU } from '../../../src/exchange/counters.js';
import { packPeers } from '../../../src/exchange/protocol.js';
import { REPORT_LIFE_S } from '../../../src/switch/fdb/path-mtu.js';
import { LEARNED_ROWS, MAX_PEERS, MemoryPlane, sourceRow } from '../../support/memory-plane.js';

const ANY_PORT = 0;
const NOW_S = 5000;
const ETHERNET = 14;

/** VNI rows 0 and 1, both with this peer. */
function planeWith(address: string, pathMtu: number, packetMax = 0) {
  const plane = new MemoryPlane();
  plane.addVni(0, 100, { packetMax });
  plane.addVni(1, 200);
  const [row, other] = [0, 1].map((vniIdx) => plane.addPeer(vniIdx, address, { pathMtu }));
  const { paths, peers } = plane.tables;
  const report = (from: string, mtu: number, nowS = NOW_S, port = 4789) =>
    paths.report(new Int32Array(sourceRow(from, port).buffer), 0, mtu, nowS);
  const shown = () => plane.peerCell(row, P_PATH_MTU);
  const limit = () => peers.frameLimit[row];
  return { plane, paths, peers, row, other, report, shown, limit };
}

t.test('the frame limit is the path MTU less 36 bytes (IPv4) or 56 bytes (IPv6)', async (t) => {
  const rows: [string, number, number][] = [
    ['192.0.2.1', 1500, 1464],
    ['2001:db8::1', 1500, 1444],
    ['192.0.2.1', 9000, 8964],
    ['2001:db8::1', 1280, 1224],
    ['192.0.2.1', 0, 1464],
    ['2001:db8::1', 0, 1444],
  ];
  for (const [address, pathMtu, limit] of rows) {
    const path = planeWith(address, pathMtu);
    t.equal(path.limit(), limit, `${address}, ${pathMtu || 'no route: the path MTU of Ethernet'}`);
    t.equal(path.limit(), path.paths.carries(path.row));
    t.equal(path.shown(), 0, 'the counter shows no report');
  }
});

t.test('the `--mtu` of a VNI also bounds the frame limit', async (t) => {
  const narrow = planeWith('192.0.2.1', 1500, 1400);
  t.equal(narrow.limit(), 1400 + ETHERNET);
  t.equal(narrow.paths.carries(narrow.row), 1464, '`--mtu` does not change the path');
  t.equal(narrow.peers.frameLimit[narrow.other], 1464, 'the other VNI is unchanged');
  t.equal(narrow.paths.packetMax(narrow.row, 18, false), 1400, 'a tag does not count in `--mtu`');
  const wide = planeWith('192.0.2.1', 1500, 9000);
  t.equal(wide.limit(), 1464);
  t.equal(wide.paths.packetMax(wide.row, 18, false), 1446);
  t.equal(wide.paths.packetMax(wide.row, 18, true), 9000, 'with outer fragments `--mtu` may exceed the path');
  t.equal(wide.paths.packetMax(wide.other, 14, true), 1450, 'without `--mtu` the path decides');
});

t.test('a report lowers every row of its address and is shown', async (t) => {
  const { report, shown, limit, peers, other } = planeWith('192.0.2.1', 1500);
  t.equal(report('192.0.2.1', 1400), true);
  t.equal(limit(), 1364);
  t.equal(shown(), 1400);
  t.equal(peers.frameLimit[other], 1364);
  t.equal(report('192.0.2.1', 1400), false, 'the same report again changes nothing');
  t.equal(report('192.0.2.1', 1300), true, 'a smaller MTU lowers the path again');
  t.equal(limit(), 1264);
  t.equal(report('192.0.2.1', 1290, NOW_S, ANY_PORT), true, 'a report without a port applies to any port');
});

t.test('a report changes nothing if its address or port differs or its MTU is no smaller', async (t) => {
  const { report, limit, shown } = planeWith('192.0.2.1', 1500);
  const rows: [string, string, number, number][] = [
    ['no peer', '192.0.2.2', 1400, 4789],
    ['the same bytes, but IPv6', 'c000:201::', 1400, 4789],
    ['another port', '192.0.2.1', 1400, 4790],
    ['as large as the route', '192.0.2.1', 1500, 4789],
    ['larger', '192.0.2.1', 9000, 4789],
  ];
  for (const [name, from, mtu, port] of rows) {
    t.equal(report(from, mtu, NOW_S, port), false, name);
    t.equal(limit(), 1464, name);
    t.equal(shown(), 0, name);
  }
  report('192.0.2.1', 1300);
  t.equal(report('192.0.2.1', 1400), false, 'a report never raises a path');
  t.equal(limit(), 1264);
});

t.test('no report lowers a path below the minimum of its family', async (t) => {
  for (const mtu of [0, 1, 68, 575, -1]) {
    const ipv4 = planeWith('192.0.2.1', 1500);
    t.equal(ipv4.report('192.0.2.1', mtu), true);
    t.equal(ipv4.shown(), 576, `IPv4, ${mtu}`);
    const ipv6 = planeWith('2001:db8::1', 1500);
    t.equal(ipv6.report('2001:db8::1', mtu), true);
    t.equal(ipv6.shown(), 1280, `IPv6, ${mtu}`);
  }
  const narrow = planeWith('192.0.2.1', 500);
  t.equal(narrow.report('192.0.2.1', 68), false, 'the MTU of a route stays, even if it is below the minimum');
  t.equal(narrow.limit(), 464);
});

t.test('a report expires ten minutes after it was last received', async (t) => {
  const { report, limit, shown, paths } = planeWith('192.0.2.1', 1500);
  t.equal(REPORT_LIFE_S, 600);
  report('192.0.2.1', 1400);
  paths.expire(NOW_S + 599);
  t.equal(limit(), 1364);
  report('192.0.2.1', 1400, NOW_S + 599);
  paths.expire(NOW_S + 1198);
  t.equal(limit(), 1364, 'a report that was received again has a new lifetime');
  paths.expire(NOW_S + 1199);
  t.equal(limit(), 1464, 'the path MTU of the route applies again');
  t.equal(shown(), 0);
  t.equal(report('192.0.2.1', 1400, NOW_S + 1200), true, 'a new report lowers it again');
});

t.test('the loop removes expired reports', async (t) => {
  const { plane, report, limit } = planeWith('192.0.2.1', 1500);
  report('192.0.2.1', 1400, plane.nowMs / 1000);
  plane.pass(1500);
  t.equal(limit(), 1364);
  plane.nowMs += 600_000;
  plane.pass(1500);
  t.equal(limit(), 1464);
});

t.test('a new known path MTU changes the limit, and a report still applies', async (t) => {
  const { plane, row, report, limit, shown, peers } = planeWith('192.0.2.1', 1500);
  const know = (pathMtu: number) => {
    const address = { family: 4 as const, bytes: peers.address(row), port: 4789, scopeId: 0 };
    const packed = packPeers([{ address, flood: true, pathMtu }]);
    plane.apply({ op: 'peer.paths', peers: packed, from: 0, count: 1, peerIdx: row });
  };
  know(1400);
  t.equal(limit(), 1364);
  know(9000);
  t.equal(limit(), 8964);
  report('192.0.2.1', 1300);
  know(1500);
  t.same([limit(), shown()], [1264, 1300]);
  know(1280);
  t.equal(limit(), 1244);
  plane.removePeer(row);
  know(1500);
  t.equal(limit(), 0, 'a row without a peer has no path');
});

t.test('a row with a new peer forgets earlier reports', async (t) => {
  const { plane, report, row, paths, peers } = planeWith('192.0.2.1', 1500);
  report('192.0.2.1', 1300);
  plane.removePeer(row);
  t.equal(peers.frameLimit[row], 0);
  paths.expire(NOW_S + 600);
  t.equal(peers.frameLimit[row], 0, 'a row without a peer has no limit');
  const address = { family: 6 as const, bytes: new Uint8Array(16).fill(7), port: 4789, scopeId: 0 };
  const peers6 = packPeers([{ address, flood: true, pathMtu: 9000 }]);
  plane.apply({ op: 'peer.add', peerIdx: row, vniIdx: 0, peers: peers6, from: 0, count: 1, generation: 99 });
  t.equal(peers.frameLimit[row], 8944);
});

t.test('an unconfigured source gets a limit on first use', async (t) => {
  const plane = new MemoryPlane();
  plane.addVni(0, 100, { accept: 'any' });
  const { peers, paths } = plane.tables;
  const learn = (address: string) =>
    peers.learnSource(0, new Int32Array(sourceRow(address).buffer), 0, 4789, plane.tables.vnis.otherIdx[0]);
  const first = learn('2001:db8::9');
  t.ok(first >= MAX_PEERS - LEARNED_ROWS);
  t.equal(peers.frameLimit[first], 0, 'the row of a source has no limit before its first use');
  t.equal(paths.carries(first), 1444);
  t.equal(peers.frameLimit[first], 1444);
  t.equal(paths.report(new Int32Array(sourceRow('2001:db8::9', 4789).buffer), 0, 1300, NOW_S), true);
  peers.releaseLearned(first);
  const second = learn('192.0.2.9');
  t.equal(second, first, 'the next source gets the same row');
  t.equal(paths.report(new Int32Array(sourceRow('192.0.2.9', 4789).buffer), 0, 1490, NOW_S), true);
  t.equal(peers.frameLimit[second], 1454, 'nothing remains of the former peer');
});

t.test('a report of another worker lowers the path', async (t) => {
  const { plane, limit } = planeWith('192.0.2.1', 1500);
  plane.apply({ op: 'path.report', row: new Int32Array(sourceRow('192.0.2.1', 4789).buffer), mtu: 1400 });
  t.equal(limit(), 1364);
  plane.pass(1500);
  t.equal(limit(), 1364, 'a report of another worker has the same effect as one received here');
});
