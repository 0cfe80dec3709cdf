/**
 * VXLAN that a VM forges with the address of a peer is dropped by its arrival device.
 *
 *     vm101 ── br-vxlan ── vtep100 ─┐
 *              10.10.10.1           vtepd ── near eth0 ═ veth ═ eth0 far ── vxlan100 ── br-vxlan ── vm105
 *                         vtep200 ──┘        192.168.80.10, fd80::10       192.168.80.11, fd80::11
 *
 *     vm101 has the addresses of the far host too, and sends VXLAN of VNI 200 to addresses of the
 *     near host. rp_filter is off.
 */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { BRIDGE, createLab } from '../support/lab.js';
import { assertIdentity } from '../support/metrics.js';
import type { Namespace } from '../support/netns.js';
import { ping, SteadyPing } from '../support/traffic.js';
import { FAR, FAR_VM, NEAR, NEAR_VM } from '../support/two-hosts.js';
import type { Vtepd } from '../support/vtepd.js';
import { eventually } from '../support/wait.js';

const NEAR6 = 'fd80::10';
const FAR6 = 'fd80::11';
const BRIDGE_IP = '10.10.10.1';
const BRIDGE_IP6 = 'fd10::1';
/** Address of a macvlan device on the bridge. */
const MACVLAN_IP = '10.30.0.1';
/** Addresses of a TAP, and of the far host in its VNI. */
const TAP_IP = '10.40.0.1';
const OVERLAY_IP = '10.40.0.2';
/** Forged datagrams to each address. */
const COUNT = 50;

for (const workers of [1, 2])
  t.test(`forged VXLAN to each address of the host is dropped and counted, ${workers} workers`, async (t) => {
    const { lab, near, far, vm101, vtepd } = await hosts(t, `--workers ${workers}`);
    const steady = await SteadyPing.start(vm101, FAR_VM);
    let forged = 0;
    for (const [to, from] of [
      [BRIDGE_IP, FAR],
      [NEAR, FAR],
      [BRIDGE_IP6, FAR6],
      [NEAR6, FAR6],
    ]) {
      await replay(vm101, lab.dir, to, from, 200);
      forged += COUNT;
      await counted(vtepd, 200, forged, `to ${to}`);
    }
    await replay(vm101, lab.dir, BRIDGE_IP, FAR, 999);
    await counted(vtepd, '', COUNT, 'of a VNI that is not configured');
    const { lost } = await steady.stop();
    t.equal(lost, 0, 'a genuine peer loses nothing');
    const metrics = await vtepd.metrics();
    t.same(metrics.drops('decap', 100), {});
    t.equal(metrics.sum('vtepd_tap_tx_frames_total', { vni: 200 }), 0, 'no frame entered VNI 200');
    assertIdentity(t, metrics);
    const { body } = await vtepd.get<{ items: { code: string; what: string }[] }>('/v1/doctor');
    t.match(
      body.items.find(({ code }) => code === 'from_overlay')?.what,
      new RegExp(`^${forged + COUNT} datagrams`),
      'the doctor finds them',
    );
    await replay(far, lab.dir, NEAR, FAR, 200);
    await eventually('genuine frames of VNI 200 to be delivered', async () => {
      const sum = (await vtepd.metrics()).sum('vtepd_tap_tx_frames_total', { vni: 200 });
      return sum >= COUNT;
    });
    assertIdentity(t, await vtepd.metrics());
    t.ok((await ping(near, FAR, 1)).received === 1);
  });

t.test('a device that is stacked on the bridge later is one of the overlay', async (t) => {
  const { lab, near, vm101, vtepd } = await hosts(t, '');
  await near.ip(`link add link ${BRIDGE} name mac0 type macvlan mode bridge
    link set mac0 up
    address add ${MACVLAN_IP}/24 dev mac0`);
  await vm101.ip('address add 10.30.0.101/24 dev eth0');
  await near.run(['sh', '-c', OFF]);
  await eventually('the first forged datagram to be dropped', async () => {
    await replay(vm101, lab.dir, MACVLAN_IP, FAR, 200);
    return ((await vtepd.metrics()).drops('decap', 200).from_overlay ?? 0) > 0;
  });
  const before = (await vtepd.metrics()).drops('decap', 200).from_overlay;
  await replay(vm101, lab.dir, MACVLAN_IP, FAR, 200);
  await counted(vtepd, 200, before + COUNT, 'by the macvlan device');
  assertIdentity(t, await vtepd.metrics());
});

