/**
 * Opening and closing a TAP in a real kernel: new devices, adopted devices, nothing left behind.
 *
 *     [ br-vxlan ]            created or existing
 *        |      |
 *     vtep100  port           TAP, created or existing;  port: a veth with an unused far end
 */
import './own-namespace.js';
import { spawnSync } from 'node:child_process';
import t, { type Test } from 'tap';
import { loadShim } from '../../src/abi/binding.js';
import { ip } from '../../src/host/ip-command.js';
import { addressesOf, findLink, getLink } from '../../src/host/link.js';
import { type OverlayDeviceSpec, openOverlayDevice } from '../../src/host/overlay-device.js';
import { formatMac } from '../../src/wire/mac.js';

const shim = loadShim();
const TAP = 'vtep100';
const BRIDGE = 'br-vxlan';

const SPEC: OverlayDeviceSpec = {
  vni: 100,
  tap: TAP,
  bridge: '',
  addresses: [],
  mac: '',
  derivedMac: { high: 0xfe11, low: 0x22334455 },
  unbridgedMtu: 1450,
  queues: 1,
  offload: true,
};

const run = (commands: string) =>
  commands
    .split('\n')
    .map((line) => line.trim())
    .reduce(async (before: Promise<unknown>, line) => {
      await before;
      await ip(line.split(/\s+/));
    }, Promise.resolve());

/** Returns all devices and addresses, without properties that change by themselves. */
async function machine(): Promise<unknown> {
  const links = (await ip(['link', 'show'])) as Record<string, unknown>[];
  const stable = links.map(({ ifname, flags, mtu, address, master, ifalias, inet6_addr_gen_mode }) => ({
    ifname,
    up: (flags as string[]).includes('UP'),
    mtu,
    address,
    master,
    ifalias,
    inet6_addr_gen_mode,
  }));
  const addresses = await Promise.all(links.map(({ ifname }) => addressesOf(ifname as string)));
  return {
    stable,
    addresses: addresses.map((list) => list.filter((address) => !address.startsWith('fe80'))),
  };
}

/**
 * Defines a test that runs `commands`, then `body`, and asserts that `body` leaves the machine
 * unchanged.
 */
function lab(name: string, commands: string, body: (t: Test) => Promise<void>): void {
  t.test(name, async (t) => {
    const empty = await machine();
    if (commands !== '') await run(commands);
    const before = await machine();
    await body(t);
    t.strictSame(await machine(), before, 'the machine is unchanged');
    for (const device of [TAP, BRIDGE, 'port']) {
      if (await findLink(device)) await run(`link delete dev ${device}`);
    }
    t.strictSame(await machine(), empty, 'the test itself leaves nothing behind');
  });
}

const refused = (t: Test, change: Partial<OverlayDeviceSpec>, message: RegExp) =>
  t.rejects(openOverlayDevice(shim, { ...SPEC, ...change }), { name: 'HostError', message });

lab('a device that is not a TAP is rejected', 'link add vtep100 type veth peer name far', async (t) => {
  await refused(t, {}, /^vtep100 exists and is a veth device, not a TAP: choose another --tap name/);
  await refused(t, { bridge: BRIDGE }, /not a TAP/);
});

lab('a TUN is rejected', 'tuntap add dev vtep100 mode tun', (t) =>
  refused(t, {}, /^vtep100 exists and is a TUN/).then(() => undefined),
);

lab('a multi-queue TAP is rejected with one worker', 'tuntap add dev vtep100 mode tap multi_queue', (t) =>
  refused(t, {}, /^vtep100 was created with multi_queue/).then(() => undefined),
);

lab('a single-queue TAP is rejected with several workers', 'tuntap add dev vtep100 mode tap', (t) =>
  refused(t, { queues: 2 }, /^vtep100 was created without multi_queue, which --workers 2 needs/).then(
    () => undefined,
  ),
);

lab('with several workers a new TAP has a queue for each worker', '', async (t) => {
  const device = await openOverlayDevice(shim, { ...SPEC, queues: 3 });
  t.equal(new Set(device.fds).size, 3);
  t.equal(device.unsteered, '');
  t.match((await getLink(TAP)).data, { multi_queue: true, numqueues: 3 });
  for (const queues of [1, 3])
    await refused(t, { queues }, /vtep100 is in use by another program \(another vtepd\)/);
  t.match((await getLink(TAP)).data, { numqueues: 3 }, 'no other program got a queue');
  await device.close();
  t.equal(await findLink(TAP), undefined);
});

