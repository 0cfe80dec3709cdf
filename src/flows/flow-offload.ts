/**
 * Sets up devices, BPF programs and maps for TCP flows in the kernel (native-shims/flow.bpf.c).
 *
 * A private network namespace has the UDP socket of a kernel vxlan device; the device itself,
 * vtflowPORT, is in the namespace of vtepd. A veth pair (out, vtleadPORT) connects the two
 * namespaces. BPF programs are attached to the TAPs and to the underlay's device. Maps pass the
 * forwarding decisions to the programs.
 *
 *     TAP ─► vtflowPORT = vxlan device ─► (private: IP, UDP) ─► out ═ vtleadPORT ─► route
 *     underlay ─► out ─► (private: IP, UDP) ─► vxlan device = vtflowPORT ─► TAP
 *
 * The private namespace is needed because vtepd itself uses the VXLAN port in its own namespace.
 * The private namespace has the address that peers know, and no firewall rules. The kernel removes
 * devices, programs and maps when their descriptors are closed, also after `kill -9`.
 */
import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import type { Shim } from '../abi/binding.js';
import { ERRNO, errnoName } from '../abi/errno.js';
import {
  FLOW_ARRIVED,
  FLOW_CONFIG,
  FLOW_COUNTS,
  FLOW_FDS,
  FLOW_IN,
  FLOW_KEY_LEN,
  FLOW_OUT,
  FLOW_ROWS,
  FLOW_TAPS,
  FLOW_VALUE_LEN,
  FLOW_VNIS,
} from '../abi/flow-layout.js';
import { HostError } from '../host/host-error.js';
import type { Link, Machine } from '../host/machine.js';
import { deleteLink } from '../host/netlink/links.js';
import { Rollback } from '../host/rollback.js';
import { attached, NotPermittedError, quiet, redirectToRoute } from '../host/route-redirect.js';
import type { TunnelPath } from '../superframes/superframes.js';

const run = promisify(execFile);

/**
 * Largest MTU of a veth. User space forwards packets that are too long for the path, so the veth
 * need not limit them.
 */
const OUT_MTU = 65535;
const TIMEOUT_MS = 10_000;
/**
 * Shell command that disables IPv6 before the first device is created, because a device that comes
 * up sends router solicitations and multicast reports. A process sees the settings of its own
 * namespace in /proc/sys/net. A machine without IPv6 has no such settings.
 */
const NO_IPV6 = `for f in all default; do
  if [ -e /proc/sys/net/ipv6/conf/$f/disable_ipv6 ]; then echo 1 >/proc/sys/net/ipv6/conf/$f/disable_ipv6 || exit 1; fi
done
`;

/** The sbin folders hold `ip` on most distributions, and the PATH of services often lacks them. */
function environment(): NodeJS.ProcessEnv {
  return { ...process.env, LC_ALL: 'C', PATH: `${process.env.PATH ?? '/usr/bin:/bin'}:/usr/sbin:/sbin` };
}

/** Parameters of the datagrams on the wire, equal to those of vtepd's own datagrams. */
export interface FlowSpec {
  /** VXLAN port. */
  readonly port: number;
  readonly sourcePorts: { readonly min: number; readonly max: number };
  /** Mark of the packets (SO_MARK); 0: none. */
  readonly mark: number;
}

/** A VNI and the TAP of its frames. */
export interface FlowTap {
  readonly vni: number;
  /** Index of the TAP; 0: it is not in this namespace. */
  readonly index: number;
}

interface Attachment {
  readonly index: number;
  readonly linkFd: number;
}

export class FlowOffload {
  readonly #shim: Shim;
  readonly #machine: Machine;
  readonly #spec: FlowSpec;
  readonly #undo = new Rollback();
  readonly #fds = new Int32Array(FLOW_FDS);
  readonly #key = new Uint8Array(FLOW_KEY_LEN);
  readonly #value = new Uint8Array(FLOW_VALUE_LEN);
  /** TAPs with the BPF program attached at egress, by VNI. */
  readonly #taps = new Map<number, Attachment>();
  /** Devices of the set-up, by name; a replacement has another index or MAC. */
  readonly #devices = new Map<string, Pick<Link, 'index' | 'mac'>>();
  #vxlan = 0;
  #redirectFd = 0;

