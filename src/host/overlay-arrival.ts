/**
 * Devices by which VXLAN of the overlay's own hosts would arrive.
 *
 * A VM can send UDP to the VXLAN port of any address of this host. Such a packet reaches the host by
 * the TAP, or by the bridge that the TAP is a port of, or by a device stacked on these: a VLAN or
 * macvlan device, a bridge with such a device as its port, and so on. VXLAN from these devices is
 * forged. A packet that another router sends back is not recognised.
 *
 * Ports of the bridge other than the TAP are no devices of the overlay: the uplink can be one, and
 * the underlay a VLAN device on that uplink. A VRF is none either: packets arrive by its ports.
 *
 * Pure function over the devices of one network namespace.
 */
import type { Link } from './netlink/links.js';

/**
 * @param taps interface indexes of the TAPs @param bridges those of their bridges
 * @param underlayDev index of the device that the sockets are bound to, which is never of the
 *   overlay; 0 none
 * @returns interface indexes in ascending order, without those of devices that do not exist
 */
export function overlayIndexes(
  links: Iterable<Link>,
  taps: Iterable<number>,
  bridges: Iterable<number>,
  underlayDev = 0,
): Int32Array {
  const byIndex = new Map(Array.from(links, (link) => [link.index, link]));
  const above = new Map<number, number[]>();
  for (const { index, master, lower } of byIndex.values()) {
    if (lower !== 0) add(above, lower, index);
    if (master !== 0 && byIndex.get(master)?.kind !== 'vrf') add(above, index, master);
  }
  const found = new Set<number>();
  const pending = [...taps, ...bridges];
  for (let index = pending.pop(); index !== undefined; index = pending.pop()) {
    if (found.has(index) || index === underlayDev || !byIndex.has(index)) continue;
    found.add(index);
    pending.push(...(above.get(index) ?? []));
  }
  return Int32Array.from(found).sort();
}

function add(map: Map<number, number[]>, key: number, value: number): void {
  const values = map.get(key);
  if (values) values.push(value);
  else map.set(key, [value]);
}
