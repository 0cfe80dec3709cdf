/**
 * The way to a peer, as the kernel's routing table has it (`ip route get`): which address we appear from, which
 * device it leaves by, how much it carries. Asked at start, when peers are added, before a probe, and of all IPv4 peers
 * together when the network has changed.
 */

import { HostError } from '../host/host-error.js';
import { ip, NoRouteError, NoSuchDeviceError } from '../host/ip-command.js';
import { allLinks, getLink } from '../host/link.js';
import { type IpAddress, isLinkLocal, parseIpAddress } from '../wire/ip-address.js';

export { deviceIndex } from '../host/link.js';

export interface Route {
  /** Our address on that way, as text, link-local ones with `%device`; '' when the device has none. */
  readonly local: string;
  readonly device: string;
  /** Path MTU of the underlay as far as it is known here, bytes: the route's, else the device's. */
  readonly mtu: number;
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

/**
 * The ways to many IPv4 addresses, asked for together.
 *
 * @param device as with `routeTo`
 * @returns by address; those without a route are missing
 * @throws HostError
 */
export async function routesTo(addresses: readonly string[], device = ''): Promise<Map<string, Route>> {
  if (addresses.length === 0) return new Map();
  const via = device === '' ? [] : ['oif', device];
  const asked = addresses.map((address) => ip(['route', 'get', address, ...via]).catch(unlessUnreachable));
  const answers = (await Promise.all(asked)).flat();
  const mtus = new Map((await allLinks()).map(({ name, mtu }) => [name, mtu]));
  const routes = new Map<string, Route>();
  for (const raw of answers) {
    const { local, device: out, mtu = mtus.get(out) } = parseRoute(raw);
    // A device that has just gone: so has the route.
    if (mtu !== undefined) routes.set((raw as { dst: string }).dst, { local, device: out, mtu });
  }
  return routes;
}

function unlessUnreachable(error: Error): unknown[] {
  if (error instanceof NoRouteError || error instanceof NoSuchDeviceError) return [];
  throw error;
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
  /** Seconds: there is only one on what the kernel learned from ICMP. */
  expires?: number;
}

/**
 * What the kernel learned of a path lapses in minutes, and may be forged: the administrator's word and the device's
 * count here, learning is left to those who forget again.
 *
 * @param object the element that `ip -json route get` prints
 */
export function parseRoute(object: unknown): { local: string; device: string; mtu: number | undefined } {
  const { dev, prefsrc = '', metrics = [], expires } = object as RawRoute;
  if (dev === undefined) throw new HostError(`"ip route get" named no device: ${JSON.stringify(object)}`);
  const stated = expires === undefined ? metrics.find(({ mtu }) => mtu !== undefined)?.mtu : undefined;
  return { local: prefsrc, device: dev, mtu: stated };
}
