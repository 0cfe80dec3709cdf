/**
 * What TCP flows need to pass through the kernel alone (native-shims/flow.bpf.c): a private network namespace with a vxlan
 * device of the kernel's in it, whose other end is here; a device that leads from one to the other; programs at the TAPs and at
 * the underlay's device; the maps that tell them what was decided.
 *
 *     TAP ─► vtflowPORT = vxlan device ─► (private: IP, UDP) ─► out ═ vtleadPORT ─► route ─► underlay
 *     underlay ─► out ─► (private: IP, UDP) ─► vxlan device = vtflowPORT ─► TAP
 *
 * In a namespace of its own, as the VXLAN port here is vtepd's. There it has the address that peers know, and no rules. All of it
 * vanishes with the descriptors, also after `kill -9`.
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
import { environment, ip } from '../host/ip-command.js';
import { allLinks, findLink, getLink, type Link } from '../host/link.js';
import { Rollback } from '../host/rollback.js';
import { attached, NotPermittedError, quiet, redirectToRoute } from '../host/route-redirect.js';
import type { TunnelPath } from '../superframes/superframes.js';

const run = promisify(execFile);

/** Largest a veth has: what is too long for the path was left to user space before. */
const OUT_MTU = 65535;
const TIMEOUT_MS = 10_000;
/**
 * Before the first device is there: a device that comes up sends router solicitations and multicast reports. Settings of a
 * namespace lie in /proc/sys/net of a process that is in it; a machine without IPv6 has none.
 */
const NO_IPV6 = `for f in all default; do
  if [ -e /proc/sys/net/ipv6/conf/$f/disable_ipv6 ]; then echo 1 >/proc/sys/net/ipv6/conf/$f/disable_ipv6 || exit 1; fi
done
`;

/** What they look like on the wire, as all that vtepd sends. */
export interface FlowSpec {
  /** UDP port of VXLAN. */
  readonly port: number;
  readonly sourcePorts: { readonly min: number; readonly max: number };
}

/** A VNI and the TAP of its frames. */
export interface FlowTap {
  readonly vni: number;
  readonly tap: string;
}

interface Attachment {
  readonly index: number;
  readonly linkFd: number;
}

export class FlowOffload {
  readonly #shim: Shim;
  readonly #spec: FlowSpec;
  readonly #undo = new Rollback();
  readonly #fds = new Int32Array(FLOW_FDS);
  readonly #key = new Uint8Array(FLOW_KEY_LEN);
  readonly #value = new Uint8Array(FLOW_VALUE_LEN);
  /** TAPs with the program at their egress, by VNI. */
  readonly #taps = new Map<number, Attachment>();
  /** Devices that it is set up between: one of the same name may be another. */
  readonly #devices = new Map<string, Pick<Link, 'index' | 'mac'>>();
  #vxlan = 0;
  #redirectFd = 0;

  private constructor(shim: Shim, spec: FlowSpec) {
    this.#shim = shim;
    this.#spec = spec;
  }

  /** Sets up devices and programs for one way. Nothing passes before `on`. @throws HostError, NotPermittedError */
  static async open(shim: Shim, spec: FlowSpec, way: TunnelPath): Promise<FlowOffload> {
    const offload = new FlowOffload(shim, spec);
    await offload.#undo.guard(() => offload.#open(way));
    return offload;
  }

