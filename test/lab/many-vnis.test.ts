/**
 * Two VNIs over one UDP port. VMs in both VNIs have the same MACs and addresses.
 *
 *     vm100a .1   vm200a .1             vm100b .2   vm200b .2     10.10.10.0/24 in each VNI
 *       |  ..:aa    |  ..:aa              |  ..:bb    |  ..:bb    the same MACs
 *     [br100]     [br200]               [br100]     [br200]
 *       |           |                     |           |
 *     vtep100     vtep200               vxlan100    vxlan200   kernel
 *       |           |                     |           |
 *       +-- vtepd --+                     +-----+-----+
 *             |                                 |
 *        near eth0 192.168.80.10 ====== eth0 192.168.80.11 far
 */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { createLab } from '../support/lab.js';
import { assertIdentity } from '../support/metrics.js';
import type { Namespace } from '../support/netns.js';
import { assertPing, assertTransfer, Listener, sendUdp } from '../support/traffic.js';
import { FAR, NEAR } from '../support/two-hosts.js';
import { ENGINES } from '../support/vtepd.js';

const VNIS = [100, 200] as const;
const MAC_A = '02:00:00:00:00:aa';
const MAC_B = '02:00:00:00:00:bb';
const PORT = 9000;
const COUNT = 50;

for (const engine of ENGINES) {
  t.test(`frames with equal MACs in two VNIs stay separate (${engine})`, async (t) => {
    const lab = createLab(t);
    const { near, far } = await lab.hosts({ near: [`${NEAR}/24`], far: [`${FAR}/24`] });
    const vmsA = {} as Record<number, Namespace>;
    const vmsB = {} as Record<number, Namespace>;
    for (const vni of VNIS) {
      const bridge = `br${vni}`;
      await lab.bridge(near, bridge);
      await lab.bridge(far, bridge);
      vmsA[vni] = await lab.vm(near, `vm${vni}a`, { address: '10.10.10.1/24', mac: MAC_A, bridge });
      vmsB[vni] = await lab.vm(far, `vm${vni}b`, { address: '10.10.10.2/24', mac: MAC_B, bridge });
      await lab.kernelVtep(far, { vni, local: FAR, remotes: [NEAR], bridge });
    }
    const config = join(lab.dir, 'vtepd.yaml');
    writeFileSync(config, CONFIG);
    const vtepd = await lab.vtepd(near, `--config ${config} --io ${engine}`);

    for (const vni of VNIS) {
      await assertPing(t, vmsA[vni], '10.10.10.2');
      await assertPing(t, vmsB[vni], '10.10.10.1');
    }
    const [here, there] = await Promise.all(
      [vmsA, vmsB].map(async (vms) => ({
        100: await Listener.start(lab, vms[100], PORT),
        200: await Listener.start(lab, vms[200], PORT),
      })),
    );
    for (const vni of VNIS) {
      const texts = Array.from({ length: COUNT }, (_, index) => `${vni}-${index}`);
      await sendUdp(vmsA[vni], '10.10.10.2', PORT, ...texts, 'unicast');
      await sendUdp(vmsB[vni], '10.10.10.1', PORT, ...texts, 'unicast');
      await sendUdp(vmsB[vni], '10.10.10.255', PORT, ...texts, 'broadcast');
      await here[vni].until('unicast');
      await here[vni].until('broadcast');
      await there[vni].until('unicast');
    }
    for (const vni of VNIS) {
      const own = (text: string) => text.startsWith(`${vni}-`) || /cast$/.test(text);
      t.same(
        here[vni].received.filter((text) => !own(text)),
        [],
        `near: no frame of another VNI arrives in VNI ${vni}`,
      );
      t.equal(here[vni].received.length, 2 * (COUNT + 1), `near: all frames of VNI ${vni} arrive once`);
      t.same(
        there[vni].received.filter((text) => !own(text)),
        [],
        `far: no frame of another VNI arrives in VNI ${vni}`,
      );
      t.match(await vtepd.fdb(vni), [{ mac: MAC_B, peer: FAR }], `the FDB of VNI ${vni} has its own entry`);
    }

    t.equal((await vtepd.call('DELETE', '/v1/vnis/100/fdb?type=dynamic')).status, 200, 'VNI 100 is flushed');
    t.match(await vtepd.fdb(200), [{ mac: MAC_B, peer: FAR }], 'VNI 200 keeps its entries');
    await assertTransfer(t, vmsA[200], vmsB[200], '10.10.10.2', 10 << 20);
    assertIdentity(t, await vtepd.metrics());
  });
}

const CONFIG = `
vnis:
  - vni: 100
    bridge: br100
    peers: [${FAR}]
  - vni: 200
    bridge: br200
    peers: [${FAR}]
`;
