/**
 * Routes and sockets of the underlay in a real kernel.
 *
 *     eth0 192.168.80.10/24, fd01::10/64, fe80::10/64 ==== veth ==== eth1, up and without addresses
 */
import '../host/own-namespace.js';
import { createSocket } from 'node:dgram';
import { writeFileSync } from 'node:fs';
import t, { type Test } from 'tap';
import { Batch, DF_CLEAR_TOO_BIG, DF_SET } from '../../src/abi/batch.js';
import { loadShim } from '../../src/abi/binding.js';
import { PEER_ROW_LEN } from '../../src/abi/limits.js';
import { ORIGIN_LOCAL, PathErrors } from '../../src/abi/path-errors.js';
import { makeTunnelRow } from '../../src/abi/tunnel-row.js';
import { Machine } from '../../src/host/machine.js';
import { type OuterDf, openUnderlaySockets, type UnderlaySpec } from '../../src/host/underlay-sockets.js';
import { type Route, routeTo } from '../../src/paths/underlay.js';
import { UdpPort } from '../../src/switch/port/udp.js';
import { parseIpAddress } from '../../src/wire/ip-address.js';
import { run } from '../support/command.js';
import { ip, ipShow } from '../support/machine.js';
import { sourceRow } from '../support/memory-plane.js';

const NO_TUNNEL = new Uint8Array(makeTunnelRow().buffer);

const shim = loadShim();

const machine = await Machine.open(shim);
t.teardown(() => machine.close());

const SPEC: UnderlaySpec = {
  local4: '',
  local6: '',
  scopeId: (scope) => machine.scopeId(scope),
  needed: { ipv4: true, ipv6: true },
  port: 4789,
  device: '',
  mark: 0,
  sourcePorts: { min: 49_152, max: 65_535 },
  udpChecksum: true,
  plain: false,
  ttl: 64,
  workers: 1,
};

async function route(text: string, device = '', mark = 0): Promise<Route | undefined> {
  await machine.current();
  const bound = device === '' ? undefined : machine.scopeId(device);
  return routeTo(machine, parseIpAddress(text)!, { bound, mark });
}

t.before(() =>
  ip(`link set lo up
    link add eth0 mtu 9000 type veth peer name eth1 mtu 9000
    link set eth0 addrgenmode none up
    link set eth1 addrgenmode none up
    address add 192.168.80.10/24 dev eth0
    address add fd01::10/64 dev eth0 nodad
    address add fe80::10/64 dev eth0 nodad`),
);

t.test('a missing route is not an error', async (t) => {
  t.equal(await route('203.0.113.1'), undefined);
  t.equal(await route('2001:db8::1'), undefined);
  await ip(`route add prohibit 198.51.100.0/24
    route add blackhole 198.18.0.0/16
    route add unreachable 198.19.0.0/16`);
  for (const address of ['198.51.100.1', '198.18.0.1', '198.19.0.1'])
    t.equal(await route(address), undefined, address);
});

t.test('each of hundreds of concurrent look-ups has its own result', async (t) => {
  const addresses = ['192.168.80.11', 'fd01::11', '203.0.113.1', 'fe80::1%eth0', '127.0.0.1'];
  for (const device of ['', 'eth0']) {
    const alone: (Route | undefined)[] = [];
    for (const address of addresses) alone.push(await route(address, device));
    const many = Array.from({ length: 500 }, (_, i) => i % addresses.length);
    const found = await Promise.all(many.map((i) => route(addresses[i], device)));
    t.same(
      found,
      many.map((i) => alone[i]),
    );
  }
});

t.test('by a device that does not exist there is no route', async (t) => {
  t.equal(await route('192.168.80.11', 'eth7'), undefined);
  t.equal(await route('fe80::1%eth7'), undefined);
});

t.test('by a device that is down there is no route', async (t) => {
  await ip('link add name eth9 type veth peer name eth8');
  t.teardown(() => ip('link delete dev eth9'));
  t.equal(await route('203.0.113.1', 'eth9'), undefined);
  t.equal(await route('2001:db8::1', 'eth9'), undefined);
});

