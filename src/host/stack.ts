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

/** Kinds of devices whose packets leave by their lower device. */
const STACKED: readonly string[] = ['vlan', 'macvlan', 'macvtap', 'ipvlan', 'ipvtap'];
/** Kinds of ports by which a bridge reaches a network outside this machine; '' is hardware. */
const UPLINKS: readonly string[] = ['', 'bond', 'team'];

/**
 * Finds the devices whose packets enter the overlay: TAPs, the bridges they are in, and devices that
 * are stacked on these.
 *
 * A bridge with a network card is left out, because its packets possibly leave by the card.
 *
 * @param taps interface indexes
 * @returns interface indexes
 */
export function devicesInto(taps: Iterable<number>, links: Iterable<Link>): Set<number> {
  const all = new Map(Array.from(links, (link) => [link.index, link]));
  const bridges = new Set<number>();
  for (const { index, kind } of all.values()) if (kind === 'bridge') bridges.add(index);
  for (const { kind, master } of all.values()) if (UPLINKS.includes(kind)) bridges.delete(master);
  const found = new Set(taps);
  for (let size = -1; size !== found.size; ) {
    size = found.size;
    for (const { index, kind, lower, master } of all.values()) {
      if (found.has(index) && bridges.has(master)) found.add(master);
      if (STACKED.includes(kind) && found.has(lower)) found.add(index);
    }
  }
  return found;
}
