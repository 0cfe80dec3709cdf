/**
 * Properties of network devices, read with `ip -json -details link` (rtnetlink(7)).
 *
 * Only the properties that the set-up needs are kept. A property that `ip` omits has its default
 * value.
 */
import { readFileSync } from 'node:fs';
import { HostError } from './host-error.js';
import { ip, NoSuchDeviceError } from './ip-command.js';

export interface Link {
  readonly name: string;
  readonly index: number;
  /** Administratively up (IFF_UP). */
  readonly up: boolean;
  readonly mtu: number;
  /** MAC as text; '' for a device without a MAC. */
  readonly mac: string;
  /** Name of the bridge or other master device; '' none. */
  readonly master: string;
  /** Name of the lower device, for example of a VLAN device; '' none. */
  readonly parent: string;
  /** ifalias: text that administrators and programs may set. */
  readonly alias: string;
  /** 'tun', 'bridge', 'vxlan', …; '' for hardware. */
  readonly kind: string;
  /**
   * Generation mode of the IPv6 link-local address: 'eui64', 'none', …; '' on a machine without
   * IPv6.
   */
  readonly addrGenMode: string;
  /** Properties specific to the kind of device (`info_data`). */
  readonly data: Readonly<Record<string, unknown>>;
}

/** @returns undefined when no device has that name */
export async function findLink(name: string): Promise<Link | undefined> {
  try {
    const [raw] = await ip(['link', 'show', 'dev', name]);
    return raw === undefined ? undefined : parseLink(raw);
  } catch (error) {
    if (error instanceof NoSuchDeviceError) return undefined;
    throw error;
  }
}

/** @throws HostError when the device does not exist */
export async function getLink(name: string): Promise<Link> {
  const link = await findLink(name);
  if (!link) throw new HostError(`network device ${name} does not exist`);
  return link;
}

/** Returns the ports of a bridge. */
export async function portsOf(bridge: string): Promise<Link[]> {
  return (await ip(['link', 'show', 'master', bridge])).map(parseLink);
}

/** Returns all devices in this network namespace. */
export async function allLinks(): Promise<Link[]> {
  return (await ip(['-details', 'link', 'show'])).map(parseLink);
}

/** Returns all devices of one kind in this network namespace. */
export async function linksOfKind(kind: string): Promise<Link[]> {
  return (await ip(['link', 'show', 'type', kind])).map(parseLink);
}

/**
 * Maximum number of 802.1Q tags of a frame: the depth of the VLAN devices stacked on a TAP or on
 * its bridge.
 */
export function tagsOver(device: string, vlans: readonly Link[]): number {
  const above = vlans.filter(({ parent }) => parent === device);
  return above.length === 0 ? 0 : 1 + Math.max(...above.map(({ name }) => tagsOver(name, vlans)));
}

/** Changes properties of a device: `ip link set dev NAME SETTINGS`. */
export async function setLink(name: string, ...settings: readonly string[]): Promise<void> {
  await ip(['link', 'set', 'dev', name, ...settings]);
}

/** Returns the addresses of a device in canonical form, `ADDRESS/LENGTH`. */
export async function addressesOf(name: string): Promise<string[]> {
  const [raw] = (await ip(['address', 'show', 'dev', name])) as RawLink[];
  return (raw?.addr_info ?? []).map(({ local, prefixlen }) => `${local}/${prefixlen}`);
}

/**
 * Returns the index of a device, which is the scope id of a link-local address (ipv6(7)).
 *
 * @param name device name, or device index as text
 * @throws HostError when no device of that name has an IPv6 address
 */
export function deviceIndex(name: string): number {
  if (/^\d+$/.test(name)) return Number(name);
  const index = indexIn(readFileOr('/proc/net/if_inet6', ''), name);
  if (index > 0) return index;
  throw new HostError(
    `device ${name} does not exist, is down or has no IPv6 address: check the name after "%"`,
  );
}

/**
 * Finds the index of a device in /proc/net/if_inet6. Each line has address, index, prefix length,
 * scope, flags (all hexadecimal) and name. The file shows the network namespace of the process;
 * /sys/class/net shows the namespace in which sysfs was mounted.
 *
 * @returns 0 when the device is not listed
 */
export function indexIn(ifInet6: string, name: string): number {
  const fields = ifInet6
    .split('\n')
    .map((line) => line.trim().split(/\s+/))
    .find((line) => line[5] === name);
  return fields ? Number.parseInt(fields[1], 16) : 0;
}

interface RawLink {
  ifname: string;
  ifindex: number;
  flags: string[];
  mtu: number;
  address?: string;
  master?: string;
  link?: string;
  ifalias?: string;
  inet6_addr_gen_mode?: string;
  linkinfo?: { info_kind?: string; info_data?: Record<string, unknown> };
  addr_info?: { local: string; prefixlen: number }[];
}

/** @param object one element of `ip -json -details link show` */
export function parseLink(object: unknown): Link {
  const raw = object as RawLink;
  return {
    name: raw.ifname,
    index: raw.ifindex,
    up: raw.flags.includes('UP'),
    mtu: raw.mtu,
    mac: raw.address ?? '',
    master: raw.master ?? '',
    parent: raw.link ?? '',
    alias: raw.ifalias ?? '',
    kind: raw.linkinfo?.info_kind ?? '',
    addrGenMode: raw.inet6_addr_gen_mode ?? '',
    data: raw.linkinfo?.info_data ?? {},
  };
}

function readFileOr(path: string, otherwise: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return otherwise;
  }
}
