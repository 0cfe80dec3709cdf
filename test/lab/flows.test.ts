/**
 * TCP flows that the kernel forwards alone (--kernel-path), and events that must end this offload.
 *
 * The counters of vtepd include the frames of these flows; the counters of the TAP device do not.
 * The labs detect the frames by this difference.
 *
 *     vm101 ── br-vxlan ── vtep100 ══ vtflow4789 ┄ private namespace ┄ vtlead4789 ══ near eth0
 *                             └──── vtepd ────┘                                          ║ veth
 *                                            vm105 ── br-vxlan ── vxlan100 ──────── far eth0
 */
import t, { type Test } from 'tap';
import { createLab, UNDERLAY_DEV } from '../support/lab.js';
import { assertIdentity, assertNothingLost } from '../support/metrics.js';
import { kernelEnd, narrowVms, nearVtepd, pathMtu, VMB } from '../support/narrow-vms.js';
import type { Namespace } from '../support/netns.js';
import { assertOffload, assertTransferDuring, sent } from '../support/offload.js';
import { capture, vxlanOf } from '../support/pcap.js';
import { assertPing, assertTransfer } from '../support/traffic.js';
import { FAR, FAR_VM, NEAR, NEAR_VM, offloadsOf, twoHosts } from '../support/two-hosts.js';
import type { Vtepd } from '../support/vtepd.js';
import { eventually } from '../support/wait.js';

const OFFLOAD = 'TCX_FLOWS';
const DEVICES = ['vtflow4789', 'vtlead4789'];
const SOME_BYTES = 50 << 20;
const MSS = 1398;
/**
 * Maximum share of a transfer's frames that go through user space: the first frames of the flow,
 * and frames in flight.
 */
const SHARE_SEEN = 0.2;
/** Time limit for a flow to recover after its path narrowed, ms: much shorter than a lease. */
const RECOVERY_MS = 4000;

t.test('known flows bypass user space in both directions with correct counters (kernel vxlan)', async (t) => {
  const { lab, near, far, vm101, vm105, vtepd } = await twoHosts(t, 'batch', '--kernel-path on');
  await assertOffload(t, vtepd, OFFLOAD, true, 'enabled at start');
  await assertPing(t, vm101, FAR_VM);
  const wire = await capture(far, UNDERLAY_DEV, lab.dir, `udp port 4789 and src host ${NEAR}`);
  await assertPassing(t, near, vtepd, () => assertTransfer(t, vm101, vm105, FAR_VM, SOME_BYTES));
  const datagrams = (await wire.stop()).map((frame) => vxlanOf(frame)!).filter(({ flags }) => flags === 8);
  t.ok(datagrams.every(({ vni, reserved }) => vni === 100 && reserved === 0));
  t.ok(
    datagrams.every(({ sourcePort }) => sourcePort >= 49152),
    'source ports are those of --source-ports',
  );
  await assertPassing(t, near, vtepd, () => assertTransfer(t, vm105, vm101, NEAR_VM, SOME_BYTES));
  assertNothingLost(t, await vtepd.metrics());
  t.equal(await vtepd.stop(), 0);
  const left = await near.devices();
  t.notOk(
    DEVICES.some((name) => left.includes(name)),
    'no device is left',
  );
});

t.test('flows bypass user space between two vtepd with two workers (IPv4 and IPv6)', async (t) => {
  const lab = createLab(t);
  const { near, far } = await lab.hosts({ near: [`${NEAR}/24`], far: [`${FAR}/24`] });
  for (const host of [near, far])
    await host.run(['sh', '-c', 'echo 0 > /proc/sys/net/ipv6/conf/default/disable_ipv6']);
  const flags = '--vni 100 --workers 2 --kernel-path on';
  const here = await lab.vtepd(near, `${flags} --peer ${FAR} --address 10.10.10.1/24 --address fd10::1/64`);
  const there = await lab.vtepd(far, `${flags} --peer ${NEAR} --address 10.10.10.2/24 --address fd10::2/64`);
  for (const vtepd of [here, there]) await assertOffload(t, vtepd, OFFLOAD, true, 'enabled at start');
  await assertPing(t, near, '10.10.10.2');
  await assertPassing(t, near, here, () => assertTransfer(t, near, far, '10.10.10.2', SOME_BYTES));
  await assertPassing(t, far, there, () => assertTransfer(t, far, near, '10.10.10.1', SOME_BYTES));
  await assertPassing(t, near, here, () => assertTransfer(t, near, far, 'fd10::2', SOME_BYTES));
  for (const vtepd of [here, there]) assertIdentity(t, await vtepd.metrics());
});

