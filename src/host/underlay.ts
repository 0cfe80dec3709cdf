/**
 * The way to a peer, as the kernel's routing table has it (`ip route get`): which address we appear from, which
 * device it leaves by, how much it carries. Asked at start and when peers are added; not followed afterwards.
 */
import { ETHERNET_LEN } from '../wire/ethernet.js';
import { type IpAddress, isLinkLocal, parseIpAddress } from '../wire/ip-address.js';
import { ENCAP_LEN } from '../wire/vxlan.js';
import { HostError } from './host-error.js';
import { ip, NoRouteError } from './ip-command.js';
import { getLink } from './link.js';

export { deviceIndex } from './link.js';

export interface Route {
  /** Our address on that way, as text, link-local ones with `%device`; '' when the device has none. */
  readonly local: string;
  readonly device: string;
  /** Path MTU of the underlay as far as it is known here, bytes: the route's, else the device's. */
  readonly mtu: number;
}

/** Largest IP packet of the overlay that a path carries in one piece, bytes: 50 (IPv4) or 70 (IPv6) less. */
export function overlayMtuFor(family: 4 | 6, underlayMtu: number): number {
  return underlayMtu - ENCAP_LEN[family] - ETHERNET_LEN;
}

/**
 * @param device the device that the underlay's sockets are bound to; '' any
 * @returns undefined when there is no route: a peer out of reach is no reason not to start
 * @throws HostError
 */
export async function routeTo(address: IpAddress, device = ''): Promise<Route | undefined> {
  const via = address.scope === '' ? device : address.scope;
  const host = address.scope === '' ? address.text : address.text.split('%')[0];
  try {
    const [raw] = await ip(['route', 'get', host, ...(via === '' ? [] : ['oif', via])]);
    const { local, device: out, mtu } = parseRoute(raw);
    return { local: scoped(local, out), device: out, mtu: mtu ?? (await getLink(out)).mtu };
  } catch (error) {
    if (error instanceof NoRouteError) return undefined;
    throw error;
  }
}

/** A link-local address means nothing without its device. */
function scoped(local: string, device: string): string {
  const address = parseIpAddress(local);
  return address && isLinkLocal(address) ? `${local}%${device}` : local;
}

interface RawRoute {
  dev?: string;
  prefsrc?: string;
  metrics?: { mtu?: number }[];
}

/** @param object the element that `ip -json route get` prints */
export function parseRoute(object: unknown): { local: string; device: string; mtu: number | undefined } {
  const { dev, prefsrc = '', metrics = [] } = object as RawRoute;
  if (dev === undefined) throw new HostError(`"ip route get" named no device: ${JSON.stringify(object)}`);
  return { local: prefsrc, device: dev, mtu: metrics.find((metric) => metric.mtu !== undefined)?.mtu };
}
