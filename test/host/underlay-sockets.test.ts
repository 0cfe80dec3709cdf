import { createSocket } from 'node:dgram';
import { readdirSync } from 'node:fs';
import { constants } from 'node:os';
import t, { type Test } from 'tap';
import { loadShim, type Shim } from '../../src/abi/binding.js';
import { RECEIVE_SOCKETS } from '../../src/abi/limits.js';
import { openUnderlaySockets, type UnderlaySpec } from '../../src/host/underlay-sockets.js';

const shim = loadShim();

const SPEC: UnderlaySpec = {
  local4: '127.0.0.1',
  local6: '',
  scopeId: () => 0,
  needed: { ipv4: true, ipv6: false },
  port: 0,
  device: '',
  mark: 0,
  sourcePorts: { min: 49_152, max: 65_535 },
  udpChecksum: true,
  plain: false,
  ttl: 64,
  workers: 1,
};

const openDescriptors = () => readdirSync('/proc/self/fd').length;

/** Returns a port that was not in use a moment ago. */
async function freePort(): Promise<number> {
  const socket = createSocket('udp4');
  await new Promise<void>((resolve) => socket.bind(0, '127.0.0.1', resolve));
  const { port } = socket.address();
  await new Promise<void>((resolve) => socket.close(resolve));
  return port;
}

/** Asserts that opening fails with `message` and leaves no descriptor open. */
async function refused(t: Test, change: Partial<UnderlaySpec>, message: RegExp): Promise<void> {
  const before = openDescriptors();
  await t.rejects(openUnderlaySockets(shim, { ...SPEC, ...change }), { name: 'HostError', message });
  t.equal(openDescriptors(), before, 'no descriptor is left open');
}

t.test('the error about a port in use names the process that holds the port', async (t) => {
  const socket = createSocket('udp4');
  t.teardown(() => socket.close());
  await new Promise<void>((resolve) => socket.bind(0, '127.0.0.1', resolve));
  const { port } = socket.address();
  await refused(t, { port }, new RegExp(`UDP port ${port} is taken: process ${process.pid} `));
});

t.test('addresses that cannot be bound are rejected', async (t) => {
  const port = await freePort();
  await refused(t, { port, local4: '::1' }, /--local ::1 is not an IPv4 address/);
  await refused(t, { port, local6: 'fe80::77' }, /--local fe80::77 .*fe80::77%eth0/);
});

t.test('a source port range that is too narrow is rejected', async (t) => {
  const port = await freePort();
  await refused(
    t,
    { port, sourcePorts: { min: 61_000, max: 61_062 } },
    /--source-ports 61000-61062 has \d+ free ports for IPv4, 64 are needed/,
  );
});

t.test('two pools need twice as many source ports', async (t) => {
  const port = await freePort();
  await refused(
    t,
    { port, df: 'inherit', sourcePorts: { min: 61_000, max: 61_100 } },
    /--source-ports 61000-61100 has \d+ free ports for IPv4, 128 are needed/,
  );
});

t.test('each family has a receive group and 64 sending sockets; close closes all of them', async (t) => {
  const before = openDescriptors();
  const sockets = await openUnderlaySockets(shim, { ...SPEC, local6: '::1', port: await freePort() });
  const all = [...sockets.receiveFds.flatMap(({ ipv4, ipv6 }) => [...ipv4, ...ipv6]), ...sockets.sendFds];
  t.equal(sockets.sendFds.length, 256);
  t.equal(new Set(all.filter((fd) => fd >= 0)).size, 128 + 2 * RECEIVE_SOCKETS);
  t.ok(sockets.sendFds.slice(0, 128).every((fd) => fd >= 0));
  t.ok(
    sockets.sendFds.slice(128).every((fd) => fd === -1),
    'there are no sockets with DF clear',
  );
  t.equal(openDescriptors(), before + 128 + 2 * RECEIVE_SOCKETS);
  sockets.close();
  t.equal(openDescriptors(), before);
  sockets.close();
  t.equal(openDescriptors(), before, 'a second close closes no unrelated descriptor');
});

