/**
 * Superframes that leave unsegmented, through an outer TAP and a program in the kernel.
 *
 * The labs cover every change of the network that ends or restores this offload. veth passes
 * superframes on unsegmented, so a capture at the far end shows them.
 *
 *     vm101 ─ br-vxlan ─ vtep100 ─ vtepd ─ near eth0 192.168.80.10 ═ veth ═ eth0 far ─ vxlan100 ─ …
 *                                  └ vtgso4789 ┘ eth1 192.168.90.10 ═ veth ═ eth1 (one test)
 *
 *     vm105 is on the far host's br-vxlan.
 */
import t, { type Test } from 'tap';
import { createLab, UNDERLAY_DEV } from '../support/lab.js';
import { assertIdentity, assertNothingLost } from '../support/metrics.js';
import { joinByVeth, type Namespace } from '../support/netns.js';
import { assertOffload, assertTransferDuring, sent } from '../support/offload.js';
import { capture, vxlanOf } from '../support/pcap.js';
import { assertPing, assertTransfer } from '../support/traffic.js';
import { FAR, FAR_VM, NEAR, NEAR_VM, offloadsOf, twoHosts } from '../support/two-hosts.js';
import type { Vtepd } from '../support/vtepd.js';
import { eventually } from '../support/wait.js';

const OFFLOAD = 'UDP_TUNNEL_GSO';
const OUTER_TAP = 'vtgso4789';
const SOME_BYTES = 20 << 20;
/** Length of the longest Ethernet frame on the underlay, bytes. */
const WIRE_MAX = 1514;
/** Offset of the total length of an IPv4 packet in its Ethernet frame. */
const INNER_LEN_AT = 16;
/** TCP payload of a frame of the overlay, bytes: MTU 1450, IPv4, TCP with timestamps. */
const MSS = 1398;

t.test('superframes leave unsegmented and are counted frame by frame (kernel vxlan)', async (t) => {
  const hosts = await twoHosts(t, 'batch');
  const { lab, near, far, vm101, vm105, vtepd } = hosts;
  await assertPing(t, vm101, FAR_VM);
  t.ok((await offloadsOf(vtepd)).includes(OFFLOAD));
  const before = await sent(vtepd);
  const superframes = await superframesDuring(far, UNDERLAY_DEV, lab.dir, () =>
    assertTransfer(t, vm101, vm105, FAR_VM, SOME_BYTES),
  );
  t.ok(superframes.length > 100, `${superframes.length} superframes were on the wire`);
  t.same([...new Set(superframes.map(({ source }) => source))], [NEAR]);
  t.ok(superframes.every(({ vni, reserved, flags }) => vni === 100 && reserved === 0 && flags === 8));
  t.ok((await sent(vtepd)) - before >= SOME_BYTES / MSS, 'each segment is counted as a frame');
  await assertTransfer(t, vm105, vm101, NEAR_VM, SOME_BYTES);
  assertNothingLost(t, await vtepd.metrics());
  await assertStopLeavesNothing(t, near, vtepd);
});

t.test('superframes leave unsegmented in both directions between two vtepd with two workers', async (t) => {
  const lab = createLab(t);
  const { near, far } = await lab.hosts({ near: [`${NEAR}/24`], far: [`${FAR}/24`] });
  const daemons = [
    await lab.vtepd(near, `--vni 100 --peer ${FAR} --address 10.10.10.1/24 --workers 2`),
    await lab.vtepd(far, `--vni 100 --peer ${NEAR} --address 10.10.10.2/24 --workers 2`),
  ];
  for (const vtepd of daemons) t.ok((await offloadsOf(vtepd)).includes(OFFLOAD));
  // Possibly the first daemon probed the second daemon before the VNI existed there: a drop that is
  // expected.
  const before = await Promise.all(daemons.map(async (vtepd) => (await vtepd.metrics()).drops('decap')));
  const superframes = await superframesDuring(far, UNDERLAY_DEV, lab.dir, async () => {
    await assertTransfer(t, near, far, '10.10.10.2', SOME_BYTES);
    await assertTransfer(t, far, near, '10.10.10.1', SOME_BYTES);
  });
  for (const from of [NEAR, FAR])
    t.ok(
      superframes.filter(({ source }) => source === from).length > 100,
      `${from} sent more than 100 superframes`,
    );
  for (const [i, vtepd] of daemons.entries()) assertNothingLost(t, await vtepd.metrics(), before[i]);
});

