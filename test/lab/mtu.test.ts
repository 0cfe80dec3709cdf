/**
 * No black hole: VMs with MTU 1500 behind bridges, a path that carries 1400 and then 1300, nothing configured for it.
 * Topology of test/support/narrow-vms.ts. Who is told, and by whom: the clamp of SYNs, ICMP, the probe.
 */
import t, { type Test } from 'tap';
import { assertIdentity } from '../support/metrics.js';
import {
  believedMtu,
  FAMILIES,
  farVtepd,
  kernelEnd,
  type NarrowVms,
  narrowVms,
  nearVtepd,
  OVERHEAD,
  VMB,
} from '../support/narrow-vms.js';
import type { Namespace } from '../support/netns.js';
import { assertPing, Listener, sendUdp, tlsExchange } from '../support/traffic.js';
import { ENGINES, type Vtepd } from '../support/vtepd.js';
import { eventually } from '../support/wait.js';

const DOWNLOAD_BYTES = 50 << 20;
const PORT = 9000;

for (const family of FAMILIES) {
  for (const engine of ENGINES) {
    t.test(`HTTPS, default flags (${family}, ${engine})`, async (t) => {
      const path = await narrowVms(t, 1400);
      const near = await nearVtepd(path, family, engine);
      const far = await farVtepd(path, family, engine);
      await assertPing(t, path.vma, VMB.ipv4);
      await assertDownload(t, path, () => path.narrow(1300));
      t.ok((await near.metrics()).sum('vtepd_mss_clamped_total', { vni: 100 }) > 0, 'SYNs were clamped');
      for (const vtepd of [near, far]) assertIdentity(t, await vtepd.metrics());
    });

    t.test(`HTTPS with the clamp off: ICMP alone (${family}, ${engine})`, async (t) => {
      const path = await narrowVms(t, 1400);
      const near = await nearVtepd(path, family, engine, '--mss-clamp off');
      const far = await farVtepd(path, family, engine, '--mss-clamp off');
      await assertPing(t, path.vma, VMB.ipv4);
      await assertDownload(t, path);
      const metrics = await far.metrics();
      t.equal(metrics.sum('vtepd_mss_clamped_total', { vni: 100 }), 0);
      t.ok(
        metrics.sum('vtepd_too_big_frames_total', { vni: 100, action: 'icmp' }) > 0,
        'the server was told',
      );
      for (const vtepd of [near, far]) assertIdentity(t, await vtepd.metrics());
    });

    t.test(`HTTPS, ICMP filtered on the underlay: the probe finds it (${family}, ${engine})`, async (t) => {
      const path = await narrowVms(t, 1400);
      await path.filterIcmp();
      const near = await nearVtepd(path, family, engine);
      const far = await farVtepd(path, family, engine);
      for (const vtepd of [near, far]) await pathMtuIs(vtepd, 1400);
      await assertDownload(t, path);
      for (const vtepd of [near, far]) assertIdentity(t, await vtepd.metrics());
    });

    t.test(`UDP: fragmented inside, or the sender is told (${family}, ${engine})`, async (t) => {
      const path = await narrowVms(t, 1400);
      const near = await nearVtepd(path, family, engine);
      await farVtepd(path, family, engine);
      await assertPing(t, path.vma, VMB.ipv4);
      await provoke(path);
      await pathMtuIs(near, 1400);
      t.equal(await believedMtu(path.vma, VMB.ipv4), 1400 - OVERHEAD[family]);
      t.equal(await believedMtu(path.vma, VMB.ipv6), 1400 - OVERHEAD[family]);

      await path.vma.run('sysctl -qw net.ipv4.ip_no_pmtu_disc=1');
      await path.vma.run('ip route flush cache');
      const listener = await Listener.start(path.lab, path.vmb, PORT);
      const text = 'x'.repeat(1400);
      await sendUdp(path.vma, VMB.ipv4, PORT, text);
      await listener.until(text);
      const metrics = await near.metrics();
      t.ok(metrics.sum('vtepd_fragments_total', { vni: 100 }) > 0, 'by vtepd');
      assertIdentity(t, metrics);
    });
  }

  t.test(`HTTPS against kernel vxlan (${family})`, async (t) => {
    const path = await narrowVms(t, 1400);
    const near = await nearVtepd(path, family, 'batch');
    await kernelEnd(path, 'far', family);
    await assertPing(t, path.vma, VMB.ipv4);
    await assertDownload(t, path, () => path.narrow(1300));
    assertIdentity(t, await near.metrics());
  });

  t.test(`a VM is told what kernel vxlan would tell it (${family})`, async (t) => {
    const path = await narrowVms(t, 1400);
    await kernelEnd(path, 'near', family, 'df set');
    await kernelEnd(path, 'far', family);
    await assertPing(t, path.vma, VMB.ipv4);
    await provoke(path);
    const told = await beliefs(path.vma);
    await path.near.ip('link del vxlan100');
    for (const ip of ['-4', '-6']) await path.vma.run(`ip ${ip} route flush cache`);
    const near = await nearVtepd(path, family, 'batch');
    await assertPing(t, path.vma, VMB.ipv4);
    await provoke(path);
    t.same(await beliefs(path.vma), told);
    assertIdentity(t, await near.metrics());
  });
}

/** A download of vma from vmb. @param meanwhile done once it is under way */
async function assertDownload(t: Test, path: NarrowVms, meanwhile?: () => Promise<void>): Promise<void> {
  const { lab, vma, vmb } = path;
  const download = tlsExchange(vma, vmb, VMB.ipv4, DOWNLOAD_BYTES, lab.dir);
  if (meanwhile) {
    await eventually('the download to be under way', async () => (await receivedBytes(vma)) > 1 << 20);
    await meanwhile();
    t.ok((await receivedBytes(vma)) < DOWNLOAD_BYTES, 'the path changed under way');
  }
  const { client, server } = await download;
  t.same([client.bytes, client.sha256], [DOWNLOAD_BYTES, server.sha256], '50 MB, and the same');
}

async function receivedBytes(host: Namespace): Promise<number> {
  return Number(await host.run('cat /sys/class/net/eth0/statistics/rx_bytes'));
}

/** Packets as large as the VM believes that they may be, until one is answered: first its device's MTU, then what it is told. */
async function provoke({ vma }: NarrowVms): Promise<void> {
  for (const [address, headersLen] of [
    [VMB.ipv4, 28],
    [VMB.ipv6, 48],
  ] as const) {
    await eventually(`${address} to be known as it is`, async () => {
      const payloadLen = (await believedMtu(vma, address)) - headersLen;
      return (await vma.outcome(`ping -n -q -c 1 -W 0.5 -M do -s ${payloadLen} ${address}`)).code === 0;
    });
  }
}

async function beliefs(vma: Namespace): Promise<number[]> {
  return [await believedMtu(vma, VMB.ipv4), await believedMtu(vma, VMB.ipv6)];
}

async function pathMtuIs(vtepd: Vtepd, mtu: number): Promise<void> {
  await eventually(`a path MTU of ${mtu}`, async () => {
    const { body } = await vtepd.get<{ items: { pathMtu: number }[] }>('/v1/vnis/100/peers');
    return body.items[0].pathMtu === mtu;
  });
}
