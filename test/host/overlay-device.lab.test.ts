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
import { type Link, Machine } from '../../src/host/machine.js';
import { OverlayDevice, type OverlayDeviceSpec } from '../../src/host/overlay-device.js';
import { formatMac } from '../../src/wire/mac.js';
import { ip, ipShow } from '../support/machine.js';

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

const machine = await Machine.open(shim);
t.teardown(() => machine.close());

async function run(commands: string): Promise<void> {
  await ip(commands);
  await machine.current();
}

async function findLink(name: string): Promise<Link | undefined> {
  await machine.current();
  return machine.find(name);
}

async function getLink(name: string): Promise<Link> {
  await machine.current();
  return machine.get(name);
}

async function addressesOf(name: string): Promise<string[]> {
  return machine.addressesOf((await getLink(name)).index);
}

const indexOf = async (name: string) => (await getLink(name)).index;

/** Returns the present queues, whose changes the kernel does not report. */
const tunOf = async (name: string) => (await machine.reread(await indexOf(name)))?.tun;

const openOverlayDevice = (spec: OverlayDeviceSpec) => OverlayDevice.open(shim, machine, spec);

/** Returns all devices and addresses, without properties that change by themselves. */
async function state(): Promise<unknown> {
  const links = await ipShow('address show');
  return links.map(({ ifname, flags, mtu, address, master, ifalias, inet6_addr_gen_mode, addr_info }) => ({
    ifname,
    up: (flags as string[]).includes('UP'),
    mtu,
    address,
    master,
    ifalias,
    inet6_addr_gen_mode,
    addresses: (addr_info as { local: string }[])
      .map(({ local }) => local)
      .filter((address) => !address.startsWith('fe80')),
  }));
}

/**
 * Defines a test that runs `commands`, then `body`, and asserts that `body` leaves the machine
 * unchanged.
 */
function lab(name: string, commands: string, body: (t: Test) => Promise<void>): void {
  t.test(name, async (t) => {
    const empty = await state();
    if (commands !== '') await run(commands);
    const before = await state();
    await body(t);
    t.strictSame(await state(), before, 'the machine is unchanged');
    for (const device of [TAP, BRIDGE, 'port']) {
      if (await findLink(device)) await run(`link delete dev ${device}`);
    }
    t.strictSame(await state(), empty, 'the test itself leaves nothing behind');
  });
}

const refused = (t: Test, change: Partial<OverlayDeviceSpec>, message: RegExp) =>
  t.rejects(openOverlayDevice({ ...SPEC, ...change }), { name: 'HostError', message });

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
  const device = await openOverlayDevice({ ...SPEC, queues: 3 });
  t.equal(new Set(device.fds).size, 3);
  t.equal(device.unsteered, '');
  t.match(await tunOf(TAP), { isMultiQueue: true, queues: 3 });
  for (const queues of [1, 3])
    await refused(t, { queues }, /vtep100 is in use by another program \(another vtepd\)/);
  t.match(await tunOf(TAP), { queues: 3 }, 'no other program got a queue');
  await device.close();
  t.equal(await findLink(TAP), undefined);
});

lab(
  'with several workers an existing TAP is adopted with its queues and restored',
  'tuntap add dev vtep100 mode tap multi_queue',
  async (t) => {
    const device = await openOverlayDevice({ ...SPEC, queues: 2 });
    t.match(await tunOf(TAP), { queues: 2 });
    await device.close();
    t.match(await tunOf(TAP), { isMultiQueue: true, queues: 0 });
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
  await refused(
    t,
    { bridge: BRIDGE, mac: '01:00:5e:00:00:01' },
    /^cannot configure vtep100 \(MAC 01:00:5e:00:00:01\): .*EADDRNOTAVAIL/,
  );
});

lab('a TAP in use is rejected without disturbing its user', '', async (t) => {
  const device = await openOverlayDevice({ ...SPEC, addresses: ['10.10.10.1/24'] });
  const before = await state();
  await refused(
    t,
    { addresses: ['10.10.10.2/24'] },
    /vtep100 is in use by another program \(another vtepd\)/,
  );
  t.strictSame(await state(), before);
  await device.close();
});

lab('a new TAP has the configured settings', '', async (t) => {
  const addresses = ['10.10.10.1/24', 'FD00:0::1/64', '10.10.10.1/24'];
  const device = await openOverlayDevice({ ...SPEC, addresses });
  t.match(device, { name: TAP, mtu: 1450, mac: SPEC.derivedMac });
  t.equal(device.fds.length, 1);
  t.ok(device.fds[0] >= 0);
  const link = await getLink(TAP);
  t.match(link, {
    up: true,
    mtu: 1450,
    mac: 'fe:11:22:33:44:55',
    alias: 'vtepd vni 100',
    tun: { isTap: true, isMultiQueue: false },
  });
  const present = await addressesOf(TAP);
  t.ok(present.includes('10.10.10.1/24') && present.includes('fd00::1/64'), present.join(' '));
  await device.close();
  await device.close();
});

lab('offloads are on only when requested', '', async (t) => {
  for (const offload of [true, false]) {
    const device = await openOverlayDevice({ ...SPEC, offload });
    const features = spawnSync('ethtool', ['-k', TAP], { encoding: 'utf8' }).stdout;
    t.match(features, offload ? /tcp-segmentation-offload: on/ : /tcp-segmentation-offload: off/);
    t.equal(device.offloads.includes('TUN_F_TSO4'), offload);
    await device.close();
  }
});