t.test('during a transfer, changes of device feature and IPsec end and restore the offload', async (t) => {
  const hosts = await twoHosts(t, 'batch');
  const { near, vtepd } = hosts;
  await assertTransferDuring(t, hosts, OFFLOAD, async () => {
    await near.run(`ethtool -K ${UNDERLAY_DEV} tx-udp_tnl-segmentation off`);
    await assertOffload(t, vtepd, OFFLOAD, false, 'tunnel segmentation off');
    await near.run(`ethtool -K ${UNDERLAY_DEV} tx-udp_tnl-segmentation on`);
    await assertOffload(t, vtepd, OFFLOAD, true, 'tunnel segmentation on');
    // The policy matches no packet here; its existence is sufficient. Requires a kernel with XFRM.
    const policy = 'src 198.51.100.0/24 dst 203.0.113.0/24 dir out';
    await near.ip(`xfrm policy add ${policy} action allow`);
    await assertOffload(t, vtepd, OFFLOAD, false, 'IPsec policy added');
    await near.ip(`xfrm policy del ${policy}`);
    await assertOffload(t, vtepd, OFFLOAD, true, 'IPsec policy removed');
  });
  const { body } = await vtepd.get<{ warnings: unknown[]; notices: unknown[] }>('/v1/status');
  t.same([...body.warnings, ...body.notices], [], 'the status has no warnings and no notices');
});

t.test('superframes follow a changed route; the offload returns with a restored route', async (t) => {
  const hosts = await twoHosts(t, 'batch');
  const { lab, near, far, vm101, vm105, vtepd } = hosts;
  for (const host of [near, far])
    await host.run(['sh', '-c', 'for f in /proc/sys/net/ipv4/conf/*/rp_filter; do echo 0 > $f; done']);
  await joinByVeth(
    { in: near, device: 'eth1', addresses: ['192.168.90.10/24'] },
    { in: far, device: 'eth1', addresses: ['192.168.90.11/24'] },
  );
  await far.run(['sh', '-c', 'echo 0 > /proc/sys/net/ipv4/conf/eth1/rp_filter']);
  await near.ip(`route add ${FAR}/32 via 192.168.90.11 dev eth1 src ${NEAR}`);
  await eventually('the other device to be used', () => / by eth1/.test(vtepd.log()));
  await assertOffload(t, vtepd, OFFLOAD, true, 'route over the other device');
  const superframes = await superframesDuring(far, 'eth1', lab.dir, () =>
    assertTransfer(t, vm101, vm105, FAR_VM, SOME_BYTES),
  );
  t.ok(superframes.length > 100, `${superframes.length} superframes left by the other device`);
  await near.ip(`route replace unreachable ${FAR}/32`);
  await assertOffload(t, vtepd, OFFLOAD, false, 'no route');
  await near.ip(`route del unreachable ${FAR}/32`);
  await assertOffload(t, vtepd, OFFLOAD, true, 'first route restored');
  await assertTransfer(t, vm101, vm105, FAR_VM, SOME_BYTES);
  assertIdentity(t, await vtepd.metrics());
});

t.test('deleting the outer TAP disturbs no flow', async (t) => {
  const hosts = await twoHosts(t, 'batch');
  const { near, vtepd } = hosts;
  await assertTransferDuring(t, hosts, OFFLOAD, async () => {
    await near.ip(`link del ${OUTER_TAP}`);
    await assertOffload(t, vtepd, OFFLOAD, false, 'outer TAP deleted');
  });
  t.match(vtepd.log(), /the kernel refuses UDP_TUNNEL_GSO/);
  assertNothingLost(t, await vtepd.metrics());
});