t.test('routes of marked packets are those of the rules, in both families', async (t) => {
  const mark = 0xffff_fff7;
  await ip(`route add 203.0.113.0/24 dev eth0 src 192.168.80.10 mtu 1300 table 77
    route add 2001:db8::/32 dev eth0 src fd01::10 mtu 1400 table 77
    rule add fwmark ${mark} lookup 77`);
  await run(`ip -6 rule add fwmark ${mark} lookup 77`);
  t.match(await route('203.0.113.1', '', mark), { local: '192.168.80.10', device: 'eth0', mtu: 1300 });
  t.match(await route('2001:db8::1', '', mark), { local: 'fd01::10', device: 'eth0', mtu: 1400 });
  t.equal((await route('203.0.113.1', 'eth0', mark))?.mtu, 1300);
  for (const address of ['203.0.113.1', '2001:db8::1']) {
    t.equal(await route(address), undefined, 'without the mark there is no route');
    t.equal(await route(address, '', mark - 1), undefined, 'another mark has no route');
  }
});

t.test('the source of an IPv6 route is a public address, by each device and mark', async (t) => {
  await ip('link set eth1 down');
  writeFileSync('/proc/sys/net/ipv6/conf/eth0/use_tempaddr', '2');
  await ip('address add fd02::10/64 dev eth0 nodad mngtmpaddr');
  t.match(await run('ip address show dev eth0 temporary'), /fd02/);
  for (const [device, mark] of [
    ['', 0],
    ['eth0', 0],
    ['', 7],
  ] as const)
    t.equal((await route('fd02::11', device, mark))?.local, 'fd02::10', `${device} ${mark}`);
  t.equal((await route('fe80::1%eth0'))?.local, 'fe80::10%eth0');
  t.equal((await route(`fe80::1%${machine.scopeId('eth0')}`))?.local, 'fe80::10%eth0', 'a scope by number');
  await ip('address del fd02::10/64 dev eth0\nlink set eth1 up');
});

t.test('the MTU of a route overrides that of the device', async (t) => {
  await ip(`route add 10.9.0.0/16 via 192.168.80.11 mtu 1400
    route add 10.8.0.0/16 via 192.168.80.11 mtu lock 1300`);
  const eth0 = { device: 'eth0', deviceIndex: machine.get('eth0').index };
  t.strictSame(await route('192.168.80.11'), { local: '192.168.80.10', ...eth0, mtu: 9000 });
  t.strictSame(await route('10.9.1.1'), { local: '192.168.80.10', ...eth0, mtu: 1400 });
  t.strictSame(await route('10.8.1.1', 'eth0'), { local: '192.168.80.10', ...eth0, mtu: 1300 });
  t.strictSame(await route('fd01::11'), { local: 'fd01::10', ...eth0, mtu: 9000 });
});

t.test('a link-local peer is reached by its scope id', async (t) => {
  const [{ ifindex }] = await ipShow('link show dev eth0');
  const expected = { local: 'fe80::10%eth0', device: 'eth0', deviceIndex: ifindex, mtu: 9000 };
  t.strictSame(await route('fe80::11%eth0'), expected);
  t.strictSame(await route(`fe80::11%${ifindex}`), expected, 'the scope is possibly a number');
  t.equal(machine.scopeId('eth0'), ifindex);
  t.equal(machine.scopeId('12'), 12);
  t.equal(machine.scopeId('eth7'), 0);
});

t.test(
  'the error names the kernel vxlan device that uses the port, even if vtepd has a local address too',
  async (t) => {
    await ip(`link add vxlan7 type vxlan id 7 dstport 4789 local 192.168.80.10 dev eth0
    link set vxlan7 up`);
    t.teardown(() => ip('link delete dev vxlan7'));
    await t.rejects(openUnderlaySockets(shim, { ...SPEC, local4: '127.0.0.1' }), {
      name: 'HostError',
      message:
        /^UDP port 4789 is taken: vxlan7 \(kernel vxlan\) .* even with "local".*ip link delete vxlan7.*--port/,
    });
  },
);

t.test('the error names a missing device to bind to', async (t) => {
  await t.rejects(openUnderlaySockets(shim, { ...SPEC, device: 'eth7' }), {
    name: 'HostError',
    message: /--underlay-dev eth7/,
  });
});

t.test('binds to a device and to a link-local address', async (t) => {
  const sockets = await openUnderlaySockets(shim, { ...SPEC, device: 'eth0', local6: 'fe80::10%eth0' });
  t.equal(new Set(sockets.sendFds.filter((fd) => fd >= 0)).size, 128);
  sockets.close();
});

