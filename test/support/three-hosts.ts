/**
 * Three hosts on a switch with one VM each, all in VNI 100.
 *
 * Each host runs vtepd or Linux's own VXLAN device, and has both other hosts in its flood list.
 *
 *     vma 10.10.10.1        vmb 10.10.10.2        vmc 10.10.10.3
 *         |                     |                     |
 *     [br-vxlan]            [br-vxlan]            [br-vxlan]
 *         |                     |                     |
 *       VTEP                  VTEP                  VTEP
 *         |                     |                     |
 *     a  192.168.80.10      b  192.168.80.11      c  192.168.80.12
 *         +---------------------+---------------------+   switch
 */
import type { Test } from 'tap';
import { createLab, type Lab } from './lab.js';
import type { Namespace } from './netns.js';
import type { Engine, Vtepd } from './vtepd.js';

export const LABELS = ['a', 'b', 'c'] as const;
export type Label = (typeof LABELS)[number];
export const UNDERLAY: Record<Label, string> = { a: '192.168.80.10', b: '192.168.80.11', c: '192.168.80.12' };
export const OVERLAY: Record<Label, string> = { a: '10.10.10.1', b: '10.10.10.2', c: '10.10.10.3' };

export interface ThreeHosts {
  lab: Lab;
  hosts: Record<Label, Namespace>;
  vms: Record<Label, Namespace>;
  /** Daemons by host; hosts with a kernel VTEP have none. */
  daemons: Partial<Record<Label, Vtepd>>;
  /** Daemon of host a, which always runs vtepd. */
  vtepd: Vtepd;
}

/**
 * @param withVtepd hosts that run vtepd; must contain `a`
 * @param flags flags in addition to VNI, peers, bridge and engine
 */
export async function threeHosts(
  t: Test,
  engine: Engine,
  withVtepd: readonly Label[] = ['a'],
  flags = '',
): Promise<ThreeHosts> {
  const lab = createLab(t);
  const hosts = await lab.hosts({
    a: [`${UNDERLAY.a}/24`],
    b: [`${UNDERLAY.b}/24`],
    c: [`${UNDERLAY.c}/24`],
  });
  const vms = {} as Record<Label, Namespace>;
  const daemons: Partial<Record<Label, Vtepd>> = {};
  for (const label of LABELS) {
    await lab.bridge(hosts[label]);
    vms[label] = await lab.vm(hosts[label], `vm${label}`, { address: `${OVERLAY[label]}/24` });
  }
  for (const label of LABELS) {
    const remotes = LABELS.filter((other) => other !== label).map((other) => UNDERLAY[other]);
    if (withVtepd.includes(label)) {
      const peers = remotes.map((remote) => `--peer ${remote}`).join(' ');
      daemons[label] = await lab.vtepd(
        hosts[label],
        `--vni 100 ${peers} --bridge br-vxlan --io ${engine} ${flags}`,
      );
    } else {
      await lab.kernelVtep(hosts[label], { vni: 100, local: UNDERLAY[label], remotes });
    }
  }
  return { lab, hosts, vms, daemons, vtepd: daemons.a! };
}
