/**
 * Network devices by rtnetlink: RTM_NEWLINK, RTM_DELLINK, RTM_GETLINK (rtnetlink(7), linux/if_link.h).
 *
 * A device is identified by its interface index; names change. `parseLink` reads the properties that
 * vtepd uses.
 */
import { ERRNO } from '../../abi/errno.js';
import { formatMac } from '../../wire/mac.js';
import {
  type Attributes,
  attribute,
  attributesIn,
  LITTLE,
  type Message,
  NLM_F_CREATE,
  NLM_F_DUMP,
  NLM_F_EXCL,
  nest,
  nested,
  Request,
  textOf,
  u8Of,
  u32,
  u32Of,
  viewOf,
} from './message.js';
import { dump, getEach, NetlinkError, type Operation } from './request.js';

export interface Link {
  readonly index: number;
  readonly name: string;
  /** Administratively up (IFF_UP). */
  readonly up: boolean;
  readonly mtu: number;
  /** MAC as text; '' for a device without an Ethernet address. */
  readonly mac: string;
  /** Index of the bridge or other master device; 0 none. */
  readonly master: number;
  /**
   * Index of the lower device in this namespace, for example of a VLAN device; 0 none. The kernel does
   * not report when the lower device moves to another namespace.
   */
  readonly lower: number;
  /** ifalias: text that administrators and programs may set. */
  readonly alias: string;
  /** 'tun', 'bridge', 'vxlan', …; '' for hardware. */
  readonly kind: string;
  /**
   * Generation mode of the IPv6 link-local address: 'eui64', 'none', …; '' on a machine without
   * IPv6.
   */
  readonly addrGenMode: string;
  /** Properties of a TUN or TAP device. */
  readonly tun: TunData | undefined;
  /** UDP port of a vxlan device; 0: another kind. */
  readonly vxlanPort: number;
  /** Options as a port of a bridge, in attributes that can be set again; undefined: no port. */
  readonly port: PortOptions | undefined;
}

export interface TunData {
  readonly isTap: boolean;
  readonly isMultiQueue: boolean;
  /**
   * Queues that programs had open when the device was read. The kernel reports no change of this
   * number.
   */
  readonly queues: number;
}

/** IFLA_BRPORT_* attributes by type. */
export type PortOptions = ReadonlyMap<number, Uint8Array>;

/** Properties to set; omitted ones are unchanged. */
export interface LinkSettings {
  readonly name?: string;
  readonly up?: boolean;
  readonly mtu?: number;
  readonly mac?: string;
  /** Index; 0: no master. */
  readonly master?: number;
  readonly alias?: string;
  readonly addrGenMode?: string;
  /** Values of net.ipv4.conf of the device, by IPV4_DEVCONF_* (linux/ip.h). */
  readonly ipv4?: ReadonlyMap<number, number>;
  readonly arp?: boolean;
}

export const RTM_NEWLINK = 16;
export const RTM_DELLINK = 17;
const RTM_GETLINK = 18;

/** `struct ifinfomsg`: family u8, pad u8, type u16, index s32, flags u32, change u32. */
const INFO_LEN = 16;
const AF_UNSPEC = 0;
const AF_INET = 2;
const AF_BRIDGE = 7;
const AF_INET6 = 10;
const IFF_UP = 0x1;
const IFF_NOARP = 0x80;

const IFLA = {
  ADDRESS: 1,
  IFNAME: 3,
  MTU: 4,
  LINK: 5,
  MASTER: 10,
  PROTINFO: 12,
  LINKINFO: 18,
  IFALIAS: 20,
  AF_SPEC: 26,
  EXT_MASK: 29,
  LINK_NETNSID: 37,
  NEW_NETNSID: 45,
  NEW_IFINDEX: 49,
} as const;
/** Nested in IFLA_LINKINFO. */
const INFO = { KIND: 1, DATA: 2, SLAVE_KIND: 4, SLAVE_DATA: 5 } as const;
/** Nested in IFLA_INFO_DATA of a TUN or TAP. */
const TUN = { TYPE: 3, MULTI_QUEUE: 7, QUEUES: 8, DISABLED: 9 } as const;
const IFF_TAP = 2;
const IFLA_VXLAN_PORT = 15;
const IFLA_INET_CONF = 1;
const IFLA_INET6_ADDR_GEN_MODE = 8;
/** RTEXT_FILTER_SKIP_STATS: the kernel leaves out the counters of each device. */
const SKIP_STATS = 8;

const ADDR_GEN_MODES = ['eui64', 'none', 'stable_secret', 'random'];

/**
 * IFLA_BRPORT_* that can be set: priority, cost, hairpin, guard, root block, fast leave, learning,
 * flooding, proxy ARP, multicast router, group forward mask, neighbour suppression, isolation,
 * backup port, locked. The others are states.
 */