t.test('a single source port: everything is sent from the receive group', async (t) => {
  const before = openDescriptors();
  for (const df of ['set', 'unset'] as const) {
    const port = await freePort();
    const spec = { ...SPEC, local6: '::1', port, sourcePorts: { min: port, max: port }, workers: 2, df };
    const sockets = await openUnderlaySockets(shim, spec);
    t.equal(openDescriptors(), before + 4 * RECEIVE_SOCKETS, 'there are no other sockets');
    const [{ ipv4, ipv6 }] = sockets.receiveFds;
    const pools = [0, 64, 128, 192].map((from) => [...new Set(sockets.sendFds.slice(from, from + 64))]);
    const used = [[ipv4[0]], [ipv6[0]]];
    t.same(pools, df === 'set' ? [...used, [-1], [-1]] : [[-1], [-1], ...used]);
    t.same(sockets.probeFds, { ipv4: ipv4.at(-1), ipv6: ipv6.at(-1) });
    t.ok(sockets.sendFds.every((fd) => fd < 0 || shim.udpPort(fd) === port));
    sockets.close();
    t.equal(openDescriptors(), before);
  }
});

t.test('a single source port on a kernel without the program: one socket does everything', async (t) => {
  const kernel = { ...shim, udpSelect: () => -constants.errno.ENOPROTOOPT };
  for (const df of ['set', 'unset'] as const) {
    const port = await freePort();
    const sockets = await openUnderlaySockets(kernel, {
      ...SPEC,
      port,
      sourcePorts: { min: port, max: port },
      df,
    });
    const [{ ipv4 }] = sockets.receiveFds;
    t.equal(ipv4.length, 1);
    t.equal(sockets.sendFds[df === 'set' ? 0 : 128], ipv4[0]);
    t.equal(sockets.probeFds?.ipv4, df === 'set' ? ipv4[0] : -1, 'a probe needs DF');
    sockets.close();
  }
});

t.test('a pool of sockets leaves probes to sockets of their own', async (t) => {
  const sockets = await openUnderlaySockets(shim, { ...SPEC, port: await freePort() });
  t.equal(sockets.probeFds, undefined);
  sockets.close();
});

t.test(
  'each of several workers has a receive group on one port, which no other process can join',
  async (t) => {
    const port = await freePort();
    const before = openDescriptors();
    const sockets = await openUnderlaySockets(shim, { ...SPEC, local6: '::1', port, workers: 3 });
    t.equal(sockets.receiveFds.length, 3);
    t.equal(
      new Set(sockets.receiveFds.flatMap(({ ipv4, ipv6 }) => [...ipv4, ...ipv6])).size,
      6 * RECEIVE_SOCKETS,
    );
    t.equal(sockets.sendFds.filter((fd) => fd >= 0).length, 128, 'all workers share one pool');
    for (const workers of [1, 3])
      await refused(t, { port, workers }, new RegExp(`UDP port ${port} is taken: process ${process.pid} `));
    sockets.close();
    t.equal(openDescriptors(), before);
  },
);

t.test('with several workers, opening a port that a single socket holds fails', async (t) => {
  const port = await freePort();
  const single = await openUnderlaySockets(shim, { ...SPEC, port });
  t.teardown(() => single.close());
  await refused(t, { port, workers: 2 }, /is taken: process/);
});

t.test('offloads that the kernel lacks are not used, and are reported', async (t) => {
  const { ENOPROTOOPT } = constants.errno;
  /** A kernel that lacks the requested options. */
  const lacking = (lacks: (options: number) => boolean): Shim => ({
    ...shim,
    udpOpen: (local, device, options, ...rest) => {
      return lacks(options) ? -ENOPROTOOPT : shim.udpOpen(local, device, options, ...rest);
    },
  });
  const opened = async (lacks: (options: number) => boolean) => {
    const sockets = await openUnderlaySockets(lacking(lacks), { ...SPEC, port: await freePort() });
    sockets.close();
    return Object.fromEntries(sockets.refused);
  };
  const TRAINS = 128;
  t.same(await opened(() => false), {}, 'a kernel with all offloads refuses none');
  t.same(await opened((options) => (options & TRAINS) !== 0), { UDP_SEGMENT: -ENOPROTOOPT });
  for (const call of ['udpSetGro', 'udpSelect'] as const) {
    let calls = 0;
    const kernel = {
      ...shim,
      [call]: () => {
        calls++;
        return -ENOPROTOOPT;
      },
    };
    const spec = { ...SPEC, local6: '::1', port: await freePort(), workers: 2 };
    const sockets = await openUnderlaySockets(kernel, spec);
    t.same(Object.fromEntries(sockets.refused), { UDP_GRO: -ENOPROTOOPT }, call);
    t.same(
      sockets.receiveFds.flatMap(({ ipv4, ipv6 }) => [ipv4.length, ipv6.length]),
      [1, 1, 1, 1],
      'one plain socket per family and worker is left',
    );
    t.equal(calls, 1, 'a refused offload is requested once');
    sockets.close();
  }
  await refused(t, { port: await freePort(), local6: 'fe80::77' }, /fe80::77%eth0/);
});
