/**
 * Looks up routes to peers in the kernel's routing table (`ip route get`).
 *
 * A route has the local address, the device and the MTU. Routes are looked up at start, when peers
 * are added, before a probe, and for all IPv4 peers together when the network has changed.
 */

import { HostError } from '../host/host-error.js';
import { ip, NoRouteError, NoSuchDeviceError } from '../host/ip-command.js';
import { allLinks, getLink } from '../host/link.js';
import { type IpAddress, isLinkLocal, parseIpAddress } from '../wire/ip-address.js';

export { deviceIndex } from '../host/link.js';

export interface Route {
  /** Local address of the route as text, link-local with `%device`; '' when the device has none. */
  readonly local: string;
  readonly device: string;
  /** MTU of the route, or else of the device, bytes. */
  readonly mtu: number;
}

/**
 * @param device device that the underlay's sockets are bound to; '' any
 * @returns undefined when there is no route, so that an unreachable peer does not prevent a start
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
 * Looks up the routes to many IPv4 addresses at once.
 *
 * @param device as in `routeTo`
 * @returns routes by address; an address that has no route is omitted
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
    // The MTU is unknown if the device was removed after the route was looked up.
    if (mtu !== undefined) routes.set((raw as { dst: string }).dst, { local, device: out, mtu });
  }
  return routes;
}

function unlessUnreachable(error: Error): unknown[] {
  if (error instanceof NoRouteError || error instanceof NoSuchDeviceError) return [];
  throw error;
}

/** Appends the device to a link-local address. */
function scoped(local: string, device: string): string {
  const address = parseIpAddress(local);
  return address && isLinkLocal(address) ? `${local}%${device}` : local;
}

interface RawRoute {
  dev?: string;
  prefsrc?: string;
  metrics?: { mtu?: number }[];
  /** Seconds; present only on entries that the kernel learned from ICMP. */
  expires?: number;
}

/**
 * Parses a route and ignores a path MTU that the kernel learned from ICMP: such an MTU expires
 * within minutes and is possibly forged. Only a configured MTU, of the route or of the device, is
 * used.
 *
 * @param object element printed by `ip -json route get`
 */
export function parseRoute(object: unknown): { local: string; device: string; mtu: number | undefined } {
  const { dev, prefsrc = '', metrics = [], expires } = object as RawRoute;
  if (dev === undefined) throw new HostError(`"ip route get" returned no device: ${JSON.stringify(object)}`);
  const stated = expires === undefined ? metrics.find(({ mtu }) => mtu !== undefined)?.mtu : undefined;
  return { local: prefsrc, device: dev, mtu: stated };
}