const SETTABLE = new Set([2, 3, 4, 5, 6, 7, 8, 9, 10, 12, 25, 27, 28, 29, 30, 31, 32, 33, 34, 39, 40]);

/** IFLA_BRPORT_MULTICAST_ROUTER: which ports get all multicast of a bridge with snooping. */
export const MULTICAST_ROUTER = 25;
/** The port gets all multicast while it receives queries (MDB_RTR_TYPE_TEMP_QUERY). */
export const DEFAULT_MULTICAST = 1;
/** The port gets all multicast (MDB_RTR_TYPE_PERM). */
export const ALL_MULTICAST = 2;

/** @returns undefined for a message about a bridge port (AF_BRIDGE), see `parsePort` */
export function parseLink({ body }: Message): Link | undefined {
  if (body.length < INFO_LEN || body[0] !== AF_UNSPEC) return undefined;
  const view = viewOf(body);
  const attributes = attributesIn(body, INFO_LEN);
  const info = nested(attributes, IFLA.LINKINFO);
  const kind = textOf(info, INFO.KIND);
  const mac = attributes.get(IFLA.ADDRESS);
  const inet6 = nested(nested(attributes, IFLA.AF_SPEC), AF_INET6);
  const mode = u8Of(inet6, IFLA_INET6_ADDR_GEN_MODE);
  // The far end of a veth is no lower device, and the kernel does not report all its changes.
  const hasLower = kind !== 'veth' && !attributes.has(IFLA.LINK_NETNSID);
  return {
    index: view.getInt32(4, LITTLE),
    name: textOf(attributes, IFLA.IFNAME),
    up: (view.getUint32(8, LITTLE) & IFF_UP) !== 0,
    mtu: u32Of(attributes, IFLA.MTU) ?? 0,
    mac: mac?.length === 6 ? formatMac((mac[0] << 8) | mac[1], viewOf(mac).getInt32(2)) : '',
    master: u32Of(attributes, IFLA.MASTER) ?? 0,
    lower: hasLower ? (u32Of(attributes, IFLA.LINK) ?? 0) : 0,
    alias: textOf(attributes, IFLA.IFALIAS),
    kind,
    addrGenMode: mode === undefined ? '' : (ADDR_GEN_MODES[mode] ?? ''),
    tun: kind === 'tun' ? parseTun(nested(info, INFO.DATA)) : undefined,
    vxlanPort: kind === 'vxlan' ? parseVxlanPort(nested(info, INFO.DATA)) : 0,
    port: textOf(info, INFO.SLAVE_KIND) === 'bridge' ? settable(nested(info, INFO.SLAVE_DATA)) : undefined,
  };
}

/** Parses a change of the options of a bridge port. @returns undefined for other messages */
export function parsePort({ body }: Message): { index: number; port: PortOptions } | undefined {
  if (body.length < INFO_LEN || body[0] !== AF_BRIDGE) return undefined;
  const port = nested(attributesIn(body, INFO_LEN), IFLA.PROTINFO);
  return port.size === 0 ? undefined : { index: viewOf(body).getInt32(4, LITTLE), port: settable(port) };
}

/** Parses the removal of a device from this namespace. @returns undefined: it only left its bridge */
export function parseRemoval({ body }: Message): { index: number; isMoved: boolean } | undefined {
  if (body.length < INFO_LEN || body[0] !== AF_UNSPEC) return undefined;
  const attributes = attributesIn(body, INFO_LEN);
  const isMoved = attributes.has(IFLA.NEW_NETNSID) || attributes.has(IFLA.NEW_IFINDEX);
  return { index: viewOf(body).getInt32(4, LITTLE), isMoved };
}

/** Lists all devices of this network namespace. @throws NetlinkError */
export async function dumpLinks(): Promise<Link[]> {
  const request = new Request(RTM_GETLINK, NLM_F_DUMP, info(0)).u32(IFLA.EXT_MASK, SKIP_STATS);
  const messages = await dump({ what: 'list network devices', request });
  return messages.flatMap((message) => parseLink(message) ?? []);
}

/**
 * Reads one device.
 *
 * @returns undefined when it no longer exists
 * @throws NetlinkError
 */
export async function readLink(index: number): Promise<Link | undefined> {
  const request = new Request(RTM_GETLINK, 0, info(index)).u32(IFLA.EXT_MASK, SKIP_STATS);
  const [found] = await getEach([{ what: `read network device ${index}`, request }]);
  if (!(found instanceof NetlinkError)) return parseLink(found);
  if (found.errno === -ERRNO.ENODEV) return undefined;
  throw found;
}

