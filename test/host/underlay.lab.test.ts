/**
 * Routes and sockets of the underlay in a real kernel.
 *
 *     eth0 192.168.80.10/24, fd01::10/64, fe80::10/64 ==== veth ==== eth1, up and without addresses
 */
import './own-namespace.js';
import { createSocket } from 'node:dgram';
import t from 'tap';
import { ip } from '../../src/host/ip-command.js';
import { deviceIndex, type Route, routesTo, routeTo } from '../../src/host/underlay.js';
import { openUnderlaySockets, type UnderlaySpec } from '../../src/host/underlay-sockets.js';
import { loadShim } from '../../src/native/binding.js';
import { parseIpAddress } from '../../src/wire/ip-address.js';

const shim = loadShim();

const SPEC: UnderlaySpec = {
  local4: '',
  local6: '',
  needed: { ipv4: true, ipv6: true },
  port: 4789,
  device: '',
  sourcePorts: { min: 49_152, max: 65_535 },
  udpChecksum: true,
  plain: false,
  df: false,
  ttl: 64,
  workers: 1,
};

async function run(commands: string): Promise<void> {
  for (const line of commands.trim().split('\n')) await ip(line.trim().split(/\s+/));
}

const route = (text: string, device?: string): Promise<Route | undefined> =>
  routeTo(parseIpAddress(text)!, device);

t.before(() =>
  run(`link set lo up
    link add eth0 mtu 9000 type veth peer name eth1 mtu 9000
    link set eth0 addrgenmode none up
    link set eth1 addrgenmode none up
    address add 192.168.80.10/24 dev eth0
    address add fd01::10/64 dev eth0 nodad
    address add fe80::10/64 dev eth0 nodad`),
);

t.test('no route is no failure', async (t) => {
  t.equal(await route('203.0.113.1'), undefined);
  t.equal(await route('2001:db8::1'), undefined);
  await run(`route add prohibit 198.51.100.0/24
    route add blackhole 198.18.0.0/16
    route add unreachable 198.19.0.0/16`);
  for (const address of ['198.51.100.1', '198.18.0.1', '198.19.0.1'])
    t.equal(await route(address), undefined, address);
});

t.test('many routes at once are those that one asks for alone', async (t) => {
  const addresses = [
    '192.168.80.11',
    '203.0.113.1',
    '198.51.100.1',
    '127.0.0.1',
    '192.168.80.12',
    '192.168.80.10',
  ];
  for (const device of ['', 'eth0']) {
    const routes = await routesTo(addresses, device);
    for (const address of addresses) t.same(routes.get(address), await route(address, device), address);
  }
  t.equal((await routesTo([])).size, 0);
  t.equal((await routesTo(addresses, 'eth7')).size, 0, 'by a device that is gone');
});

t.test('a device that is not there is a failure', async (t) => {
  await t.rejects(route('192.168.80.11', 'eth7'), { name: 'HostError', message: /eth7/ });
  await t.rejects(route('fe80::1%eth7'), { name: 'HostError', message: /eth7/ });
});

t.test("a route's own MTU goes before the device's", async (t) => {
  await run(`route add 10.9.0.0/16 via 192.168.80.11 mtu 1400
    route add 10.8.0.0/16 via 192.168.80.11 mtu lock 1300`);
  t.strictSame(await route('192.168.80.11'), { local: '192.168.80.10', device: 'eth0', mtu: 9000 });
  t.strictSame(await route('10.9.1.1'), { local: '192.168.80.10', device: 'eth0', mtu: 1400 });
  t.strictSame(await route('10.8.1.1', 'eth0'), { local: '192.168.80.10', device: 'eth0', mtu: 1300 });
  t.strictSame(await route('fd01::11'), { local: 'fd01::10', device: 'eth0', mtu: 9000 });
});

t.test('a link-local peer is reached by its scope', async (t) => {
  t.strictSame(await route('fe80::11%eth0'), { local: 'fe80::10%eth0', device: 'eth0', mtu: 9000 });
  const [link] = (await ip(['link', 'show', 'dev', 'eth0'])) as { ifindex: number }[];
  t.equal(deviceIndex('eth0'), link.ifindex);
  t.throws(() => deviceIndex('eth7'), { name: 'HostError', message: /eth7/ });
});

t.test('kernel vxlan that holds the port is named, even with local', async (t) => {
  await run(`link add vxlan7 type vxlan id 7 dstport 4789 local 192.168.80.10 dev eth0
    link set vxlan7 up`);
  t.teardown(() => run('link delete dev vxlan7'));
  await t.rejects(openUnderlaySockets(shim, { ...SPEC, local4: '127.0.0.1' }), {
    name: 'HostError',
    message:
      /^UDP port 4789 is taken: vxlan7 \(kernel vxlan\) .* even with "local".*ip link delete vxlan7.*--port/,
  });
});

t.test('a device to bind to that is not there is named', async (t) => {
  await t.rejects(openUnderlaySockets(shim, { ...SPEC, device: 'eth7' }), {
    name: 'HostError',
    message: /--underlay-dev eth7/,
  });
});

t.test('bound to a device and to a link-local address', async (t) => {
  const sockets = await openUnderlaySockets(shim, { ...SPEC, device: 'eth0', local6: 'fe80::10%eth0' });
  t.equal(new Set(sockets.sendFds).size, 128);
  sockets.close();
});

t.test('a busy source port is passed over', async (t) => {
  const socket = createSocket('udp4');
  t.teardown(() => socket.close());
  await new Promise<void>((resolve) => socket.bind(49_152, '0.0.0.0', resolve));
  const sockets = await openUnderlaySockets(shim, SPEC);
  t.equal(new Set(sockets.sendFds).size, 128);
  sockets.close();
});