  /** Takes everything back; rows and counts are gone. */
  async close(): Promise<void> {
    this.off();
    for (const vni of [...this.#taps.keys()]) this.detach(vni);
    await this.#undo.run();
  }

  /** Descriptors of the maps that workers use. */
  get maps(): { rows: number; counts: number } {
    return { rows: this.#fds[FLOW_ROWS], counts: this.#fds[FLOW_COUNTS] };
  }

  /** From now on the kernel passes what it is told of. */
  on(way: TunnelPath): void {
    const words = new Int32Array(this.#value.buffer);
    this.#value.fill(0).set(way.local);
    words[1] = this.#vxlan;
    words[2] = this.#redirectFd;
    words[3] = this.#spec.port;
    this.#configure();
  }

  /** From this moment on every frame goes to user space. */
  off(): void {
    this.#value.fill(0);
    this.#configure();
  }

  /**
   * Sees the frames of these TAPs and of no others.
   * @param taps asked once nothing more is waited for: whoever is detached meanwhile must not come back
   * @throws HostError, also when the network has changed under it
   */
  async follow(taps: () => Iterable<FlowTap>): Promise<void> {
    const links = new Map((await allLinks()).map((link) => [link.name, link]));
    for (const [name, { index, mac }] of this.#devices) {
      const link = links.get(name);
      if (link?.index !== index || link.mac !== mac) throw new HostError(`${name} is gone, or another`);
      if (!link.up) throw new HostError(`${name} is down`);
    }
    const wanted = new Map<number, Link>();
    for (const { vni, tap } of taps()) {
      const link = links.get(tap);
      if (link?.kind === 'tun') wanted.set(vni, link);
    }
    for (const [vni, { index }] of this.#taps) if (wanted.get(vni)?.index !== index) this.detach(vni);
    for (const [vni, { index }] of wanted) if (!this.#taps.has(vni)) this.#attach(vni, index);
  }

  async #open(way: TunnelPath): Promise<void> {
    this.#own(this.#shim.flowOpen(this.#fds), 'no programs for flows can be loaded', 'CAP_BPF');
    for (const fd of this.#fds) this.#undo.push(() => void this.#shim.close(fd));
    const namespace = this.#own(
      this.#shim.flowNamespace(),
      'no network namespace can be made',
      'CAP_SYS_ADMIN',
    );
    // With the last descriptor of it go its devices: closed first, when it is taken back.
    this.#undo.push(() => void this.#shim.close(namespace));
    const [flow, lead] = [`vtflow${this.#spec.port}`, `vtlead${this.#spec.port}`];
    const underlay = await getLink(way.device);
    if (underlay.mac === '') throw new HostError(`${way.device} has no MAC address`);
    for (const name of [flow, lead])
      if (await findLink(name)) throw new HostError(`there is a device ${name} already`);
    await this.#make(namespace, flow, lead, way, underlay.mac);
    // The namespace's end would do it as well, but later: who comes next wants the names.
    const [own, far] = [await getLink(flow), await getLink(lead)];
    for (const link of [own, far]) this.#undo.push(() => deleteLink(link));
    await quiet(flow);
    this.#keep(await redirectToRoute(this.#shim, lead));
    this.#vxlan = own.index;
    this.#redirectFd = far.index;
    for (const link of [own, far, underlay]) this.#devices.set(link.name, link);
    this.#keep(attached(this.#shim.flowAttach(this.#fds[FLOW_ARRIVED], own.index, false)));
    this.#keep(attached(this.#shim.flowAttach(this.#fds[FLOW_IN], underlay.index, false)));
  }

  /** In the private namespace, from where both devices are handed over. `out` takes what is for the underlay's device. */
  async #make(
    namespace: number,
    flow: string,
    lead: string,
    { local }: TunnelPath,
    mac: string,
  ): Promise<void> {
    const { pid } = process;
    const { port, sourcePorts } = this.#spec;
    const commands = [
      `link add ${flow} type vxlan external dstport ${port} srcport ${sourcePorts.min} ${sourcePorts.max} nolearning`,
      `link set ${flow} netns ${pid}`,
      `link add ${lead} type veth peer name out`,
      `link set ${lead} netns ${pid}`,
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
      const [said] = (stderr || (error as Error).message)
        .trim()
        .replace(/^Error: /, '')
        .split('\n');
      throw new HostError(`the namespace for flows cannot be set up: ${said}`);
    }
  }

  #attach(vni: number, index: number): void {
    const linkFd = attached(this.#shim.flowAttach(this.#fds[FLOW_OUT], index, true));
    this.#taps.set(vni, { index, linkFd });
    this.#pair(FLOW_TAPS, index, vni);
    this.#pair(FLOW_VNIS, vni, index);
  }

  /** Its frames go to user space, both ways. */
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
    if (error < 0) throw new HostError(`no more TAPs can be watched (${errnoName(error)})`);
  }

  #configure(): void {
    this.#key.fill(0);
    this.#shim.flowPut(this.#fds[FLOW_CONFIG], this.#key, this.#value);
  }

  #keep(fd: number): void {
    this.#undo.push(() => void this.#shim.close(fd));
  }

  /** @throws HostError that says what it takes */
  #own(result: number, what: string, right: string): number {
    if (result === -ERRNO.EPERM)
      throw new NotPermittedError(`${what} (EPERM): it takes ${right}, see docs/systemd.md`);
    if (result < 0) throw new HostError(`${what} (${errnoName(result)})`);
    return result;
  }
}

/** It may be gone already, and another have its name. */
async function deleteLink({ name, index }: Link): Promise<void> {
  if ((await findLink(name))?.index === index)
    await ip(['link', 'delete', 'dev', name]).catch(() => undefined);
}
