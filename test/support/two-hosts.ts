/**
 * Topology of scenario 1, which several labs use: two hosts with two VMs each on a bridge.
 *
 * vtepd runs on the near host, Linux's own VXLAN device on the far one.
 */
import type { Test } from 'tap';
import { createLab, type Lab, UNDERLAY_DEV } from './lab.js';
import type { Namespace } from './netns.js';
import type { Engine, Vtepd } from './vtepd.js';
import { eventually } from './wait.js';

export const NEAR = '192.168.80.10';
export const FAR = '192.168.80.11';
/** Overlay address of vm101. */
export const NEAR_VM = '10.10.10.101';
/** Overlay address of vm105. */
export const FAR_VM = '10.10.10.105';

export interface TwoHosts {
  lab: Lab;
  near: Namespace;
  far: Namespace;
  /** VM on the near host, 10.10.10.101. */
  vm101: Namespace;
  /** VM on the near host, 10.10.10.103. */
  vm103: Namespace;
  /** VM on the far host, 10.10.10.105. */
  vm105: Namespace;
  /** VM on the far host, 10.10.10.107. */
  vm107: Namespace;
  vtepd: Vtepd;
}

/**
 * @param flags flags in addition to `--vni 100 --peer … --bridge br-vxlan --io …`
 * @param env environment variables of the daemon, added to those of the test
 */
export async function twoHosts(
  t: Test,
  engine: Engine,
  flags = '',
  env: Record<string, string> = {},
): Promise<TwoHosts> {
  const lab = createLab(t);
  const { near, far } = await lab.hosts({ near: [`${NEAR}/24`], far: [`${FAR}/24`] });
  await lab.bridge(near);
  await lab.bridge(far);
  const vm101 = await lab.vm(near, 'vm101', { address: `${NEAR_VM}/24` });
  const vm103 = await lab.vm(near, 'vm103', { address: '10.10.10.103/24' });
  const vm105 = await lab.vm(far, 'vm105', { address: `${FAR_VM}/24` });
  const vm107 = await lab.vm(far, 'vm107', { address: '10.10.10.107/24' });
  await lab.kernelVtep(far, { vni: 100, local: FAR, remotes: [NEAR] });
  const command = `--vni 100 --peer ${FAR} --bridge br-vxlan --io ${engine} ${flags}`;
  const vtepd = await lab.vtepd(near, command, env);
  return { lab, near, far, vm101, vm103, vm105, vm107, vtepd };
}

/**
 * Turns tunnel segmentation of the device off; most network cards do not have it. vtepd then
 * segments superframes and sends the segments as trains.
 */
export async function withoutTunnelOffload({ near, vtepd }: TwoHosts): Promise<void> {
  await near.run(`ethtool -K ${UNDERLAY_DEV} tx-udp_tnl-segmentation off`);
  await eventually(
    'UDP_TUNNEL_GSO to be unused',
    async () => !(await offloadsOf(vtepd)).includes('UDP_TUNNEL_GSO'),
  );
}

/** Names of the offloads in use. */
export async function offloadsOf(vtepd: Vtepd): Promise<string[]> {
  const { body } = await vtepd.get<{ underlay: { offloads: string[] } }>('/v1/status');
  return body.underlay.offloads;
}
