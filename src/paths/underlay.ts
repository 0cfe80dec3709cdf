/**
 * Routes to peers, looked up in the kernel's routing table.
 *
 * A route has the local address, the device and the MTU. Routes are looked up at start, when peers
 * are added, before a probe, and for all peers together when the network has changed.
 */
import { loadShim } from '../abi/binding.js';
import { PEER_ROW_LEN } from '../abi/limits.js';
import { writeRowAddress } from '../abi/peer-row.js';
import type { Machine } from '../host/machine.js';
import { lookUpRoute } from '../host/netlink/routes.js';
import { formatIpAddress, type IpAddress, isLinkLocal, parseIpAddress } from '../wire/ip-address.js';

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

/** Port for look-ups of a source address; nothing is sent to it. */
const DISCARD_PORT = 9;
/** Offset of the address in a `struct peer_row`. */
const ADDRESS_OFF = 4;
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
  const scopeId = address.scope === '' ? 0 : machine.scopeId(address.scope);
  const oif = address.scope === '' ? bound : scopeId;
  if (oif === 0) return undefined;
  const found = await lookUpRoute(address, { oif: oif ?? 0, mark });
  const link = found && machine.link(found.device);
  if (found === undefined || link === undefined) return undefined;
  const device = machine.nameOf(oif ?? 0);
  const source = isTemporary(machine, found.source)
    ? sourceToward(address.bytes, scopeId, device, mark)
    : undefined;
  return {
    local: scoped(source ?? found.source, link.name),
    device: link.name,
    deviceIndex: link.index,
    mtu: found.mtu ?? link.mtu,
  };
}

/** True for a temporary IPv6 address of this host (RFC 8981). */
function isTemporary(machine: Machine, text: string): boolean {
  for (const address of machine.addresses) if (address.temporary && address.text === text) return true;
  return false;
}

/**
 * Returns the source address of the underlay's sockets toward an IPv6 address. A look-up of a route
 * does not know their preference for public addresses and possibly returns a temporary one.
 *
 * @param bytes address of the peer @param scopeId its scope; 0 none
 * @param device device that the sockets are bound to; '' any
 * @returns text without scope; undefined when the kernel refuses
 */
function sourceToward(bytes: Uint8Array, scopeId: number, device: string, mark: number): string | undefined {
  const peer = new Uint8Array(PEER_ROW_LEN);
  const source = new Uint8Array(PEER_ROW_LEN);
  writeRowAddress(peer, { family: 6, bytes, port: DISCARD_PORT, scopeId });
  if (loadShim().udpSource(peer, device, mark, source) < 0) return undefined;
  return formatIpAddress(6, source.subarray(ADDRESS_OFF, ADDRESS_OFF + bytes.length), '');
}

/** Appends the device to a link-local address. */
function scoped(local: string, device: string): string {
  const address = parseIpAddress(local);
  return address && isLinkLocal(address) ? `${local}%${device}` : local;
}
