/**
 * `--source-ports 4789-4789`: everything leaves from the listening port, so that a NAT without port
 * forwarding and a stateful firewall pass both directions.
 *
 * Like any router with NAT, this one drops what arrives unsolicited from outside. Without that, a
 * datagram that the outside host sends first takes the port that the NAT would give the inside host.
 *
 *     inside 192.168.7.2 ── router (NAT, MTU as given) ── outside 203.0.113.2
 *       vtepd                192.168.7.1  203.0.113.1       vtepd, or kernel vxlan
 *       10.9.0.1                                            10.9.0.2
 */
import t, { type Test } from 'tap';
import { createLab, UNDERLAY_DEV } from '../support/lab.js';
import { assertIdentity } from '../support/metrics.js';
import { joinByVeth, type Namespace } from '../support/netns.js';
import { assertOffload } from '../support/offload.js';
import { capture, udpOf } from '../support/pcap.js';
import { assertPing, assertTransfer } from '../support/traffic.js';
import { offloadsOf } from '../support/two-hosts.js';
import { ENGINES } from '../support/vtepd.js';
import { eventually } from '../support/wait.js';

const INSIDE = '192.168.7.2';
const OUTSIDE = '203.0.113.2';
/** Outer address of the NAT. */
const NAT = '203.0.113.1';
const ONE_PORT = '--source-ports 4789-4789';
const OVERLAY = { inside: '10.9.0.1', outside: '10.9.0.2' };
/** MTU of the outer link of the router in some labs, bytes. */
const NARROW = 1400;
const NAT_RULES = `table ip nat {
  chain out { type nat hook postrouting priority 100; oifname wan masquerade; }
  chain in { type filter hook input priority 0; iifname wan ct state established,related accept; iifname wan drop; }
}`;
const SOME_BYTES = 4 << 20;

for (const io of ENGINES)
  for (const more of ['', '--df unset', ...(io === 'batch' ? ['--workers 2', '--udp-checksum off'] : [])])
    t.test(`two vtepd reach each other through a NAT: ${io} ${more}`, async (t) => {
      const { lab, inside, outside } = await behindNat(t);
      const flags = `--vni 100 ${ONE_PORT} --io ${io} ${more}`;
      const far = await lab.vtepd(outside, `${flags} --peer ${NAT} --address ${OVERLAY.outside}/24`);
      const near = await lab.vtepd(inside, `${flags} --peer ${OUTSIDE} --address ${OVERLAY.inside}/24`);
      const wire = await capture(outside, UNDERLAY_DEV, lab.dir, 'udp port 4789');
      await assertPing(t, inside, OVERLAY.outside);
      await assertPing(t, outside, OVERLAY.inside);
      await assertTransfer(t, inside, outside, OVERLAY.outside, SOME_BYTES);
      await assertTransfer(t, outside, inside, OVERLAY.inside, SOME_BYTES);
      assertOnePort(t, await wire.stop());
      for (const vtepd of [near, far]) assertIdentity(t, await vtepd.metrics());
    });

t.test('a vtepd with one port and a kernel vxlan with one port reach each other', async (t) => {
  const { lab, inside, outside } = await behindNat(t);
  await kernelVxlan(outside);
  const vtepd = await lab.vtepd(
    inside,
    `--vni 100 ${ONE_PORT} --peer ${OUTSIDE} --address ${OVERLAY.inside}/24`,
  );
  t.ok((await offloadsOf(vtepd)).includes('UDP_TUNNEL_GSO'), 'superframes leave whole');
  await assertPing(t, inside, OVERLAY.outside);
  const wire = await capture(outside, UNDERLAY_DEV, lab.dir, 'udp port 4789');
  await assertTransfer(t, inside, outside, OVERLAY.outside, SOME_BYTES);
  await assertTransfer(t, outside, inside, OVERLAY.inside, SOME_BYTES);
  assertOnePort(t, await wire.stop());
  assertIdentity(t, await vtepd.metrics());
});

t.test('TCP flows through the kernel leave from the port', async (t) => {
  const { lab, inside, outside } = await behindNat(t);
  await kernelVxlan(outside);
  const flags = `--vni 100 ${ONE_PORT} --flow-offload on`;
  const vtepd = await lab.vtepd(inside, `${flags} --peer ${OUTSIDE} --address ${OVERLAY.inside}/24`);
  await assertOffload(t, vtepd, 'TCX_FLOWS', true, 'enabled at start');
  await assertPing(t, inside, OVERLAY.outside);
  const wire = await capture(outside, UNDERLAY_DEV, lab.dir, 'udp port 4789');
  await assertTransfer(t, inside, outside, OVERLAY.outside, 50 << 20);
  assertOnePort(t, await wire.stop());
  assertIdentity(t, await vtepd.metrics());
});

for (const flags of ['', '--workers 2'])
  t.test(`a narrower path is learned from ICMP at the port ${flags}`, async (t) => {
    const { lab, inside, router, outside } = await behindNat(t, NARROW);
    await kernelVxlan(outside);
    await router.run([
      'nft',
      'add chain ip nat echo { type filter hook forward priority 0; icmp type echo-request drop; }',
    ]);
    const command = `--vni 100 ${ONE_PORT} --peer ${OUTSIDE} --address ${OVERLAY.inside}/24 ${flags}`;
    const vtepd = await lab.vtepd(inside, command);
    await assertPing(t, inside, OVERLAY.outside);
    await eventually('the path MTU of the ICMP message', async () => {
      await inside.outcome(`ping -c 1 -W 1 -M do -s 1400 ${OVERLAY.outside}`);
      const { body } = await vtepd.get<{ items: { pathMtu: number }[] }>('/v1/vnis/100/peers');
      return body.items[0].pathMtu === NARROW;
    });
    await assertTransfer(t, inside, outside, OVERLAY.outside, SOME_BYTES);
    assertIdentity(t, await vtepd.metrics());
  });

/** Asserts that every datagram, frames and probes, has the VXLAN port at both ends. */
function assertOnePort(t: Test, frames: readonly Buffer[]): void {
  const ports = new Set(
    frames
      .flatMap((frame) => udpOf(frame) ?? [])
      .flatMap((datagram) => [datagram.sourcePort, datagram.destinationPort]),
  );
  t.same([...ports], [4789]);
}

/** Linux's own VXLAN device with the same single source port. */
async function kernelVxlan(outside: Namespace): Promise<void> {
  await outside.ip(`link add vxlan100 type vxlan id 100 local ${OUTSIDE} remote ${NAT} dstport 4789 srcport 4789 4790
    address add ${OVERLAY.outside}/24 dev vxlan100
    link set vxlan100 mtu 1350 up`);
}

async function behindNat(t: Test, mtu = 1500) {
  const lab = createLab(t);
  const [inside, router, outside] = await Promise.all(
    ['inside', 'router', 'outside'].map((label) => lab.namespace(label)),
  );
  await joinByVeth(
    { in: inside, device: UNDERLAY_DEV, addresses: [`${INSIDE}/24`] },
    { in: router, device: 'lan', addresses: ['192.168.7.1/24'] },
  );
  await joinByVeth(
    { in: router, device: 'wan', addresses: [`${NAT}/24`], mtu },
    { in: outside, device: UNDERLAY_DEV, addresses: [`${OUTSIDE}/24`], mtu },
  );
  await inside.ip('route add default via 192.168.7.1');
  await router.run(['sh', '-c', 'echo 1 > /proc/sys/net/ipv4/ip_forward']);
  await router.run(['nft', NAT_RULES]);
  return { lab, inside, router, outside };
}
