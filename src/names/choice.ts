/**
 * Choice of one address of a name that stands for one host.
 *
 * A host with several addresses gets one copy of a broadcast, so one of its addresses is the peer.
 * The order of the resolver decides (RFC 6724 §6, *getaddrinfo(3)*): the first address that this host
 * can reach determines the family. Within the family the address that is in use stays, because name
 * servers rotate addresses (RFC 1794). The family follows the resolver, so that two hosts that prefer
 * the same family use the same one again after an outage.
 */
import type { IpAddress } from '../wire/ip-address.js';

/**
 * @param addresses addresses of the name in the order of the resolver, without those of this host
 * @param inUse address that is in use, as text; undefined: none
 * @param isReachable returns true for an address to which there is a route
 * @returns undefined when there is no address
 */
export function chooseAddress(
  addresses: readonly IpAddress[],
  inUse: string | undefined,
  isReachable: (address: IpAddress) => boolean,
): IpAddress | undefined {
  const reachable = addresses.filter(isReachable);
  const candidates = reachable.length > 0 ? reachable : addresses;
  const [first] = candidates;
  return candidates.find(({ family, text }) => family === first.family && text === inUse) ?? first;
}
