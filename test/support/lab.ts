/**
 * Topologies of the labs: underlay hosts, VMs behind bridges, kernel VTEPs, vtepd daemons.
 *
 * A lab belongs to one test and is torn down with it. When the test has failed, the logs of its
 * daemons are shown.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Test } from 'tap';
import type { Running } from './command.js';
import { addBridge, createNamespace, joinByVeth, type Namespace } from './netns.js';
import { startVtepd, type Vtepd } from './vtepd.js';

/** Device MTU of VMs, bytes: the usual value behind VXLAN over a 1500-byte underlay. */
export const VM_MTU = 1450;
export const BRIDGE = 'br-vxlan';
/** Underlay device of every host. */
export const UNDERLAY_DEV = 'eth0';

export interface VmSpec {
  /** `ADDRESS/LENGTH` of eth0. */
  address: string;
  mac?: string;
  bridge?: string;
  mtu?: number;
}

export interface KernelVtepSpec {
  vni: number;
  local: string;
  /** Flood list. */
  remotes: readonly string[];
  bridge?: string;
  /** Device MTU, bytes. */
  mtu?: number;
}

export function createLab(t: Test): Lab {
  const lab = new Lab(t);
  t.teardown(() => lab.tearDown());
  return lab;
}

export class Lab {
  /** Directory of this lab: sockets, captures, certificates. */
  readonly dir: string;
  readonly #test: Test;
  readonly #namespaces: Namespace[] = [];
  readonly #daemons: Vtepd[] = [];
  readonly #processes: Running[] = [];
  readonly #first: (() => Promise<void>)[] = [];

  constructor(t: Test) {
    this.#test = t;
    this.dir = mkdtempSync(join(tmpdir(), 'vtepd-lab-'));
  }

  async namespace(label: string): Promise<Namespace> {
    const namespace = await createNamespace(label);
    this.#namespaces.push(namespace);
    return namespace;
  }

  /**
   * Creates hosts joined by an underlay of MTU 1500, with device eth0 in each. Two hosts are joined
   * by a veth pair with its default offloads, more than two by a switch.
   *
   * @param plan label → list of `ADDRESS/LENGTH`
   */
  async hosts<Label extends string>(
    plan: Record<Label, readonly string[]>,
  ): Promise<Record<Label, Namespace>> {
    const hosts = {} as Record<Label, Namespace>;
    const labels = Object.keys(plan) as Label[];
    await Promise.all(labels.map(async (label) => (hosts[label] = await this.namespace(label))));
    const ends = labels.map((label) => ({
      in: hosts[label],
      device: UNDERLAY_DEV,
      addresses: plan[label],
    }));
    if (ends.length === 2) await joinByVeth(ends[0], ends[1]);
    else await this.#joinBySwitch(ends);
    return hosts;
  }

  async #joinBySwitch(
    ends: { in: Namespace; device: string; addresses: readonly string[] }[],
  ): Promise<void> {
    const fabric = await this.namespace('switch');
    await addBridge(fabric, 'br0');
    for (const end of ends) {
      await joinByVeth(end, { in: fabric, device: `to-${end.in.label}`, bridge: 'br0' });
    }
  }

  /** Creates a VM: a namespace whose eth0 is connected to a port of the host's bridge. */
  async vm(host: Namespace, label: string, spec: VmSpec): Promise<Namespace> {
    const vm = await this.namespace(label);
    const mtu = spec.mtu ?? VM_MTU;
    await joinByVeth(
      { in: vm, device: 'eth0', mtu, addresses: [spec.address], ...(spec.mac && { mac: spec.mac }) },
      { in: host, device: `to-${label}`, mtu, bridge: spec.bridge ?? BRIDGE },
    );
    return vm;
  }

  bridge(host: Namespace, name = BRIDGE): Promise<void> {
    return addBridge(host, name);
  }

  /** Creates Linux's own VXLAN device in a bridge: the reference for all comparisons. */
  async kernelVtep(host: Namespace, spec: KernelVtepSpec): Promise<void> {
    const { vni, local, remotes, bridge = BRIDGE, mtu = VM_MTU } = spec;
    const device = `vxlan${vni}`;
    await host.ip(`link add ${device} type vxlan id ${vni} local ${local} dstport 4789 dev ${UNDERLAY_DEV}
      link set ${device} mtu ${mtu} master ${bridge} up`);
    for (const remote of remotes) {
      await host.run(`bridge fdb append 00:00:00:00:00:00 dev ${device} dst ${remote}`);
    }
  }

  /**
   * Starts the daemon and waits until it is ready.
   *
   * @param env environment variables added to those of the test
   */
  async vtepd(host: Namespace, flags: string, env: Record<string, string> = {}): Promise<Vtepd> {
    const daemon = await startVtepd(host, this.dir, flags, env);
    this.#daemons.push(daemon);
    return daemon;
  }

  /** Starts the daemon and waits until its API answers; the daemon is possibly not ready. */
  async standby(host: Namespace, flags: string): Promise<Vtepd> {
    const daemon = await startVtepd(host, this.dir, flags, {}, 'answering');
    this.#daemons.push(daemon);
    return daemon;
  }

  /** Registers a process to be killed at the end of the lab, if it is still running. */
  keep<P extends Running>(process: P): P {
    this.#processes.push(process);
    return process;
  }

  /**
   * Registers a step that runs at the end of the lab, before anything is torn down. Steps run in
   * reverse order of their registration.
   */
  before(step: () => Promise<void>): void {
    this.#first.unshift(step);
  }

  async tearDown(): Promise<void> {
    const failed = !this.#test.passing();
    for (const step of this.#first) await step();
    await Promise.all(this.#processes.map((process) => process.stop('SIGKILL')));
    await Promise.all(this.#daemons.map((daemon) => daemon.stop()));
    if (failed) for (const daemon of this.#daemons) this.#test.comment(daemon.log());
    await Promise.all(this.#namespaces.map((namespace) => namespace.remove()));
    rmSync(this.dir, { recursive: true, force: true });
  }
}