t.test('a VNI that is added later, and a TAP that moves to another bridge', async (t) => {
  const { lab, near, vm101, vtepd } = await hosts(t, '');
  await near.ip('link add br300 type bridge forward_delay 0\nlink set br300 up');
  const added = { vni: 300, bridge: 'br300', peers: [{ address: FAR }] };
  t.equal((await vtepd.call('POST', '/v1/vnis', added)).status, 201);
  await near.ip(`link set to-vm101 master br300
    address del ${BRIDGE_IP}/24 dev ${BRIDGE}
    address add ${BRIDGE_IP}/24 dev br300`);
  await vm101.run('ip neigh flush dev eth0');
  await replay(vm101, lab.dir, BRIDGE_IP, FAR, 300);
  await counted(vtepd, 300, COUNT, 'by the bridge of the added VNI');
  await near.ip('link add br301 type bridge forward_delay 0\nlink set br301 up');
  t.equal((await vtepd.call('PATCH', '/v1/vnis/300', { bridge: 'br301' })).status, 200);
  await near.ip(`link set to-vm101 master br301
    address del ${BRIDGE_IP}/24 dev br300
    address add ${BRIDGE_IP}/24 dev br301`);
  await vm101.run('ip neigh flush dev eth0');
  await replay(vm101, lab.dir, BRIDGE_IP, FAR, 300);
  await counted(vtepd, 300, 2 * COUNT, 'by the bridge that it moved to');
  assertIdentity(t, await vtepd.metrics());
});

t.test('a TAP and a bridge that were deleted and made again are of the overlay', async (t) => {
  const { lab, near, far, vm101, vtepd } = await hosts(t, '');
  t.equal((await vtepd.call('PATCH', '/v1/vnis/200', { address: [`${TAP_IP}/24`] })).status, 200);
  await far.ip(`link add vxlan200 type vxlan id 200 local ${FAR} remote ${NEAR} dstport 4789
    address add ${OVERLAY_IP}/24 dev vxlan200
    link set vxlan200 mtu 1450 up`);
  await replay(far, lab.dir, TAP_IP, OVERLAY_IP, 200);
  await counted(vtepd, 200, COUNT, 'by the TAP');
  const before = await near.show<{ ifname: string; ifindex: number }>('link show');
  await near.ip('link del vtep200');
  const indexOf = (name: string) => before.find(({ ifname }) => ifname === name)?.ifindex;
  await eventually('vtepd to make its TAP again', async () => {
    const links = await near.show<{ ifname: string; ifindex: number }>('link show');
    const again = links.find(({ ifname }) => ifname === 'vtep200');
    return again !== undefined && again.ifindex !== indexOf('vtep200');
  });
  await dropsAll(vtepd, () => replay(far, lab.dir, TAP_IP, OVERLAY_IP, 200), 'by the new TAP');

  await near.ip(`link del ${BRIDGE}`);
  await near.ip(`link add ${BRIDGE} type bridge forward_delay 0 mcast_snooping 0
    address add ${BRIDGE_IP}/24 dev ${BRIDGE}
    link set ${BRIDGE} up
    link set to-vm101 master ${BRIDGE}`);
  await near.run(['sh', '-c', OFF]);
  await vm101.run('ip neigh flush dev eth0');
  await dropsAll(vtepd, () => replay(vm101, lab.dir, BRIDGE_IP, FAR, 200), 'by the new bridge');
  assertIdentity(t, await vtepd.metrics());
});

const OFF = 'for f in /proc/sys/net/ipv4/conf/*/rp_filter; do echo 0 > $f; done';

