/**
 * The overlay's device in a real kernel: what is made, what is adopted, and that nothing stays behind.
 *
 *     [ br-vxlan ]            made, or found
 *        |      |
 *     vtep100  port           TAP, made or found;  port: a veth whose far end leads nowhere
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

/** All devices and addresses, but for what changes by itself. */
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
  return { stable, addresses: addresses.map((list) => list.filter((one) => !one.startsWith('fe80'))) };
}

/** A test that begins with `commands`; afterwards the machine is as it was then, and then empty again. */
function lab(name: string, commands: string, body: (t: Test) => Promise<void>): void {
  t.test(name, async (t) => {
    const empty = await machine();
    if (commands !== '') await run(commands);
    const before = await machine();
    await body(t);
    t.strictSame(await machine(), before, 'the machine is as it was');
    for (const device of [TAP, BRIDGE, 'port']) {
      if (await findLink(device)) await run(`link delete dev ${device}`);
    }
    t.strictSame(await machine(), empty, 'the test leaves nothing either');
  });
}

const refused = (t: Test, change: Partial<OverlayDeviceSpec>, message: RegExp) =>
  t.rejects(openOverlayDevice(shim, { ...SPEC, ...change }), { name: 'HostError', message });

lab('a name that is no TAP is refused', 'link add vtep100 type veth peer name far', async (t) => {
  await refused(t, {}, /^vtep100 exists and is a veth device, not a TAP: give --tap another name/);
  await refused(t, { bridge: BRIDGE }, /not a TAP/);
});

lab('a TUN is refused', 'tuntap add dev vtep100 mode tun', (t) =>
  refused(t, {}, /^vtep100 exists and is a TUN/).then(() => undefined),
);

lab('a TAP with several queues is refused', 'tuntap add dev vtep100 mode tap multi_queue', (t) =>
  refused(t, {}, /^vtep100 was made with multi_queue/).then(() => undefined),
);

lab('a TAP with one queue is refused to several workers', 'tuntap add dev vtep100 mode tap', (t) =>
  refused(t, { queues: 2 }, /^vtep100 was made without multi_queue, which --workers 2 needs/).then(
    () => undefined,
  ),
);

lab('several workers: a queue each, of a TAP of our own', '', async (t) => {
  const device = await openOverlayDevice(shim, { ...SPEC, queues: 3 });
  t.equal(new Set(device.fds).size, 3);
  t.equal(device.unsteered, '');
  t.match((await getLink(TAP)).data, { multi_queue: true, numqueues: 3 });
  for (const queues of [1, 3])
    await refused(t, { queues }, /vtep100 is in use by another program \(another vtepd\)/);
  t.match((await getLink(TAP)).data, { numqueues: 3 }, 'nobody else got one');
  await device.close();
  t.equal(await findLink(TAP), undefined);
});

lab(
  'several workers: a TAP that was there is adopted with its queues and left as it was',
  'tuntap add dev vtep100 mode tap multi_queue',
  async (t) => {
    const device = await openOverlayDevice(shim, { ...SPEC, queues: 2 });
    t.match((await getLink(TAP)).data, { numqueues: 2 });
    await device.close();
    t.match((await getLink(TAP)).data, { multi_queue: true, numqueues: 0 });
  },
);

lab('a bridge that is none is refused', 'link add br-vxlan type veth peer name far', (t) =>
  refused(t, { bridge: BRIDGE }, /^br-vxlan is a device of kind veth, not a bridge/).then(() => undefined),
);

lab('a late failure takes back what came before', '', async (t) => {
  await refused(t, { unbridgedMtu: 70_000 }, /mtu/i);
  await refused(
    t,
    { bridge: BRIDGE, addresses: ['10.10.10.1'] },
    /10\.10\.10\.1 is no address with a prefix/,
  );
  await refused(t, { bridge: BRIDGE, mac: '01:00:5e:00:00:01' }, /address 01:00:5e:00:00:01/);
});

