import t from 'tap';
import { parseRoute, routeTo } from '../../src/paths/underlay.js';
import { parseIpAddress } from '../../src/wire/ip-address.js';

t.test('a route without a device is rejected', async (t) => {
  t.throws(() => parseRoute({}), { name: 'HostError' });
});

t.test('parses routes as iproute2 6.1 prints them', async (t) => {
  t.strictSame(
    parseRoute({ dst: '192.168.80.11', dev: 'eth0', prefsrc: '192.168.80.10', flags: [], uid: 0, cache: [] }),
    { local: '192.168.80.10', device: 'eth0', mtu: undefined },
  );
  t.strictSame(
    // A route metric.
    parseRoute({
      dst: '10.9.1.1',
      gateway: '192.168.80.11',
      dev: 'eth0',
      prefsrc: '192.168.80.10',
      metrics: [{ mtu: 1400 }],
    }),
    { local: '192.168.80.10', device: 'eth0', mtu: 1400 },
  );
  t.strictSame(
    // An entry that the kernel learned from ICMP expires.
    parseRoute({ dst: '10.2.0.1', dev: 'eth0', prefsrc: '10.1.0.1', expires: 599, metrics: [{ mtu: 1400 }] }),
    { local: '10.1.0.1', device: 'eth0', mtu: undefined },
  );
  t.strictSame(parseRoute({ dst: 'fe80::1', from: '::', dev: 'eth0', metrics: [{ advmss: 1220 }] }), {
    local: '',
    device: 'eth0',
    mtu: undefined,
  });
});

t.test('the route to this machine uses the loopback device', async (t) => {
  const route = await routeTo(parseIpAddress('127.0.0.1')!);
  t.match(route, { local: '127.0.0.1', device: 'lo' });
  t.ok(route!.mtu >= 1500);
});