async function hosts(t: Test, flags: string) {
  const lab = createLab(t);
  const { near, far } = await lab.hosts({
    near: [`${NEAR}/24`, `${NEAR6}/64`],
    far: [`${FAR}/24`, `${FAR6}/64`],
  });
  for (const host of [near, far]) await lab.bridge(host);
  await near.run(['sh', '-c', `echo 0 > /proc/sys/net/ipv6/conf/${BRIDGE}/disable_ipv6`]);
  await near.ip(`address add ${BRIDGE_IP}/24 dev ${BRIDGE}
    address add ${BRIDGE_IP6}/64 dev ${BRIDGE} nodad`);
  const vm101 = await lab.vm(near, 'vm101', { address: `${NEAR_VM}/24` });
  await lab.vm(far, 'vm105', { address: `${FAR_VM}/24` });
  await near.run(['sh', '-c', OFF]);
  await lab.kernelVtep(far, { vni: 100, local: FAR, remotes: [NEAR] });
  const vtepd = await lab.vtepd(
    near,
    `--vni 100 --bridge ${BRIDGE} --peer ${FAR} --peer ${FAR6} --learning off ${flags}`,
  );
  const added = { vni: 200, peers: [{ address: FAR }, { address: FAR6 }] };
  t.equal((await vtepd.call('POST', '/v1/vnis', added)).status, 201);
  // The VM takes the addresses of the far host, and sends to the near host's MAC on the bridge.
  const [{ address: mac }] = await near.show<{ address: string }>(`link show dev ${BRIDGE}`);
  await vm101.run(['sh', '-c', 'echo 0 > /proc/sys/net/ipv6/conf/eth0/disable_ipv6']);
  await vm101.ip(`address add ${FAR}/32 dev eth0
    address add fd10::101/64 dev eth0 nodad
    address add ${FAR6}/128 dev eth0 nodad
    route add ${NEAR}/32 dev eth0
    route add ${NEAR6}/128 dev eth0
    neigh replace ${NEAR} lladdr ${mac} dev eth0 nud permanent
    neigh replace ${NEAR6} lladdr ${mac} dev eth0 nud permanent`);
  return { lab, near, far, vm101, vtepd };
}

/** Sends COUNT broadcast frames in VXLAN of a VNI, from a local address of the namespace. */
async function replay(from: Namespace, dir: string, to: string, source: string, vni: number): Promise<void> {
  const datagram = Buffer.alloc(2 + 8 + 60);
  datagram.writeUInt16BE(datagram.length - 2);
  datagram[2] = 0x08;
  datagram.writeUIntBE(vni, 6, 3);
  datagram.set([0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2, 0, 0, 0, 0x0b, 0xad, 0x88, 0xb5], 10);
  const file = join(dir, 'forged.bin');
  writeFileSync(file, Buffer.concat(Array.from({ length: COUNT }, () => datagram)));
  const sender = from.tool('udp.mjs', 'replay', file, to, 4789, source);
  if ((await sender.exit(30_000)) !== 0) throw new Error(sender.stderr);
}

async function counted(vtepd: Vtepd, vni: number | '', wanted: number, what: string): Promise<void> {
  await eventually(
    `${wanted} datagrams ${what} to be dropped as from_overlay`,
    async () => (await vtepd.metrics()).drops('decap', vni).from_overlay === wanted,
  );
}

/** Waits until each forged datagram of a replay is dropped. */
async function dropsAll(vtepd: Vtepd, forge: () => Promise<void>, what: string): Promise<void> {
  const dropped = async () => (await vtepd.metrics()).drops('decap', 200).from_overlay ?? 0;
  let before = await dropped();
  await eventually(`forged datagrams ${what} to be dropped`, async () => {
    before = await dropped();
    await forge();
    return (await dropped()) > before;
  });
  const after = await eventually(`the count to rest ${what}`, async () => {
    const [one, other] = [await dropped(), await dropped()];
    return one === other ? one : undefined;
  });
  await forge();
  await counted(vtepd, 200, after + COUNT, what);
}
