/**
 * Network devices as rtnetlink describes them (rtnetlink(7), `ip -json -details link`), reduced to what the
 * set-up needs to know. What `ip` left out has the value that it stands for.
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
  /** As text; '' for a device without one. */
  readonly mac: string;
  /** Name of the device that this one is a port of; '' none. */
  readonly master: string;
  /** Name of the device that this one lies on, as a VLAN does; '' none. */
  readonly parent: string;
  /** ifalias: free text that administrators and programs attach. */
  readonly alias: string;
  /** 'tun', 'bridge', 'vxlan', …; '' for hardware. */
  readonly kind: string;
  /** How it makes its link-local IPv6 address: 'eui64', 'none', …; '' on a machine without IPv6. */
  readonly addrGenMode: string;
  /** What only this kind of device has. */
  readonly data: Readonly<Record<string, unknown>>;
}

/** @returns undefined when there is none of that name */
export async function findLink(name: string): Promise<Link | undefined> {
  try {
    const [raw] = await ip(['link', 'show', 'dev', name]);
    return raw === undefined ? undefined : parseLink(raw);
  } catch (error) {
    if (error instanceof NoSuchDeviceError) return undefined;
    throw error;
  }
}

/** @throws HostError when it is not there */
export async function getLink(name: string): Promise<Link> {
  const link = await findLink(name);
  if (!link) throw new HostError(`there is no network device ${name}`);
  return link;
}

/** The ports of a bridge. */
export async function portsOf(bridge: string): Promise<Link[]> {
  return (await ip(['link', 'show', 'master', bridge])).map(parseLink);
}

/** Every device in this network namespace. */
export async function allLinks(): Promise<Link[]> {
  return (await ip(['-details', 'link', 'show'])).map(parseLink);
}

/** Every device of one kind in this network namespace. */
export async function linksOfKind(kind: string): Promise<Link[]> {
  return (await ip(['link', 'show', 'type', kind])).map(parseLink);
}

/** How many 802.1Q tags frames of a device have at most: VLAN devices that lie on it, or on its bridge, one on another. */
export function tagsOver(device: string, vlans: readonly Link[]): number {
  const above = vlans.filter(({ parent }) => parent === device);
  return above.length === 0 ? 0 : 1 + Math.max(...above.map(({ name }) => tagsOver(name, vlans)));
}

/** Changes properties of a device: `ip link set dev NAME SETTINGS`. */
export async function setLink(name: string, ...settings: readonly string[]): Promise<void> {
  await ip(['link', 'set', 'dev', name, ...settings]);
}

/** Addresses of a device, canonical, `ADDRESS/LENGTH`. */
export async function addressesOf(name: string): Promise<string[]> {
  const [raw] = (await ip(['address', 'show', 'dev', name])) as RawLink[];
  return (raw?.addr_info ?? []).map(({ local, prefixlen }) => `${local}/${prefixlen}`);
}

/**
 * Index of a device, as the scope id of a link-local address wants it (ipv6(7)).
 *
 * @param name a name, or an index as text
 * @throws HostError when no device of that name carries IPv6
 */
export function deviceIndex(name: string): number {
  if (/^\d+$/.test(name)) return Number(name);
  const index = indexIn(readFileOr('/proc/net/if_inet6', ''), name);
  if (index > 0) return index;
  throw new HostError(`no device ${name} with an IPv6 address is up: check the scope behind "%"`);
}

/**
 * One line of if_inet6: address, index, prefix length, scope, flags (all hexadecimal), name. It follows the
 * network namespace of the process, where /sys/class/net shows that of whoever mounted it.
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
