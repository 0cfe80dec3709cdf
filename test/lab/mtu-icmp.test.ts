/**
 * Oversized packets: senders receive ICMP with the MTU, or vtepd fragments the inner packet.
 *
 * The VMs behind the bridges have MTU 1500, and the path carries 1400 bytes. The topology is that
 * of test/support/narrow-vms.ts. The reported MTUs are those that kernel vxlan would report.
 */
import t from 'tap';
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
  pathMtuIs,
  VMB,
} from '../support/narrow-vms.js';
import type { Namespace } from '../support/netns.js';
import { assertPing, Listener, sendUdp } from '../support/traffic.js';
import { ENGINES } from '../support/vtepd.js';
import { eventually } from '../support/wait.js';

const PORT = 9000;

for (const family of FAMILIES) {
  for (const engine of ENGINES) {
    t.test(`oversized inner UDP is fragmented or answered by ICMP (${family}, ${engine})`, async (t) => {
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
      t.ok(metrics.sum('vtepd_fragments_total', { vni: 100 }) > 0, 'vtepd fragmented inner packets');
      assertIdentity(t, metrics);
    });
  }

  t.test(`vtepd reports the same MTUs to a VM as kernel vxlan (${family})`, async (t) => {
    const path = await narrowVms(t, 1400);
    await kernelEnd(path, 'near', family, 'df set');
    await kernelEnd(path, 'far', family);
    await assertPing(t, path.vma, VMB.ipv4);
    await provoke(path);
    const byKernel = await believedMtus(path.vma);
    await path.near.ip('link del vxlan100');
    for (const ip of ['-4', '-6']) await path.vma.run(`ip ${ip} route flush cache`);
    const near = await nearVtepd(path, family, 'batch');
    await assertPing(t, path.vma, VMB.ipv4);
    await provoke(path);
    t.same(await believedMtus(path.vma), byKernel);
    assertIdentity(t, await near.metrics());
  });
}

/**
 * Sends pings until one is answered. The size of each ping is the path MTU that the VM assumes:
 * first the device MTU of the VM, later the MTU that an ICMP message reported.
 */
async function provoke({ vma }: NarrowVms): Promise<void> {
  for (const [address, headersLen] of [
    [VMB.ipv4, 28],
    [VMB.ipv6, 48],
  ] as const) {
    await eventually(`the path MTU to ${address} to be learned`, async () => {
      const payloadLen = (await believedMtu(vma, address)) - headersLen;
      return (await vma.outcome(`ping -n -q -c 1 -W 0.5 -M do -s ${payloadLen} ${address}`)).code === 0;
    });
  }
}

async function believedMtus(vma: Namespace): Promise<number[]> {
  return [await believedMtu(vma, VMB.ipv4), await believedMtu(vma, VMB.ipv6)];
}
