/**
 * Routes to peers, looked up in the kernel's routing table.
 *
 * A route has the local address, the device and the MTU. Routes are looked up at start, when peers
 * are added, before a probe, and for all peers together when the network has changed.
 */
import type { Machine } from '../host/machine.js';
import { lookUpRoute } from '../host/netlink/routes.js';
import { type IpAddress, isLinkLocal, parseIpAddress } from '../wire/ip-address.js';

export interface Route {
  /** Local address of the route as text, link-local with `%device`; '' when the device has none. */
  readonly local: string;
  /** Name of the outgoing device. */
  readonly device: string;
  /** Interface index of the outgoing device. */
  readonly deviceIndex: number;
  /** MTU of the route, or else of the device, bytes. */
  readonly mtu: number;
}

/** Properties of the underlay's sockets that decide the route of a packet. */
export interface Via {
  /**
   * Interface index of the device that the sockets are bound to; 0: it is missing, so there is no
   * route; undefined: any device.
   */
  readonly bound: number | undefined;
  /** Mark of their packets (SO_MARK); 0: none. */
  readonly mark: number;
}

/** Sockets that are bound to no device and have no mark. */
const ANY: Via = { bound: undefined, mark: 0 };

/**
 * @returns undefined when there is no route, so that an unreachable peer does not prevent a start
 * @throws HostError
 */
export async function routeTo(
  machine: Machine,
  address: IpAddress,
  { bound, mark }: Via = ANY,
): Promise<Route | undefined> {
  const oif = address.scope === '' ? bound : machine.scopeId(address.scope);
  if (oif === 0) return undefined;
  const found = await lookUpRoute(address, { oif: oif ?? 0, mark });
  const link = found && machine.link(found.device);
  if (found === undefined || link === undefined) return undefined;
  return {
    local: scoped(found.source, link.name),
    device: link.name,
    deviceIndex: link.index,
    mtu: found.mtu ?? link.mtu,
  };
}

/** Appends the device to a link-local address. */
function scoped(local: string, device: string): string {
  const address = parseIpAddress(local);
  return address && isLinkLocal(address) ? `${local}%${device}` : local;
}