lab('a new TAP has the configured MAC', '', async (t) => {
  const device = await openOverlayDevice({ ...SPEC, mac: '02:aa:bb:cc:dd:ee' });
  t.equal(formatMac(device.mac.high, device.mac.low), '02:aa:bb:cc:dd:ee');
  await device.close();
});

lab('a missing bridge is created and removed', '', async (t) => {
  const device = await openOverlayDevice({ ...SPEC, bridge: BRIDGE });
  t.equal(device.mtu, 1500, 'the device MTU is that of an Ethernet port');
  t.match(await getLink(BRIDGE), {
    up: true,
    mac: 'fa:11:22:33:44:55',
    alias: 'vtepd bridge',
    kind: 'bridge',
  });
  t.match(await getLink(TAP), { up: true, master: await indexOf(BRIDGE) });
  t.not((await getLink(TAP)).addrGenMode, 'eui64', 'the port has no link-local address');
  t.strictSame(await addressesOf(TAP), []);
  await device.close();
});

t.test('a created bridge stays while it has another port', async (t) => {
  const device = await openOverlayDevice({ ...SPEC, bridge: BRIDGE });
  await run(`link add port type veth peer name far
    link set port master ${BRIDGE}`);
  await device.close();
  t.equal(await findLink(TAP), undefined);
  t.match(await getLink('port'), { master: await indexOf(BRIDGE) });

  const next = await openOverlayDevice({ ...SPEC, bridge: BRIDGE });
  await run('link delete dev port');
  await next.close();
  t.equal(await findLink(BRIDGE), undefined, 'the last TAP to leave removes the bridge');
});

t.test('of two VNIs in one bridge, the second to leave removes the bridge', async (t) => {
  const one = await openOverlayDevice({ ...SPEC, bridge: BRIDGE });
  const two = await openOverlayDevice({
    ...SPEC,
    bridge: BRIDGE,
    vni: 101,
    tap: 'vtep101',
    mac: 'fe:00:00:00:00:02',
  });
  await one.close();
  t.match(await getLink('vtep101'), { master: await indexOf(BRIDGE) });
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
    const device = await openOverlayDevice({ ...SPEC, bridge: BRIDGE });
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
  const killed = await openOverlayDevice({ ...SPEC, bridge: BRIDGE });
  shim.close(killed.fds[0]);
  t.equal(await findLink(TAP), undefined, 'the TAP was removed with its descriptor');
  await run(`link set ${BRIDGE} down`);
  const next = await openOverlayDevice({ ...SPEC, bridge: BRIDGE });
  t.equal((await getLink(BRIDGE)).up, true);
  await next.close();
  t.equal(await findLink(BRIDGE), undefined);
});

const FOUND = `tuntap add dev vtep100 mode tap
  link set vtep100 address 02:00:00:00:00:01 mtu 1400 alias lab
  address add 192.0.2.1/24 dev vtep100`;

lab('an existing TAP keeps its MAC and is restored', FOUND, async (t) => {
  const device = await openOverlayDevice({
    ...SPEC,
    addresses: ['192.0.2.1/24', '10.10.10.1/24'],
    bridge: BRIDGE,
  });
  t.equal(formatMac(device.mac.high, device.mac.low), '02:00:00:00:00:01');
  t.match(await getLink(TAP), { up: true, mtu: 1500, master: await indexOf(BRIDGE) });
  t.strictSame(await addressesOf(TAP), ['192.0.2.1/24']);
  t.strictSame((await addressesOf(BRIDGE)).sort(), ['10.10.10.1/24', '192.0.2.1/24']);
  await device.close();
});

lab('an existing TAP gets another MAC only if one is configured', FOUND, async (t) => {
  const device = await openOverlayDevice({ ...SPEC, mac: '02:aa:bb:cc:dd:ee' });
  t.equal((await getLink(TAP)).mac, '02:aa:bb:cc:dd:ee');
  await device.close();
});

lab(
  'an existing TAP that is up and in a bridge stays there and gets the MTU of a port',
  `${FOUND}
  link add br-vxlan type bridge
  link set vtep100 master br-vxlan up`,
  async (t) => {
    const device = await openOverlayDevice(SPEC);
    t.equal(device.mtu, 1500, 'the TAP has a bridged MTU, although vtepd did not add it to the bridge');
    await device.close();
  },
);

lab('a TAP adopted by a killed daemon is restored before it is adopted again', FOUND, async (t) => {
  const killed = await openOverlayDevice({ ...SPEC, addresses: ['10.10.10.1/24'], bridge: BRIDGE });
  shim.close(killed.fds[0]);
  t.match(
    await getLink(TAP),
    { mtu: 1500, master: await indexOf(BRIDGE) },
    'a killed daemon restores nothing',
  );
  const next = await openOverlayDevice({ ...SPEC, addresses: ['10.10.10.2/24'], bridge: BRIDGE });
  t.strictSame(await addressesOf(TAP), ['192.0.2.1/24']);
  t.ok((await addressesOf(BRIDGE)).includes('10.10.10.2/24'));
  await next.close();
});

lab('a failure with an existing TAP leaves it unchanged', FOUND, (t) =>
  refused(t, { addresses: ['10.10.10.1/24'], unbridgedMtu: 70_000 }, /mtu/i).then(() => undefined),
);

lab(
  'an existing TAP with an MTU too small for IPv6 is restored',
  `tuntap add dev vtep100 mode tap
  link set vtep100 mtu 1000`,
  async (t) => {
    const device = await openOverlayDevice({ ...SPEC, bridge: BRIDGE });
    t.match(await getLink(TAP), { mtu: 1500, addrGenMode: 'none' });
    await device.close();
  },
);