lab(
  'with several workers an existing TAP is adopted with its queues and restored',
  'tuntap add dev vtep100 mode tap multi_queue',
  async (t) => {
    const device = await openOverlayDevice(shim, { ...SPEC, queues: 2 });
    t.match((await getLink(TAP)).data, { numqueues: 2 });
    await device.close();
    t.match((await getLink(TAP)).data, { multi_queue: true, numqueues: 0 });
  },
);

lab('a bridge name of another kind of device is rejected', 'link add br-vxlan type veth peer name far', (t) =>
  refused(t, { bridge: BRIDGE }, /^br-vxlan is a veth device, not a kernel bridge/).then(() => undefined),
);

lab('a late failure reverts the steps before it', '', async (t) => {
  await refused(t, { unbridgedMtu: 70_000 }, /mtu/i);
  await refused(
    t,
    { bridge: BRIDGE, addresses: ['10.10.10.1'] },
    /10\.10\.10\.1 is not an address with a prefix/,
  );
  await refused(t, { bridge: BRIDGE, mac: '01:00:5e:00:00:01' }, /address 01:00:5e:00:00:01/);
});

lab('a TAP in use is rejected without disturbing its user', '', async (t) => {
  const device = await openOverlayDevice(shim, { ...SPEC, addresses: ['10.10.10.1/24'] });
  const before = await machine();
  await refused(
    t,
    { addresses: ['10.10.10.2/24'] },
    /vtep100 is in use by another program \(another vtepd\)/,
  );
  t.strictSame(await machine(), before);
  await device.close();
});

lab('a new TAP has the configured settings', '', async (t) => {
  const addresses = ['10.10.10.1/24', 'FD00:0::1/64', '10.10.10.1/24'];
  const device = await openOverlayDevice(shim, { ...SPEC, addresses });
  t.match(device, { name: TAP, mtu: 1450, mac: SPEC.derivedMac });
  t.equal(device.fds.length, 1);
  t.ok(device.fds[0] >= 0);
  const link = await getLink(TAP);
  t.match(link, {
    up: true,
    mtu: 1450,
    mac: 'fe:11:22:33:44:55',
    alias: 'vtepd vni 100',
    data: { persist: false },
  });
  const present = await addressesOf(TAP);
  t.ok(present.includes('10.10.10.1/24') && present.includes('fd00::1/64'), present.join(' '));
  await device.close();
  await device.close();
});

lab('offloads are on only when requested', '', async (t) => {
  for (const offload of [true, false]) {
    const device = await openOverlayDevice(shim, { ...SPEC, offload });
    const features = spawnSync('ethtool', ['-k', TAP], { encoding: 'utf8' }).stdout;
    t.match(features, offload ? /tcp-segmentation-offload: on/ : /tcp-segmentation-offload: off/);
    t.equal(device.offloads.includes('TUN_F_TSO4'), offload);
    await device.close();
  }
});

lab('a new TAP has the configured MAC', '', async (t) => {
  const device = await openOverlayDevice(shim, { ...SPEC, mac: '02:aa:bb:cc:dd:ee' });
  t.equal(formatMac(device.mac.high, device.mac.low), '02:aa:bb:cc:dd:ee');
  await device.close();
});

lab('a missing bridge is created and removed', '', async (t) => {
  const device = await openOverlayDevice(shim, { ...SPEC, bridge: BRIDGE });
  t.equal(device.mtu, 1500, 'the device MTU is that of an Ethernet port');
  t.match(await getLink(BRIDGE), {
    up: true,
    mac: 'fa:11:22:33:44:55',
    alias: 'vtepd bridge',
    kind: 'bridge',
  });
  t.match(await getLink(TAP), { up: true, master: BRIDGE });
  t.not((await getLink(TAP)).addrGenMode, 'eui64', 'the port has no link-local address');
  t.strictSame(await addressesOf(TAP), []);
  await device.close();
});

t.test('a created bridge stays while it has another port', async (t) => {
  const device = await openOverlayDevice(shim, { ...SPEC, bridge: BRIDGE });
  await run(`link add port type veth peer name far
    link set port master ${BRIDGE}`);
  await device.close();
  t.equal(await findLink(TAP), undefined);
  t.match(await getLink('port'), { master: BRIDGE });

  const next = await openOverlayDevice(shim, { ...SPEC, bridge: BRIDGE });
  await run('link delete dev port');
  await next.close();
  t.equal(await findLink(BRIDGE), undefined, 'the last TAP to leave removes the bridge');
});

