/**
 * An underlay with IPv6, alone and together with IPv4 in one flood list.
 *
 *     vma 10.10.10.1         vmb .2                 vmc .3               MTU 1430: 1500 − 70
 *         |                    |                      |
 *     [br-vxlan]           [br-vxlan]             [br-vxlan]
 *         |                    |                      |
 *       vtepd                kernel                 kernel
 *         |                    |                      |
 *     a fd00:80::10        b fd00:80::11          c 192.168.80.12
 *       192.168.80.10          |                      |
 *         +--------------------+----------------------+   switch
 */
import t, { type Test } from 'tap';
import { createLab, type Lab, UNDERLAY_DEV } from '../support/lab.js';
import { assertIdentity } from '../support/metrics.js';
import type { Namespace } from '../support/netns.js';
import { capture, isProbe, vxlanOf } from '../support/pcap.js';
import { assertPing, assertTransfer, iperf, Listener, sendUdp } from '../support/traffic.js';
import { ENGINES } from '../support/vtepd.js';

const A6 = 'fd00:80::10';
const B6 = 'fd00:80::11';
const A4 = '192.168.80.10';
const C4 = '192.168.80.12';
const MTU = 1430;
const TRANSFER_BYTES = 50 << 20;

for (const engine of ENGINES) {
  t.test(`IPv6 underlay interoperates with kernel vxlan (${engine})`, async (t) => {
    const { lab, a, vma, vmb } = await hosts(t);
    const vtepd = await lab.vtepd(a, `--vni 100 --peer ${B6} --bridge br-vxlan --io ${engine}`);
    const wire = await capture(a, UNDERLAY_DEV, lab.dir, 'udp port 4789');
    await assertPing(t, vma, '10.10.10.2');
    await assertPing(t, vmb, '10.10.10.1');
    for (const frame of await wire.stop()) {
      if (isProbe(frame)) continue;
      t.equal(frame.readUInt16BE(12), 0x86dd, 'the packet is IPv6');
      t.match(vxlanOf(frame), { flags: 0x08, reserved: 0, vni: 100 }, 'the packet contains VXLAN');
      t.not(frame.readUInt16BE(14 + 40 + 6), 0, 'the packet has a UDP checksum');
    }
    await assertTransfer(t, vma, vmb, '10.10.10.2', TRANSFER_BYTES);
    await assertTransfer(t, vmb, vma, '10.10.10.1', TRANSFER_BYTES);
    t.ok((await iperf(vma, vmb, '10.10.10.2', 1)) > 0, 'iperf3 runs');
    assertIdentity(t, await vtepd.metrics());
  });

  t.test(`one flood list can contain IPv4 and IPv6 peers (${engine})`, async (t) => {
    const { lab, a, vma, vmb, vmc } = await hosts(t);
    const vtepd = await lab.vtepd(a, `--vni 100 --peer ${B6} --peer ${C4} --bridge br-vxlan --io ${engine}`);
    const atB = await Listener.start(lab, vmb, 9000);
    const atC = await Listener.start(lab, vmc, 9000);
    const texts = Array.from({ length: 100 }, (_, index) => `to both ${index}`);
    await sendUdp(vma, '10.10.10.255', 9000, ...texts);
    for (const listener of [atB, atC]) {
      await listener.until(texts.at(-1)!);
      t.same(listener.received, texts, 'every broadcast arrived once');
    }
    await assertPing(t, vma, '10.10.10.2');
    await assertPing(t, vma, '10.10.10.3');
    const entries = await vtepd.fdb(100);
    t.same(entries.map((entry) => entry.peer).sort(), [C4, B6].sort(), 'one entry is learned from each peer');
    assertIdentity(t, await vtepd.metrics());
  });
}

interface Hosts {
  lab: Lab;
  a: Namespace;
  vma: Namespace;
  vmb: Namespace;
  vmc: Namespace;
}

async function hosts(t: Test): Promise<Hosts> {
  const lab = createLab(t);
  const { a, b, c } = await lab.hosts({
    a: [`${A4}/24`, `${A6}/64`],
    b: [`${B6}/64`],
    c: [`${C4}/24`],
  });
  for (const host of [a, b, c]) await lab.bridge(host);
  const vma = await lab.vm(a, 'vma', { address: '10.10.10.1/24', mtu: MTU });
  const vmb = await lab.vm(b, 'vmb', { address: '10.10.10.2/24', mtu: MTU });
  const vmc = await lab.vm(c, 'vmc', { address: '10.10.10.3/24', mtu: MTU });
  await lab.kernelVtep(b, { vni: 100, local: B6, remotes: [A6], mtu: MTU });
  await lab.kernelVtep(c, { vni: 100, local: C4, remotes: [A4], mtu: MTU });
  return { lab, a, vma, vmb, vmc };
}