  private constructor(shim: Shim, machine: Machine, spec: FlowSpec) {
    this.#shim = shim;
    this.#machine = machine;
    this.#spec = spec;
  }

  /**
   * Sets up devices and programs for one path. No packets pass before `on`.
   * @throws HostError, NotPermittedError
   */
  static async open(shim: Shim, machine: Machine, spec: FlowSpec, path: TunnelPath): Promise<FlowOffload> {
    const offload = new FlowOffload(shim, machine, spec);
    await offload.#undo.guard(() => offload.#open(path));
    return offload;
  }

  /** Removes the whole set-up, including rows and counts. */
  async close(): Promise<void> {
    this.off();
    for (const vni of [...this.#taps.keys()]) this.detach(vni);
    await this.#undo.run();
  }

  /** Descriptors of the maps that workers use. */
  get maps(): { rows: number; counts: number } {
    return { rows: this.#fds[FLOW_ROWS], counts: this.#fds[FLOW_COUNTS] };
  }

  /** Lets the kernel forward the flows in the maps. */
  on(path: TunnelPath): void {
    const words = new Int32Array(this.#value.buffer);
    this.#value.fill(0).set(path.local);
    words[1] = this.#vxlan;
    words[2] = this.#redirectFd;
    words[3] = this.#spec.port;
    this.#configure();
  }

  /** Directs every frame to user space from this moment on. */
  off(): void {
    this.#value.fill(0);
    this.#configure();
  }

  /**
   * Attaches the programs to exactly these TAPs.
   *
   * @param taps returns the TAPs; called after the last await, so that a TAP detached meanwhile is
   * not attached again
   * @throws HostError, also when a device of the set-up was removed, replaced or set down
   */
  async follow(taps: () => Iterable<FlowTap>): Promise<void> {
    await this.#machine.current();
    for (const [name, { index, mac }] of this.#devices) {
      const link = this.#machine.link(index);
      if (link?.mac !== mac) throw new HostError(`${name} was removed or replaced`);
      if (!link.up) throw new HostError(`${name} is down`);
    }
    const wanted = new Map<number, Link>();
    for (const { vni, index } of taps()) {
      const link = this.#machine.link(index);
      if (link?.kind === 'tun') wanted.set(vni, link);
    }
    for (const [vni, { index }] of this.#taps) if (wanted.get(vni)?.index !== index) this.detach(vni);
    for (const [vni, { index }] of wanted) if (!this.#taps.has(vni)) this.#attach(vni, index);
  }

  async #open(path: TunnelPath): Promise<void> {
    this.#require(this.#shim.flowOpen(this.#fds), 'cannot load the BPF programs for flow offload', 'CAP_BPF');
    for (const fd of this.#fds) this.#undo.push(() => void this.#shim.close(fd));
    const namespace = this.#require(
      this.#shim.flowNamespace(),
      'cannot create a network namespace',
      'CAP_SYS_ADMIN',
    );
    // The kernel removes the namespace's devices with its last descriptor.
    this.#undo.push(() => void this.#shim.close(namespace));
    const [flow, redirect] = [`vtflow${this.#spec.port}`, `vtlead${this.#spec.port}`];
    const underlay = this.#machine.get(path.device);
    if (underlay.mac === '') throw new HostError(`${path.device} has no MAC address`);
    for (const name of [flow, redirect])
      if (this.#machine.find(name)) throw new HostError(`device ${name} already exists`);
    await this.#make(namespace, flow, redirect, path, underlay.mac);
    await this.#machine.current();
    // An undo step deletes each device, because the kernel removes the devices of an ended
    // namespace only later, and the next set-up needs the names.
    const [flowLink, redirectLink] = [this.#machine.get(flow), this.#machine.get(redirect)];
    for (const link of [flowLink, redirectLink]) this.#undo.push(() => this.#delete(link));
    await quiet(this.#machine, flow);
    this.#keep(await redirectToRoute(this.#shim, this.#machine, redirect, this.#spec.mark));
    this.#vxlan = flowLink.index;
    this.#redirectFd = redirectLink.index;
    for (const link of [flowLink, redirectLink, underlay]) this.#devices.set(link.name, link);
    this.#keep(attached(this.#shim.flowAttach(this.#fds[FLOW_ARRIVED], flowLink.index, false)));
    this.#keep(attached(this.#shim.flowAttach(this.#fds[FLOW_IN], underlay.index, false)));
  }

  /**
   * Creates the devices in the private namespace and moves two of them to vtepd's namespace. `out`
   * gets the MAC of the underlay's device, so that it accepts datagrams for that device.
   */
  async #make(
    namespace: number,
    flow: string,
    redirect: string,
    { local }: TunnelPath,
    mac: string,
  ): Promise<void> {
    const { pid } = process;
    const { port, sourcePorts } = this.#spec;
    // The kernel uses the ports below the second number; for two equal numbers it would use others.
    const { min } = sourcePorts;
    const end = sourcePorts.max === min ? min + 1 : sourcePorts.max;
    if (end > 65535) throw new HostError('the kernel cannot send flows from the single source port 65535');
    const commands = [
      `link add ${flow} type vxlan external dstport ${port} srcport ${min} ${end} nolearning`,
      `link set ${flow} netns ${pid}`,
      `link add ${redirect} type veth peer name out`,
      `link set ${redirect} netns ${pid}`,
      'link set lo up',
      `address add ${local.join('.')}/32 dev lo`,
      `link set out address ${mac} mtu ${OUT_MTU} arp off up`,
      'route add default dev out',
    ];
    const inside = [`--net=/proc/${pid}/fd/${namespace}`, 'sh', '-c', `${NO_IPV6}exec ip -batch -`];
    const child = run('nsenter', inside, {
      timeout: TIMEOUT_MS,
      env: environment(),
    });
    child.child.stdin?.on('error', () => {});
    child.child.stdin?.end(`${commands.join('\n')}\n`);
    try {
      await child;
    } catch (error) {
      const { stderr } = error as { stderr?: string };
      const [line] = (stderr || (error as Error).message)
        .trim()
        .replace(/^Error: /, '')
        .split('\n');
      throw new HostError(`cannot set up the network namespace for flow offload: ${line}`);
    }
  }

  #attach(vni: number, index: number): void {
    const linkFd = attached(this.#shim.flowAttach(this.#fds[FLOW_OUT], index, true));
    this.#taps.set(vni, { index, linkFd });
    this.#pair(FLOW_TAPS, index, vni);
    this.#pair(FLOW_VNIS, vni, index);
  }

  /** Directs the frames of a VNI to user space, in both directions. */
  detach(vni: number): void {
    const attachment = this.#taps.get(vni);
    if (!attachment) return;
    const { index, linkFd } = attachment;
    this.#taps.delete(vni);
    this.#shim.close(linkFd);
    for (const [map, key] of [
      [FLOW_TAPS, index],
      [FLOW_VNIS, vni],
    ]) {
      new DataView(this.#key.buffer).setInt32(0, key, true);
      this.#shim.flowDelete(this.#fds[map], this.#key);
    }
  }

  #pair(map: number, key: number, value: number): void {
    new DataView(this.#key.buffer).setInt32(0, key, true);
    new DataView(this.#value.buffer).setInt32(0, value, true);
    const error = this.#shim.flowPut(this.#fds[map], this.#key, this.#value);
    if (error < 0) throw new HostError(`cannot add a TAP to flow offload (${errnoName(error)})`);
  }

  #configure(): void {
    this.#key.fill(0);
    this.#shim.flowPut(this.#fds[FLOW_CONFIG], this.#key, this.#value);
  }

  /** Does nothing when the device no longer exists. */
  async #delete(link: Link): Promise<void> {
    await this.#machine.change(deleteLink(link)).catch(() => undefined);
  }

  #keep(fd: number): void {
    this.#undo.push(() => void this.#shim.close(fd));
  }

  /** @throws HostError, NotPermittedError, naming the missing capability */
  #require(result: number, what: string, right: string): number {
    if (result === -ERRNO.EPERM) throw new NotPermittedError(`${what} (EPERM)`, right);
    if (result < 0) throw new HostError(`${what} (${errnoName(result)})`);
    return result;
  }
}