t.test('network changes during a transfer end the offload, and the offload returns', async (t) => {
  const hosts = await twoHosts(t, 'batch', '--kernel-path on');
  const { near, vm101, vtepd } = hosts;
  await assertTransferDuring(t, hosts, OFFLOAD, async () => {
    await near.run(`ethtool -K ${UNDERLAY_DEV} tx-udp_tnl-segmentation off`);
    await assertOffload(t, vtepd, OFFLOAD, false, 'tunnel segmentation off');
    await near.run(`ethtool -K ${UNDERLAY_DEV} tx-udp_tnl-segmentation on`);
    await assertOffload(t, vtepd, OFFLOAD, true, 'tunnel segmentation on');
    const policy = 'src 198.51.100.0/24 dst 203.0.113.0/24 dir out';
    await near.ip(`xfrm policy add ${policy} action allow`);
    await assertOffload(t, vtepd, OFFLOAD, false, 'IPsec policy added');
    await near.ip(`xfrm policy del ${policy}`);
    await assertOffload(t, vtepd, OFFLOAD, true, 'IPsec policy removed');
    await near.ip(`link del ${DEVICES[0]}`);
    await eventually('the deleted device to be created again', async () =>
      (await near.devices()).includes(DEVICES[0]),
    );
    await assertOffload(t, vtepd, OFFLOAD, true, 'new devices created');
    const before = await indexOf(near, DEVICES[1]);
    await near.ip(`link set ${UNDERLAY_DEV} address 02:00:00:00:50:10`);
    await eventually('devices for the new MAC', async () => {
      const now = await indexOf(near, DEVICES[1]);
      return now !== undefined && now !== before;
    });
    await assertOffload(t, vtepd, OFFLOAD, true, 'MAC of the device changed');
    t.equal((await vtepd.call('DELETE', `/v1/vnis/100/peers/${FAR}`)).status, 204);
    const { stdout } = await vm101.outcome(`ping -n -q -c 2 -i 0.2 -W 1 ${FAR_VM}`);
    t.match(stdout, / 0 received/, 'a removed peer is not reached');
    await eventually('the counters to stop', async () => {
      const before = await passed(vtepd);
      await new Promise((resolve) => setTimeout(resolve, 300));
      return (await passed(vtepd)) === before;
    });
    t.equal((await vtepd.call('POST', '/v1/vnis/100/peers', { address: FAR })).status, 201);
  });
  const { body } = await vtepd.get<{ warnings: unknown[]; notices: unknown[] }>('/v1/status');
  t.same([...body.warnings, ...body.notices], [], 'the status has no warnings and no notices');
});

t.test('a capture contains every frame', async (t) => {
  const hosts = await twoHosts(t, 'batch', '--kernel-path on');
  const { near, vtepd } = hosts;
  await assertTransferDuring(t, hosts, OFFLOAD, async () => {
    const seen = await tapFrames(near);
    const { stdout } = await vtepd.ctl('capture --vni 100 --count 200 --write -');
    t.ok(stdout.length > 10_000, 'the capture contains frames of the flow');
    t.ok((await tapFrames(near)) - seen >= 100, 'the frames went through user space');
  });
});

t.test('a firewall rule against the peer takes effect within a lease', async (t) => {
  const { near, vm101, vm105, lab, vtepd } = await twoHosts(t, 'batch', '--kernel-path on --ageing 8');
  await assertPing(t, vm101, FAR_VM);
  await lab.keep(vm101.start('iperf3 --server --one-off --forceflush')).untilOutput(/listening/);
  lab.keep(vm105.start(`iperf3 -c ${NEAR_VM} -t 20`));
  await eventually('the flow to pass', async () => (await received(vtepd)) > 50_000);
  await near.run('nft add table ip shut');
  await near.run('nft add chain ip shut in { type filter hook input priority 0 ; }');
  await near.run(`nft add rule ip shut in ip saddr ${FAR} drop`);
  await eventually('the flow to stop', async () => {
    const before = await received(vtepd);
    await new Promise((resolve) => setTimeout(resolve, 500));
    return (await received(vtepd)) === before;
  });
  t.pass('no frame passes');
});

