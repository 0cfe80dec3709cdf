/**
 * `--fwmark`: a rule of the host sends marked packets by another device.
 *
 *     vm101 ── br-vxlan ── vtepd ── near eth0 192.168.80.10 ═ veth ═ eth0 far 192.168.80.11 ── vxlan100
 *                                   near eth1 192.168.90.10 ═ veth ═ eth1 far 192.168.90.11
 *
 *     near: rule "fwmark 0x80000007 → table 77"; table 77: 192.168.80.11 by eth1
 *     vm105 is on the far host's br-vxlan
 */
import t, { type Test } from 'tap';
import { createLab, UNDERLAY_DEV } from '../support/lab.js';
import { assertIdentity } from '../support/metrics.js';
import { joinByVeth } from '../support/netns.js';
import { assertOffload } from '../support/offload.js';
import { capture, ipOf, vxlanOf } from '../support/pcap.js';
import { assertPing, assertTransfer } from '../support/traffic.js';
import { FAR, FAR_VM, NEAR, NEAR_VM, offloadsOf } from '../support/two-hosts.js';
import { eventually } from '../support/wait.js';

/** A mark whose highest bit is set, in both notations. */
const MARK = 0x80000007;
const SOME_BYTES = 20 << 20;
/** Length of the longest Ethernet frame on the underlay, bytes. */
const WIRE_MAX = 1514;
const OTHER_DEV = 'eth1';

for (const { name, flags, whole } of [
  { name: 'superframes leave whole', flags: `--fwmark ${MARK}`, whole: true },
  { name: 'superframes are cut up', flags: '--fwmark 0x80000007', whole: false },
])
  t.test(`ping, TCP and probes leave by the device of the mark; ${name}`, async (t) => {
    const { lab, near, far, vm101, vm105 } = await marked(t);
    if (!whole) await near.run(`ethtool -K ${OTHER_DEV} tx-udp_tnl-segmentation off`);
    const from = `host ${NEAR} or host 192.168.90.10`;
    const wrong = await capture(near, UNDERLAY_DEV, lab.dir, from);
    const right = await capture(far, OTHER_DEV, lab.dir, from);
    const vtepd = await lab.vtepd(near, `--vni 100 --peer ${FAR} --bridge br-vxlan ${flags}`);
    t.equal((await offloadsOf(vtepd)).includes('UDP_TUNNEL_GSO'), whole);
    await assertPing(t, vm101, FAR_VM);
    await assertTransfer(t, vm101, vm105, FAR_VM, SOME_BYTES);
    await assertTransfer(t, vm105, vm101, NEAR_VM, SOME_BYTES);
    const { status } = await vtepd.call('POST', `/v1/vnis/100/peers/${FAR}/probe`);
    t.equal(status, 200);
    t.same(sentBy(await wrong.stop()), [], 'nothing left by the device of the main table');
    const frames = (await right.stop()).filter((frame) => ipOf(frame)?.source === NEAR);
    t.ok(
      frames.some((frame) => ipOf(frame)?.protocol === 1),
      'the probe by ICMP',
    );
    const long = frames.filter((frame) => vxlanOf(frame) && frame.length > WIRE_MAX);
    if (whole) t.ok(long.length > 100, `${long.length} superframes left by the device of the mark`);
    assertIdentity(t, await vtepd.metrics());
  });

t.test('TCP flows through the kernel leave by the device of the mark', async (t) => {
  const { lab, near, far, vm101, vm105 } = await marked(t);
  const flags = `--peer ${FAR} --bridge br-vxlan --fwmark ${MARK} --flow-offload on`;
  const vtepd = await lab.vtepd(near, `--vni 100 ${flags}`);
  await assertOffload(t, vtepd, 'TCX_FLOWS', true, 'enabled at start');
  const wrong = await capture(near, UNDERLAY_DEV, lab.dir, `src host ${NEAR}`);
  const right = await capture(far, OTHER_DEV, lab.dir, `src host ${NEAR}`);
  await assertPing(t, vm101, FAR_VM);
  await assertTransfer(t, vm101, vm105, FAR_VM, SOME_BYTES);
  t.same(sentBy(await wrong.stop()), [], 'nothing left by the device of the main table');
  const datagrams = (await right.stop()).filter((frame) => vxlanOf(frame));
  t.ok(datagrams.length > 100, `${datagrams.length} datagrams left by the device of the mark`);
  assertIdentity(t, await vtepd.metrics());
});

t.test('a change of the rule moves the traffic', async (t) => {
  const { lab, near, vm101 } = await marked(t);
  const vtepd = await lab.vtepd(near, `--vni 100 --peer ${FAR} --bridge br-vxlan --fwmark ${MARK}`);
  await assertPing(t, vm101, FAR_VM);
  await near.ip(`rule del fwmark ${MARK}`);
  await eventually('the device of the main table', () => / by eth0/.test(vtepd.log()));
  await assertPing(t, vm101, FAR_VM);
  assertIdentity(t, await vtepd.metrics());
});

/** Two hosts, two underlay devices, and a rule that only marked packets match. */
async function marked(t: Test) {
  const lab = createLab(t);
  const { near, far } = await lab.hosts({ near: [`${NEAR}/24`], far: [`${FAR}/24`] });
  await joinByVeth(
    { in: near, device: OTHER_DEV, addresses: ['192.168.90.10/24'] },
    { in: far, device: OTHER_DEV, addresses: ['192.168.90.11/24'] },
  );
  for (const host of [near, far])
    await host.run(['sh', '-c', 'for f in /proc/sys/net/ipv4/conf/*/rp_filter; do echo 0 > $f; done']);
  await near.ip(`route add ${FAR}/32 via 192.168.90.11 dev ${OTHER_DEV} src ${NEAR} table 77
    rule add fwmark ${MARK} lookup 77`);
  for (const host of [near, far]) await lab.bridge(host);
  const vm101 = await lab.vm(near, 'vm101', { address: `${NEAR_VM}/24` });
  const vm105 = await lab.vm(far, 'vm105', { address: `${FAR_VM}/24` });
  await far.ip('link add vxlan100 type vxlan id 100 local 192.168.80.11 dstport 4789');
  await far.ip('link set vxlan100 mtu 1450 master br-vxlan up');
  await far.run(`bridge fdb append 00:00:00:00:00:00 dev vxlan100 dst ${NEAR}`);
  return { lab, near, far, vm101, vm105 };
}

/** IP packets of the near host's underlay address. */
function sentBy(frames: readonly Buffer[]): string[] {
  return frames.flatMap((frame) => {
    const packet = ipOf(frame);
    return packet?.source === NEAR ? `${packet.protocol} to ${packet.destination}` : [];
  });
}