t.test('a busy source port is skipped', async (t) => {
  const socket = createSocket('udp4');
  t.teardown(() => socket.close());
  await new Promise<void>((resolve) => socket.bind(49_152, '0.0.0.0', resolve));
  const sockets = await openUnderlaySockets(shim, SPEC);
  t.equal(new Set(sockets.sendFds.filter((fd) => fd >= 0)).size, 128);
  sockets.close();
});

const EAFNOSUPPORT = -97;
const EMSGSIZE = -90;
/** Exceeds the MTU of eth0, 9,000. */
const TOO_LARGE_LEN = 9200;

/** Opens a port with the sockets for `df`; peer 0 is behind eth0 over IPv4, peer 1 over IPv6. */
async function openPort(t: Test, df?: OuterDf): Promise<{ port: UdpPort; sendFds: number[] }> {
  const sockets = await openUnderlaySockets(shim, df === undefined ? SPEC : { ...SPEC, df });
  t.teardown(() => sockets.close());
  const peers = new Uint8Array(2 * PEER_ROW_LEN);
  peers.set(sourceRow('192.168.80.11', 4789));
  peers.set(sourceRow('fd01::11', 4789), PEER_ROW_LEN);
  const [receivers] = sockets.receiveFds;
  const port = new UdpPort(
    shim,
    { ...receivers, send: Int32Array.from(sockets.sendFds) },
    peers,
    NO_TUNNEL,
    () => 0,
  );
  port.trains = true;
  return { port, sendFds: sockets.sendFds };
}

/** Sends three datagrams to each peer. @returns the six statuses */
function sendTo(port: UdpPort, df: number, length: number): number[] {
  const batch = new Batch();
  batch.count = 6;
  for (let i = 0; i < 6; i++) {
    batch.len[i] = length;
    batch.peerIdx[i] = i < 3 ? 0 : 1;
    batch.df[i] = df;
  }
  port.send(batch, new Uint8Array(length));
  return [...batch.status.subarray(0, 6)];
}

const six = (status: number) => new Array(6).fill(status);

for (const [df, pools, answerSet, answerClear] of [
  [undefined, [64, 64, 0, 0], EMSGSIZE, EAFNOSUPPORT],
  ['set', [64, 64, 0, 0], EMSGSIZE, EAFNOSUPPORT],
  ['unset', [0, 0, 64, 64], EAFNOSUPPORT, 0],
  ['inherit', [64, 64, 64, 64], EMSGSIZE, 0],
] as const)
  t.test(
    `df ${df ?? 'unspecified'}: the pools are opened, and only those with DF clear let the kernel fragment`,
    async (t) => {
      const { port, sendFds } = await openPort(t, df);
      const opened = sendFds.filter((fd) => fd >= 0);
      const inPool = (pool: number) =>
        sendFds.slice(pool * 64, pool * 64 + 64).filter((fd) => fd >= 0).length;
      t.equal(new Set(opened).size, opened.length);
      t.same([0, 1, 2, 3].map(inPool), pools);
      t.same(sendTo(port, DF_SET, TOO_LARGE_LEN), six(answerSet));
      t.same(sendTo(port, DF_CLEAR_TOO_BIG, TOO_LARGE_LEN), six(answerClear));
    },
  );

t.test('a datagram larger than the device MTU is reported as a path error, once', async (t) => {
  const { port } = await openPort(t);
  const report = new PathErrors();
  t.equal(port.takePathErrors(report), 0);
  t.same(sendTo(port, DF_SET, TOO_LARGE_LEN), six(EMSGSIZE));
  t.equal(port.takePathErrors(report), 2);
  const rows = [0, 1].map((row) => [report.port(row), report.mtu(row), report.origin(row)]);
  t.same(rows, [
    [0, 9000, ORIGIN_LOCAL], // over IPv4 the kernel does not report the port
    [4789, 9000, ORIGIN_LOCAL],
  ]);
  for (const [row, address] of ['192.168.80.11', 'fd01::11'].entries())
    t.same(report.bytes.slice(row * 32 + 4, row * 32 + 24), sourceRow(address, 0).slice(4, 24), address);
  t.equal(port.takePathErrors(report), 0);
  t.equal(report.count, 0);
});
