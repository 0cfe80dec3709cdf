/**
 * Topology of a competitor: two sites joined by a veth pair. Traffic flows between the two users.
 *
 *      site a                                     site b
 *     user 10.10.10.1                            user 10.10.10.2 and 10.20.0.0/26
 *       │   (a VM behind br-vxlan, or the host itself with the address on the VTEP's device)
 *     host                                       host
 *       eth0 192.168.80.10 ──────── veth ──────── eth0 192.168.80.11
 *
 * The whole of 10.20.0.0/26 is local to user b, which gives one sender 64 flows. Each competitor
 * has its own sites, so competitors share no FDB, ARP cache or sockets.
 */
import { run } from '../../test/support/command.js';
import { addBridge, createNamespace, joinByVeth, type Namespace } from '../../test/support/netns.js';

/** First destination address of the flows. */
export const FLOWS_ADDRESS = '10.20.0.0';
export const FLOWS = 64;
export const FLOWS_NETWORK = `${FLOWS_ADDRESS}/26`;
export const UNDERLAY_DEV = 'eth0';
export const BRIDGE = 'br-vxlan';
/** Bytes that VXLAN over IPv4 adds to a frame's payload. */
const ENCAP_OVERHEAD = 50;

export interface Stage {
  readonly id: string;
  /** Description of the sites, for headings. */
  readonly title: string;
  /** True if the users are VMs behind a bridge, not the hosts themselves. */
  readonly vms: boolean;
  /**
   * True if the veth pair carries VXLAN superframes whole, which is the default of veth. False if
   * this offload is off at both ends, as on most network cards.
   */
  readonly tunnelOffload: boolean;
  /** MTU of the veth, bytes. */
  readonly underlayMtu: number;
}

export interface Site {
  /** Namespace of the VTEP. */
  readonly host: Namespace;
  /** Namespace that sends and receives the traffic: the VM, or the host if there are no VMs. */
  readonly user: Namespace;
  /** The user's overlay address. */
  readonly address: string;
  /** The host's underlay address. */
  readonly underlay: string;
  readonly hasVm: boolean;
}

/** Creates both sites of a competitor, connected and without VTEPs. On failure it removes them. */
export async function makeSites(stage: Stage): Promise<[Site, Site]> {
  const made: Namespace[] = [];
  try {
    const a = await makeSite(stage, made, 'a', '192.168.80.10', '10.10.10.1');
    const b = await makeSite(stage, made, 'b', '192.168.80.11', '10.10.10.2');
    await joinHosts(stage, a, b);
    await b.user.ip(`route add local ${FLOWS_NETWORK} dev lo`);
    return [a, b];
  } catch (error) {
    for (const namespace of made) await namespace.remove();
    throw error;
  }
}

/** Removes the sites and kills the processes that still run in them. */
export async function removeSites(sites: readonly Site[]): Promise<void> {
  for (const { host, user } of sites) {
    for (const namespace of new Set([user, host])) await removeWithProcesses(namespace);
  }
}

async function removeWithProcesses(namespace: Namespace): Promise<void> {
  const pids = (await run(['ip', 'netns', 'pids', namespace.name])).split('\n').filter(Boolean);
  for (const pid of pids) {
    try {
      process.kill(Number(pid), 'SIGKILL');
    } catch {
      // The process has already ended.
    }
  }
  await namespace.remove();
}

async function makeSite(
  { vms, underlayMtu }: Stage,
  made: Namespace[],
  label: string,
  underlay: string,
  address: string,
): Promise<Site> {
  const host = await createNamespace(label);
  made.push(host);
  if (!vms) return { host, user: host, address, underlay, hasVm: false };
  const user = await createNamespace(`vm-${label}`);
  made.push(user);
  const mtu = underlayMtu - ENCAP_OVERHEAD;
  await addBridge(host, BRIDGE);
  await joinByVeth(
    { in: user, device: 'eth0', mtu, addresses: [`${address}/24`] },
    { in: host, device: 'to-vm', mtu, bridge: BRIDGE },
  );
  return { host, user, address, underlay, hasVm: true };
}

async function joinHosts({ underlayMtu: mtu, tunnelOffload }: Stage, ...sites: [Site, Site]): Promise<void> {
  const [a, b] = sites.map(({ host, underlay }) => ({
    in: host,
    device: UNDERLAY_DEV,
    addresses: [`${underlay}/24`],
    mtu,
  }));
  await joinByVeth(a, b);
  if (tunnelOffload) return;
  const off = 'tx-udp_tnl-segmentation off tx-udp_tnl-csum-segmentation off';
  for (const { host } of sites) await host.run(`ethtool -K ${UNDERLAY_DEV} ${off}`);
}

/** Devices of a host and their enabled offloads, as listed by `ethtool -k`. */
export async function offloadsOf({ host }: Site): Promise<Record<string, string[]>> {
  const offloads: Record<string, string[]> = {};
  for (const device of await host.devices()) {
    const { stdout } = await host.outcome(`ethtool -k ${device}`);
    offloads[device] = [...stdout.matchAll(/^\s*([\w-]+): on/gm)].map(([, feature]) => feature);
  }
  return offloads;
}
