/** Devices stacked on others: VLAN, macvlan and bridge devices. Pure functions. */
import type { Link } from './netlink/links.js';

/**
 * Maximum number of 802.1Q tags of a frame: the depth of the VLAN devices stacked on a device.
 *
 * @param index interface index, for example of a TAP or its bridge
 */
export function tagsOver(index: number, links: Iterable<Link>): number {
  const vlans = [...links].filter(({ kind }) => kind === 'vlan');
  return depth(index, vlans);
}

function depth(index: number, vlans: readonly Link[]): number {
  const above = vlans.filter(({ lower }) => lower === index);
  return above.length === 0 ? 0 : 1 + Math.max(...above.map((vlan) => depth(vlan.index, vlans)));
}