t.test('the offload ends when the last peer is removed and returns with a new peer', async (t) => {
  const { lab, near, far, vm101, vm105, vtepd } = await twoHosts(t, 'batch');
  const peers = '/v1/vnis/100/peers';
  t.equal((await vtepd.call('DELETE', `${peers}/${FAR}`)).status, 204);
  await assertOffload(t, vtepd, OFFLOAD, false, 'no peer');
  t.equal((await vtepd.call('POST', peers, { address: FAR })).status, 201);
  await assertOffload(t, vtepd, OFFLOAD, true, 'peer added again');
  await assertPing(t, vm101, FAR_VM);
  const superframes = await superframesDuring(far, UNDERLAY_DEV, lab.dir, () =>
    assertTransfer(t, vm101, vm105, FAR_VM, SOME_BYTES),
  );
  t.ok(superframes.length > 100, `${superframes.length} superframes were sent to the new peer`);
  await assertStopLeavesNothing(t, near, vtepd);
});

t.test('superframes have the source of --local; each of two daemons has an outer TAP', async (t) => {
  const lab = createLab(t);
  const local = '192.168.80.20';
  const { near, far } = await lab.hosts({ near: [`${NEAR}/24`, `${local}/24`], far: [`${FAR}/24`] });
  const vtepd = await lab.vtepd(near, `--vni 100 --peer ${FAR} --local ${local} --address 10.10.10.1/24`);
  await lab.vtepd(far, `--vni 100 --peer ${local} --address 10.10.10.2/24`);
  const second = await lab.vtepd(near, `--vni 200 --peer ${FAR} --port 4790`);
  for (const daemon of [vtepd, second]) t.ok((await offloadsOf(daemon)).includes(OFFLOAD));
  const superframes = await superframesDuring(far, UNDERLAY_DEV, lab.dir, () =>
    assertTransfer(t, near, far, '10.10.10.2', SOME_BYTES),
  );
  t.same([...new Set(superframes.map(({ source }) => source))], [local]);
  await second.stop();
  t.ok((await near.devices()).includes(OUTER_TAP), 'the outer TAP of the first daemon stays');
});

t.test('the offload is not used with --underlay-dev, IPv6 peers, or --io dgram', async (t) => {
  const lab = createLab(t);
  const { near } = await lab.hosts({
    near: [`${NEAR}/24`, 'fd80::10/64'],
    far: [`${FAR}/24`, 'fd80::11/64'],
  });
  for (const flags of [`--peer ${FAR} --underlay-dev eth0`, '--peer fd80::11', `--peer ${FAR} --io dgram`]) {
    const vtepd = await lab.vtepd(near, `--vni 100 ${flags}`);
    t.notOk((await offloadsOf(vtepd)).includes(OFFLOAD), `${flags}: the offload is not used`);
    t.notOk((await near.devices()).includes(OUTER_TAP), 'vtepd creates no outer TAP');
    await vtepd.stop();
  }
});

/**
 * VXLAN superframes that a device receives or sends while `act` runs. A train of datagrams, for
 * example of acknowledgements on a slow machine, can be as long as a superframe. Such a train is
 * left out: its first inner packet fits into one datagram, that of a superframe does not.
 */
async function superframesDuring(where: Namespace, device: string, dir: string, act: () => Promise<void>) {
  const running = await capture(where, device, dir, `udp port 4789 and greater ${WIRE_MAX + 1}`);
  await act();
  const frames = await running.stop();
  return frames
    .map((frame) => vxlanOf(frame))
    .filter((datagram) => datagram !== undefined)
    .filter(({ inner }) => inner.readUInt16BE(INNER_LEN_AT) > WIRE_MAX);
}

/** Asserts that a stop leaves neither the device nor a setting of the namespace. */
async function assertStopLeavesNothing(t: Test, host: Namespace, vtepd: Vtepd): Promise<void> {
  t.ok((await host.devices()).includes(OUTER_TAP));
  const settings = 'cat /proc/sys/net/ipv4/ip_forward /proc/sys/net/ipv4/conf/*/forwarding';
  t.match(await host.run('cat /proc/sys/net/ipv4/ip_forward'), /^0/, 'the namespace does not forward');
  t.equal(await vtepd.stop(), 0);
  t.notOk((await host.devices()).includes(OUTER_TAP), 'no outer TAP is left');
  t.match(await host.run(['sh', '-c', settings]), /^(0\n)+$/, 'no setting is left');
}