t.test('of two VNIs in one bridge, the second to leave removes the bridge', async (t) => {
  const one = await openOverlayDevice(shim, { ...SPEC, bridge: BRIDGE });
  const two = await openOverlayDevice(shim, {
    ...SPEC,
    bridge: BRIDGE,
    vni: 101,
    tap: 'vtep101',
    mac: 'fe:00:00:00:00:02',
  });
  await one.close();
  t.match(await getLink('vtep101'), { master: BRIDGE });
  await two.close();
  t.equal(await findLink(BRIDGE), undefined);
});

lab(
  'a TAP joins an existing bridge with the MTU of its ports, and the bridge stays unchanged',
  `link add br-vxlan type bridge
    link add port address 02:00:00:00:00:99 mtu 9000 type veth peer name far
    link set port master br-vxlan up
    link set br-vxlan up alias uplink`,
  async (t) => {
    const before = await getLink(BRIDGE);
    const device = await openOverlayDevice(shim, { ...SPEC, bridge: BRIDGE });
    t.equal(device.mtu, 9000);
    t.strictSame(
      await getLink(BRIDGE).then(essence),
      essence(before),
      'the MTU and the MAC of the bridge are unchanged',
    );
    await device.close();
  },
);

const essence = ({ mtu, mac, up, alias }: { mtu: number; mac: string; up: boolean; alias: string }) => ({
  mtu,
  mac,
  up,
  alias,
});

t.test('a bridge left behind by a killed daemon is adopted and removed', async (t) => {
  const killed = await openOverlayDevice(shim, { ...SPEC, bridge: BRIDGE });
  shim.close(killed.fds[0]);
  t.equal(await findLink(TAP), undefined, 'the TAP was removed with its descriptor');
  await run(`link set ${BRIDGE} down`);
  const next = await openOverlayDevice(shim, { ...SPEC, bridge: BRIDGE });
  t.equal((await getLink(BRIDGE)).up, true);
  await next.close();
  t.equal(await findLink(BRIDGE), undefined);
});

const FOUND = `tuntap add dev vtep100 mode tap
  link set vtep100 address 02:00:00:00:00:01 mtu 1400 alias lab
  address add 192.0.2.1/24 dev vtep100`;

lab('an existing TAP keeps its MAC and is restored', FOUND, async (t) => {
  const device = await openOverlayDevice(shim, {
    ...SPEC,
    addresses: ['192.0.2.1/24', '10.10.10.1/24'],
    bridge: BRIDGE,
  });
  t.equal(formatMac(device.mac.high, device.mac.low), '02:00:00:00:00:01');
  t.match(await getLink(TAP), { up: true, mtu: 1500, master: BRIDGE });
  t.strictSame((await addressesOf(TAP)).sort(), ['10.10.10.1/24', '192.0.2.1/24']);
  await device.close();
});

lab('an existing TAP gets another MAC only if one is configured', FOUND, async (t) => {
  const device = await openOverlayDevice(shim, { ...SPEC, mac: '02:aa:bb:cc:dd:ee' });
  t.equal((await getLink(TAP)).mac, '02:aa:bb:cc:dd:ee');
  await device.close();
});

lab(
  'an existing TAP that is up and in a bridge stays there and gets the MTU of a port',
  `${FOUND}
  link add br-vxlan type bridge
  link set vtep100 master br-vxlan up`,
  async (t) => {
    const device = await openOverlayDevice(shim, SPEC);
    t.equal(device.mtu, 1500, 'the TAP has a bridged MTU, although vtepd did not add it to the bridge');
    await device.close();
  },
);

lab('a TAP adopted by a killed daemon is restored before it is adopted again', FOUND, async (t) => {
  const killed = await openOverlayDevice(shim, { ...SPEC, addresses: ['10.10.10.1/24'], bridge: BRIDGE });
  shim.close(killed.fds[0]);
  t.match(await getLink(TAP), { mtu: 1500, master: BRIDGE }, 'a killed daemon restores nothing');
  const next = await openOverlayDevice(shim, { ...SPEC, addresses: ['10.10.10.2/24'], bridge: BRIDGE });
  t.strictSame((await addressesOf(TAP)).sort(), ['10.10.10.2/24', '192.0.2.1/24']);
  await next.close();
});

lab('a failure with an existing TAP leaves it unchanged', FOUND, (t) =>
  refused(t, { addresses: ['10.10.10.1/24'], unbridgedMtu: 70_000 }, /mtu/i).then(() => undefined),
);
