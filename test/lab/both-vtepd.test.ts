/**
 * vtepd on both hosts with only `--vni` and `--peer`.
 *
 * Each daemon derives the MAC of its TAP; the two MACs must differ.
 *
 *     10.10.10.1  vtep100  TAP                    10.10.10.2  vtep100  TAP
 *         |                                           |
 *       vtepd --vni 100 --peer …11                  vtepd --vni 100 --peer …10
 *         |                                           |
 *     near eth0 192.168.80.10 ====== veth ====== eth0 192.168.80.11 far
 */
import t from 'tap';
import { createLab } from '../support/lab.js';
import { assertIdentity } from '../support/metrics.js';
import type { Namespace } from '../support/netns.js';
import { assertPing, assertTransfer } from '../support/traffic.js';
import { FAR, NEAR } from '../support/two-hosts.js';
import type { Engine } from '../support/vtepd.js';

const TRANSFER_BYTES = 50 << 20;
const PAIRS: [Engine, Engine][] = [
  ['batch', 'batch'],
  ['dgram', 'dgram'],
  ['batch', 'dgram'],
];

for (const [nearEngine, farEngine] of PAIRS) {
  t.test(`two vtepd work with only --vni and --peer (${nearEngine} and ${farEngine})`, async (t) => {
    const lab = createLab(t);
    const { near, far } = await lab.hosts({ near: [`${NEAR}/24`], far: [`${FAR}/24`] });
    const nearVtepd = await lab.vtepd(near, `--vni 100 --peer ${FAR} --io ${nearEngine}`);
    const farVtepd = await lab.vtepd(far, `--vni 100 --peer ${NEAR} --io ${farEngine}`);
    const nearMac = await tapMac(near);
    const farMac = await tapMac(far);
    t.not(nearMac, farMac, 'the TAPs have different MACs');
    for (const mac of [nearMac, farMac]) {
      t.equal(Number.parseInt(mac.slice(0, 2), 16) & 3, 2, `${mac} is locally administered and unicast`);
    }

    await near.ip('address add 10.10.10.1/24 dev vtep100');
    await far.ip('address add 10.10.10.2/24 dev vtep100');
    await assertPing(t, near, '10.10.10.2');
    const [neighbour] = await near.show<{ lladdr: string }>('neigh show 10.10.10.2');
    t.equal(neighbour.lladdr, farMac, 'ARP resolves to the far TAP');
    await assertTransfer(t, near, far, '10.10.10.2', TRANSFER_BYTES);
    await assertTransfer(t, far, near, '10.10.10.1', TRANSFER_BYTES);
    assertIdentity(t, await nearVtepd.metrics(), 'near');
    assertIdentity(t, await farVtepd.metrics(), 'far');
  });
}

async function tapMac(host: Namespace): Promise<string> {
  const [link] = await host.show<{ address: string }>('link show dev vtep100');
  return link.address;
}
