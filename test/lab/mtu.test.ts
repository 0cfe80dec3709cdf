/**
 * vtepd prevents MTU black holes without any configuration.
 *
 * The VMs behind the bridges have MTU 1500. The path first carries 1400 bytes, then 1300. The
 * topology is that of test/support/narrow-vms.ts. vtepd uses the MSS clamp, ICMP and path probes.
 */
import t, { type Test } from 'tap';
import { assertIdentity } from '../support/metrics.js';
import {
  FAMILIES,
  farVtepd,
  kernelEnd,
  type NarrowVms,
  narrowVms,
  nearVtepd,
  pathMtuIs,
  VMB,
} from '../support/narrow-vms.js';
import type { Namespace } from '../support/netns.js';
import { assertPing, tlsExchange } from '../support/traffic.js';
import { ENGINES } from '../support/vtepd.js';
import { eventually } from '../support/wait.js';

const DOWNLOAD_BYTES = 50 << 20;

for (const family of FAMILIES) {
  for (const engine of ENGINES) {
    t.test(`HTTPS works with default flags (${family}, ${engine})`, async (t) => {
      const path = await narrowVms(t, 1400);
      const near = await nearVtepd(path, family, engine);
      const far = await farVtepd(path, family, engine);
      await assertPing(t, path.vma, VMB.ipv4);
      await assertDownload(t, path, () => path.narrow(1300));
      t.ok((await near.metrics()).sum('vtepd_mss_clamped_total', { vni: 100 }) > 0, 'SYNs were clamped');
      for (const vtepd of [near, far]) assertIdentity(t, await vtepd.metrics());
    });

    t.test(`HTTPS works by ICMP alone with the MSS clamp off (${family}, ${engine})`, async (t) => {
      const path = await narrowVms(t, 1400);
      const near = await nearVtepd(path, family, engine, '--mss-clamp off');
      const far = await farVtepd(path, family, engine, '--mss-clamp off');
      await assertPing(t, path.vma, VMB.ipv4);
      await assertDownload(t, path);
      const metrics = await far.metrics();
      t.equal(metrics.sum('vtepd_mss_clamped_total', { vni: 100 }), 0);
      t.ok(
        metrics.sum('vtepd_too_big_frames_total', { vni: 100, action: 'icmp' }) > 0,
        'the server received ICMP',
      );
      for (const vtepd of [near, far]) assertIdentity(t, await vtepd.metrics());
    });

    t.test(`HTTPS works by path probes if underlay ICMP is filtered (${family}, ${engine})`, async (t) => {
      const path = await narrowVms(t, 1400);
      await path.filterIcmp();
      const near = await nearVtepd(path, family, engine);
      const far = await farVtepd(path, family, engine);
      for (const vtepd of [near, far]) await pathMtuIs(vtepd, 1400);
      await assertDownload(t, path);
      for (const vtepd of [near, far]) assertIdentity(t, await vtepd.metrics());
    });
  }

  t.test(`HTTPS works against kernel vxlan (${family})`, async (t) => {
    const path = await narrowVms(t, 1400);
    const near = await nearVtepd(path, family, 'batch');
    await kernelEnd(path, 'far', family);
    await assertPing(t, path.vma, VMB.ipv4);
    await assertDownload(t, path, () => path.narrow(1300));
    assertIdentity(t, await near.metrics());
  });
}

/**
 * Asserts that a response that vma downloads from vmb arrives intact.
 *
 * @param meanwhile runs while the download is in progress
 */
async function assertDownload(t: Test, path: NarrowVms, meanwhile?: () => Promise<void>): Promise<void> {
  const { lab, vma, vmb } = path;
  const download = tlsExchange(vma, vmb, VMB.ipv4, DOWNLOAD_BYTES, lab.dir);
  if (meanwhile) {
    await eventually('the download to be in progress', async () => (await receivedBytes(vma)) > 1 << 20);
    await meanwhile();
    t.ok((await receivedBytes(vma)) < DOWNLOAD_BYTES, 'the path changed during the download');
  }
  const { client, server } = await download;
  t.same([client.bytes, client.sha256], [DOWNLOAD_BYTES, server.sha256], '50 MB arrive intact');
}

async function receivedBytes(host: Namespace): Promise<number> {
  return Number(await host.run('cat /sys/class/net/eth0/statistics/rx_bytes'));
}