lab('a TAP in use is refused, and its user not disturbed', '', async (t) => {
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

lab('a TAP of our own', '', async (t) => {
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

lab('offloads are on only when asked for', '', async (t) => {
  for (const offload of [true, false]) {
    const device = await openOverlayDevice(shim, { ...SPEC, offload });
    const features = spawnSync('ethtool', ['-k', TAP], { encoding: 'utf8' }).stdout;
    t.match(features, offload ? /tcp-segmentation-offload: on/ : /tcp-segmentation-offload: off/);
    t.equal(device.offloads.includes('TUN_F_TSO4'), offload);
    await device.close();
  }
});

lab('a MAC that was asked for', '', async (t) => {
  const device = await openOverlayDevice(shim, { ...SPEC, mac: '02:aa:bb:cc:dd:ee' });
  t.equal(formatMac(device.mac.high, device.mac.low), '02:aa:bb:cc:dd:ee');
  await device.close();
});

lab('a bridge of our own', '', async (t) => {
  const device = await openOverlayDevice(shim, { ...SPEC, bridge: BRIDGE });
  t.equal(device.mtu, 1500, 'not smaller than what members may have');
  t.match(await getLink(BRIDGE), {
    up: true,
    mac: 'fa:11:22:33:44:55',
    alias: 'vtepd bridge',
    kind: 'bridge',
  });
  t.match(await getLink(TAP), { up: true, master: BRIDGE });
  t.not((await getLink(TAP)).addrGenMode, 'eui64', 'the port keeps quiet');
  t.strictSame(await addressesOf(TAP), []);
  await device.close();
});

t.test('a bridge of our own stays while another port is in it', async (t) => {
  const device = await openOverlayDevice(shim, { ...SPEC, bridge: BRIDGE });
  await run(`link add port type veth peer name far
    link set port master ${BRIDGE}`);
  await device.close();
  t.equal(await findLink(TAP), undefined);
  t.match(await getLink('port'), { master: BRIDGE });

  const next = await openOverlayDevice(shim, { ...SPEC, bridge: BRIDGE });
  await run('link delete dev port');
  await next.close();
  t.equal(await findLink(BRIDGE), undefined, 'whoever leaves last removes it');
});

t.test('two VNIs in one bridge: the second to leave removes it', async (t) => {
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
  "someone else's bridge is joined, with its members' MTU, and left as it was",
  `link add br-vxlan type bridge
    link add port address 02:00:00:00:00:99 mtu 9000 type veth peer name far
    link set port master br-vxlan up
    link set br-vxlan up alias uplink`,
  async (t) => {
    const before = await getLink(BRIDGE);
    const device = await openOverlayDevice(shim, { ...SPEC, bridge: BRIDGE });
    t.equal(device.mtu, 9000);
    t.strictSame(await getLink(BRIDGE).then(essence), essence(before), 'neither its MTU nor its MAC changed');
    await device.close();
  },
);

const essence = ({ mtu, mac, up, alias }: { mtu: number; mac: string; up: boolean; alias: string }) => ({
  mtu,
  mac,
  up,
  alias,
});

t.test('a bridge that a killed daemon left behind is taken over and removed', async (t) => {
  const killed = await openOverlayDevice(shim, { ...SPEC, bridge: BRIDGE });
  shim.close(killed.fds[0]);
  t.equal(await findLink(TAP), undefined, 'the TAP went with its descriptor');
  await run(`link set ${BRIDGE} down`);
  const next = await openOverlayDevice(shim, { ...SPEC, bridge: BRIDGE });
  t.equal((await getLink(BRIDGE)).up, true);
  await next.close();
  t.equal(await findLink(BRIDGE), undefined);
});

const FOUND = `tuntap add dev vtep100 mode tap
  link set vtep100 address 02:00:00:00:00:01 mtu 1400 alias lab
  address add 192.0.2.1/24 dev vtep100`;

lab('a TAP that was there keeps its MAC and is left as it was', FOUND, async (t) => {
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

lab('a TAP that was there gets another MAC only if told to', FOUND, async (t) => {
  const device = await openOverlayDevice(shim, { ...SPEC, mac: '02:aa:bb:cc:dd:ee' });
  t.equal((await getLink(TAP)).mac, '02:aa:bb:cc:dd:ee');
  await device.close();
});

lab(
  'a TAP that was up, in a bridge, stays up, in its bridge, and serves it there',
  `${FOUND}
  link add br-vxlan type bridge
  link set vtep100 master br-vxlan up`,
  async (t) => {
    const device = await openOverlayDevice(shim, SPEC);
    t.equal(device.mtu, 1500, 'bridged, though not by us');
    await device.close();
  },
);

lab('a TAP that a killed daemon had adopted is restored before it is adopted again', FOUND, async (t) => {
  const killed = await openOverlayDevice(shim, { ...SPEC, addresses: ['10.10.10.1/24'], bridge: BRIDGE });
  shim.close(killed.fds[0]);
  t.match(await getLink(TAP), { mtu: 1500, master: BRIDGE }, 'a killed daemon restores nothing');
  const next = await openOverlayDevice(shim, { ...SPEC, addresses: ['10.10.10.2/24'], bridge: BRIDGE });
  t.strictSame((await addressesOf(TAP)).sort(), ['10.10.10.2/24', '192.0.2.1/24']);
  await next.close();
});

lab('a failure with a TAP that was there leaves it as it was', FOUND, (t) =>
  refused(t, { addresses: ['10.10.10.1/24'], unbridgedMtu: 70_000 }, /mtu/i).then(() => undefined),
);
