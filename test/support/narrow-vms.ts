/**
 * VMs with MTU 1500 at both ends of a path with a narrow hop.
 *
 * Bridges and VMs have MTU 1500 and are not configured for VXLAN:
 *
 *     vma eth0 1500                                                              eth0 1500 vmb
 *     10.10.10.1, fd10::1                                              10.10.10.2, fd10::2
 *         |                                                                          |
 *     [br-vxlan]                                                                [br-vxlan]
 *         |                                                                          |
 *       VTEP                                                                       VTEP
 *         |                                                                          |
 *     near eth0 ==== 1500 ==== left ---- narrow ---- right ==== 1500 ==== eth0 far
 *
 * narrow-path.ts creates the underlay.
 */
import type { Test } from 'tap';
import type { Lab } from './lab.js';
import { FAR, type NarrowPath, NEAR, narrowPath } from './narrow-path.js';
import type { Namespace } from './netns.js';
import type { Engine, Vtepd } from './vtepd.js';
import { eventually } from './wait.js';

export type Family = 'ipv4' | 'ipv6';
export const FAMILIES: readonly Family[] = ['ipv4', 'ipv6'];
/** Length of outer IP, UDP, VXLAN and inner Ethernet header, bytes. */
export const OVERHEAD = { ipv4: 50, ipv6: 70 } as const;

export const VMA = { ipv4: '10.10.10.1', ipv6: 'fd10::1' };
export const VMB = { ipv4: '10.10.10.2', ipv6: 'fd10::2' };

export interface NarrowVms extends NarrowPath {
  vma: Namespace;
  vmb: Namespace;
}

/**
 * Creates the hosts and VMs, without VTEPs.
 *
 * @param mtu MTU of the middle hop, bytes
 * @param vmMtu MTU of VMs and bridges, bytes
 */
export async function narrowVms(t: Test, mtu: number, vmMtu = 1500): Promise<NarrowVms> {
  const path = await narrowPath(t, mtu);
  const { lab, near, far } = path;
  await lab.bridge(near);
  await lab.bridge(far);
  const vma = await dualStackVm(lab, near, 'vma', VMA, vmMtu);
  const vmb = await dualStackVm(lab, far, 'vmb', VMB, vmMtu);
  return { ...path, vma, vmb };
}

export function nearVtepd({ lab, near }: NarrowVms, family: Family, io: Engine, flags = ''): Promise<Vtepd> {
  return lab.vtepd(near, `--vni 100 --peer ${FAR[family]} --bridge br-vxlan --io ${io} ${flags}`);
}

export function farVtepd({ lab, far }: NarrowVms, family: Family, io: Engine, flags = ''): Promise<Vtepd> {
  return lab.vtepd(far, `--vni 100 --peer ${NEAR[family]} --bridge br-vxlan --io ${io} ${flags}`);
}

/**
 * Creates Linux's own VXLAN device in the bridge of one end. The device has no lower device,
 * because a lower device would limit the MTU.
 *
 * @param options options of the device
 * @param mtu MTU of the device, bytes
 */
export async function kernelEnd(
  { near, far }: NarrowVms,
  end: 'near' | 'far',
  family: Family,
  options = '',
  mtu = 1500,
): Promise<void> {
  const [host, local, remote] = end === 'near' ? [near, NEAR, FAR] : [far, FAR, NEAR];
  await host.ip(`link add vxlan100 type vxlan id 100 local ${local[family]} remote ${remote[family]} dstport 4789 ${options}
    link set vxlan100 mtu ${mtu} master br-vxlan up`);
}

/**
 * Path MTU that a host uses toward an address, bytes: learned by ICMP, else the MTU of its device.
 */
export async function believedMtu(host: Namespace, address: string): Promise<number> {
  const [route] = await host.show<{ metrics?: { mtu?: number }[] }>(`route get ${address}`);
  const learned = route.metrics?.find(({ mtu }) => mtu !== undefined)?.mtu;
  if (learned !== undefined) return learned;
  const [link] = await host.show<{ mtu: number }>('link show dev eth0');
  return link.mtu;
}

/** Path MTU that a daemon uses for its only peer, bytes. */
export async function pathMtu(vtepd: Vtepd): Promise<number> {
  const { body } = await vtepd.get<{ items: { pathMtu: number }[] }>('/v1/vnis/100/peers');
  return body.items[0].pathMtu;
}

export async function pathMtuIs(vtepd: Vtepd, mtu: number): Promise<void> {
  await eventually(`a path MTU of ${mtu}`, async () => (await pathMtu(vtepd)) === mtu);
}

async function dualStackVm(
  lab: Lab,
  host: Namespace,
  label: string,
  address: { ipv4: string; ipv6: string },
  mtu: number,
): Promise<Namespace> {
  const vm = await lab.vm(host, label, { address: `${address.ipv4}/24`, mtu });
  await vm.run(['sh', '-c', 'echo 0 > /proc/sys/net/ipv6/conf/eth0/disable_ipv6']);
  await vm.ip(`address add ${address.ipv6}/64 dev eth0 nodad`);
  return vm;
}