t.test('a flow adapts at once to a path that narrows', async (t) => {
  const path = await narrowVms(t, 1500);
  const { lab, vma, vmb } = path;
  await kernelEnd(path, 'far', 'ipv4');
  const vtepd = await nearVtepd(path, 'ipv4', 'batch', '--kernel-path on');
  await assertOffload(t, vtepd, OFFLOAD, true, 'enabled at start');
  await assertPing(t, vma, VMB.ipv4);
  await lab.keep(vmb.start('iperf3 --server --one-off --forceflush')).untilOutput(/listening/);
  lab.keep(vma.start(`iperf3 -c ${VMB.ipv4} -t 20`));
  const arrived = () => deviceFrames(vmb, 'eth0');
  await eventually('the flow to pass', async () => (await sent(vtepd)) > 50_000);
  await path.narrow(1400);
  const before = await arrived();
  await eventually('the flow to continue', async () => (await arrived()) > before + 10_000, RECOVERY_MS);
  t.equal(await pathMtu(vtepd), 1400, 'the path MTU is that of the ICMP from the router');
});

t.test('kill -9 leaves no device, and the next start enables the offload again', async (t) => {
  const lab = createLab(t);
  const { near } = await lab.hosts({ near: [`${NEAR}/24`], far: [`${FAR}/24`] });
  const flags = `--vni 100 --peer ${FAR} --kernel-path on`;
  const vtepd = await lab.vtepd(near, flags);
  await assertOffload(t, vtepd, OFFLOAD, true, 'enabled at start');
  await vtepd.stop('SIGKILL');
  await eventually('the devices to be removed', async () => {
    const left = await near.devices();
    return !DEVICES.some((name) => left.includes(name));
  });
  await assertOffload(t, await lab.vtepd(near, flags), OFFLOAD, true, 'enabled again');
});

t.test('a failed set-up is reported with its reason, and frames go through user space', async (t) => {
  const lab = createLab(t);
  const { near } = await lab.hosts({ near: [`${NEAR}/24`], far: [`${FAR}/24`] });
  await near.ip(`link add ${DEVICES[0]} type bridge`);
  const failing = await lab.vtepd(near, `--vni 100 --peer ${FAR} --kernel-path on`);
  t.notOk((await offloadsOf(failing)).includes(OFFLOAD));
  const { body } = await failing.get('/v1/status');
  const detail = /every frame of a TCP flow goes through user space: .*vtflow4789/;
  t.match(body, { warnings: [{ code: 'kernel_path_unused', detail }] });
  t.match(failing.log(), detail);
  await failing.stop();
  const bound = await lab.vtepd(near, `--vni 100 --peer ${FAR} --underlay-dev eth0 --kernel-path on`);
  t.notOk((await offloadsOf(bound)).includes(OFFLOAD));
  t.match(bound.log(), /superframes are cut up before they are sent: .*bound to eth0/);
});

/** Asserts that most frames of a transfer bypass the TAP device's counters. */
async function assertPassing(
  t: Test,
  host: Namespace,
  vtepd: Vtepd,
  transfer: () => Promise<void>,
): Promise<void> {
  const [countedBefore, seenBefore] = [await passed(vtepd), await tapFrames(host)];
  await transfer();
  const least = SOME_BYTES / MSS;
  await eventually('all frames to be counted', async () => (await passed(vtepd)) - countedBefore >= least);
  const counted = (await passed(vtepd)) - countedBefore;
  const seen = (await tapFrames(host)) - seenBefore;
  t.ok(seen < counted * SHARE_SEEN, `the TAP counted ${seen} of ${counted} frames`);
}

/** Number of frames to and from peers. */
async function passed(vtepd: Vtepd): Promise<number> {
  return (await sent(vtepd)) + (await received(vtepd));
}

async function received(vtepd: Vtepd): Promise<number> {
  return (await vtepd.metrics()).sum('vtepd_peer_rx_frames_total');
}

function tapFrames(host: Namespace): Promise<number> {
  return deviceFrames(host, 'vtep100');
}

async function deviceFrames(host: Namespace, device: string): Promise<number> {
  const [{ stats64 }] = await host.show<{ stats64: { rx: { packets: number }; tx: { packets: number } } }>(
    `-statistics link show dev ${device}`,
  );
  return stats64.rx.packets + stats64.tx.packets;
}

async function indexOf(host: Namespace, device: string): Promise<number | undefined> {
  const links = await host.show<{ ifname: string; ifindex: number }>('link show');
  return links.find(({ ifname }) => ifname === device)?.ifindex;
}