/** @param what operation and device, for error messages */
export function setLink(what: string, index: number, settings: LinkSettings): Operation {
  return {
    what: `${what}${described(settings)}`,
    device: index,
    request: withSettings(new Request(RTM_NEWLINK, 0, flagged(index, settings)), settings),
  };
}

/**
 * Creates a device of a kind.
 *
 * @param data IFLA_INFO_DATA: attributes of the kind
 */
export function addLink(
  kind: string,
  settings: LinkSettings & { readonly name: string },
  data: readonly Uint8Array[] = [],
): Operation {
  const request = new Request(RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, flagged(0, settings));
  const described = [
    attribute(INFO.KIND, Buffer.from(kind)),
    ...(data.length > 0 ? [nest(INFO.DATA, data)] : []),
  ];
  withSettings(request, settings).nest(IFLA.LINKINFO, described);
  return { what: `create the ${kind} device ${settings.name}`, request };
}

/** Sets the options of a bridge port again. */
export function setPort(what: string, index: number, port: PortOptions): Operation {
  const data = Array.from(port, ([type, value]) => attribute(type, value));
  const described = [attribute(INFO.SLAVE_KIND, Buffer.from('bridge')), nest(INFO.SLAVE_DATA, data)];
  const request = new Request(RTM_NEWLINK, 0, info(index)).nest(IFLA.LINKINFO, described);
  return { what, device: index, request };
}

export function deleteLink({ index, name }: Pick<Link, 'index' | 'name'>): Operation {
  return { what: `delete ${name}`, request: new Request(RTM_DELLINK, 0, info(index)) };
}

function withSettings(request: Request, settings: LinkSettings): Request {
  const { name, mtu, mac, master, alias, addrGenMode, ipv4 } = settings;
  if (name !== undefined) request.bytes(IFLA.IFNAME, Buffer.from(`${name}\0`));
  if (mtu !== undefined) request.u32(IFLA.MTU, mtu);
  if (mac !== undefined) request.bytes(IFLA.ADDRESS, Buffer.from(mac.replaceAll(':', ''), 'hex'));
  if (master !== undefined) request.u32(IFLA.MASTER, master);
  if (alias !== undefined) request.text(IFLA.IFALIAS, alias);
  const families: Uint8Array[] = [];
  if (ipv4 !== undefined) {
    const values = Array.from(ipv4, ([setting, value]) => attribute(setting, u32(value)));
    families.push(nest(AF_INET, [nest(IFLA_INET_CONF, values)]));
  }
  if (addrGenMode !== undefined) {
    const mode = attribute(IFLA_INET6_ADDR_GEN_MODE, Uint8Array.of(ADDR_GEN_MODES.indexOf(addrGenMode)));
    families.push(nest(AF_INET6, [mode]));
  }
  if (families.length > 0) request.nest(IFLA.AF_SPEC, families);
  return request;
}

/** Values that the kernel possibly refuses, for error messages. */
function described({ mtu, mac, addrGenMode }: LinkSettings): string {
  const values = [
    mtu === undefined ? [] : `MTU ${mtu}`,
    mac === undefined ? [] : `MAC ${mac}`,
    addrGenMode === undefined ? [] : `addrgenmode ${addrGenMode}`,
  ].flat();
  return values.length === 0 ? '' : ` (${values.join(', ')})`;
}

function info(index: number): Uint8Array {
  const fixed = new Uint8Array(INFO_LEN);
  viewOf(fixed).setInt32(4, index, LITTLE);
  return fixed;
}

function flagged(index: number, { up, arp }: LinkSettings): Uint8Array {
  const fixed = info(index);
  const view = viewOf(fixed);
  const flags = (up === true ? IFF_UP : 0) | (arp === false ? IFF_NOARP : 0);
  const changed = (up === undefined ? 0 : IFF_UP) | (arp === undefined ? 0 : IFF_NOARP);
  view.setUint32(8, flags, LITTLE);
  view.setUint32(12, changed, LITTLE);
  return fixed;
}

function parseTun(data: Attributes): TunData {
  return {
    isTap: u8Of(data, TUN.TYPE) === IFF_TAP,
    isMultiQueue: u8Of(data, TUN.MULTI_QUEUE) === 1,
    queues: (u32Of(data, TUN.QUEUES) ?? 0) + (u32Of(data, TUN.DISABLED) ?? 0),
  };
}

function parseVxlanPort(data: Attributes): number {
  const port = data.get(IFLA_VXLAN_PORT);
  return port === undefined || port.length < 2 ? 0 : viewOf(port).getUint16(0);
}

/** Copies, because the bytes belong to a receive buffer. */
function settable(port: Attributes): PortOptions {
  return new Map(
    [...port].filter(([type]) => SETTABLE.has(type)).map(([type, value]) => [type, value.slice()]),
  );
}
