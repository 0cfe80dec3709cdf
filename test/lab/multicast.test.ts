/**
 * Multicast through a bridge with snooping: the VNI gets every group, because members behind peers
 * can be unknown to the bridge (RFC 4541 §2.1.2).
 *
 *     vm101 ─ br-vxlan (of vtepd, snooping, querier) ─ vtep100  ═══  vxlan100 ─ br-vxlan ─ vm105
 *
 * vm105 receives a group without IGMP, as behind a peer whose bridge keeps its reports.
 */
import t from 'tap';
import { createLab } from '../support/lab.js';
import type { Namespace } from '../support/netns.js';
import { assertPing } from '../support/traffic.js';
import { FAR, NEAR } from '../support/two-hosts.js';
import { eventually } from '../support/wait.js';

const BRIDGE = 'br-vxlan';
const TAP = 'vtep100';
const GROUP = '239.1.2.3';

t.test('a group without a known member reaches the VNI', async (t) => {
  const lab = createLab(t);
  const { near, far } = await lab.hosts({ near: [`${NEAR}/24`], far: [`${FAR}/24`] });
  await lab.bridge(far);
  await lab.kernelVtep(far, { vni: 100, local: FAR, remotes: [NEAR] });
  await lab.vtepd(near, `--vni 100 --peer ${FAR} --bridge ${BRIDGE}`);
  const vm101 = await lab.vm(near, 'vm101', { address: '10.10.10.101/24' });
  const vm105 = await lab.vm(far, 'vm105', { address: '10.10.10.105/24' });
  const counter = `ip daddr ${GROUP} counter`;
  await vm105.run('nft -f -', {
    input: `table ip groups { chain prerouting { type filter hook prerouting priority 0; ${counter}; }; }`,
  });
  await assertPing(t, vm101, '10.10.10.105');
  t.equal(await multicastRouter(near), 2, 'the port gets all multicast');

  // After the response interval, a bridge with a querier forwards by its membership alone.
  await near.run(
    `ip link set dev ${BRIDGE} type bridge mcast_snooping 1 mcast_query_response_interval 50 mcast_querier 1`,
  );
  await near.ip(`link set dev ${TAP} type bridge_slave mcast_router 0`);
  await eventually('the bridge to keep an unknown group', async () => !(await passes(vm101, vm105)));
  await near.ip(`link set dev ${TAP} nomaster
    link set dev ${TAP} master ${BRIDGE}`);
  await eventually('the port to get all multicast again', async () => (await multicastRouter(near)) === 2);
  await eventually('the group to reach vm105', () => passes(vm101, vm105));
});

/** Sends to the group, then a ping on the same path. @returns true when the first arrived */
async function passes(from: Namespace, to: Namespace): Promise<boolean> {
  const before = await received(to);
  await from.outcome(`ping -q -c 1 -W 1 -I 10.10.10.101 ${GROUP}`);
  await from.run('ping -q -c 1 -W 5 10.10.10.105');
  return (await received(to)) > before;
}

/** Packets to the group that a VM has received. */
async function received(vm: Namespace): Promise<number> {
  const text = await vm.run('nft list chain ip groups prerouting');
  return Number(/packets (\d+)/.exec(text)![1]);
}

async function multicastRouter(host: Namespace): Promise<number> {
  const [link] = await host.show<{ linkinfo?: { info_slave_data?: { multicast_router?: number } } }>(
    `link show dev ${TAP}`,
  );
  return link.linkinfo?.info_slave_data?.multicast_router ?? -1;
}
