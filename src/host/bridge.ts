/**
 * The kernel bridge that a TAP joins (ip-link(8), type bridge).
 *
 * An existing bridge is joined and otherwise left unchanged. A missing bridge is created, marked by
 * its ifalias, and removed when the last TAP leaves it. A marked bridge that a killed daemon left
 * behind counts as created by vtepd. An administrator removes the mark to keep such a bridge.
 *
 * A new bridge has the kernel's defaults: no spanning tree, so ports forward at once; multicast
 * snooping, which restricts no multicast until a querier is present. Only the MAC is set
 * explicitly: by default the MAC of a bridge is the lowest MAC of the ports, and would change when
 * a VM starts or stops.
 */
import { formatMac } from '../wire/mac.js';
import { HostError } from './host-error.js';
import { ip } from './ip-command.js';
import { findLink, type Link, portsOf, setLink } from './link.js';
import { bridgeMac, type Mac } from './mac-address.js';
import type { Rollback } from './rollback.js';

/** ifalias of a bridge that vtepd created. */
const BRIDGE_MARK = 'vtepd bridge';

/** Default MTU of an Ethernet device in Linux, bytes; minimum for a bridged TAP. */
const ETHERNET_MTU = 1500;

/**
 * Ensures that the bridge exists. If vtepd created it, its removal is registered with `undo`.
 *
 * @param tapMac MAC from which that of a new bridge is derived
 * @throws HostError when the name belongs to another kind of device
 */
export async function openBridge(name: string, tapMac: Mac, undo: Rollback): Promise<void> {
  const found = await findLink(name);
  if (found) return adoptBridge(found, undo);
  const { high, low } = bridgeMac(tapMac);
  await ip(['link', 'add', 'name', name, 'address', formatMac(high, low), 'type', 'bridge']);
  undo.push(() => leaveBridge(name));
  // The alias cannot be set while the device is being created.
  await setLink(name, 'alias', BRIDGE_MARK, 'up');
}

/**
 * Device MTU for a TAP in this bridge. A bridge silently drops frames that exceed the MTU of the
 * outgoing port, and lowers its own MTU to that of its smallest port.
 *
 * @returns bytes: the largest MTU of the other ports, at least 1500
 */
export async function bridgedMtu(bridge: string, tap: string): Promise<number> {
  const others = (await portsOf(bridge)).filter((port) => port.name !== tap);
  return Math.max(ETHERNET_MTU, ...others.map((port) => port.mtu));
}

async function adoptBridge(bridge: Link, undo: Rollback): Promise<void> {
  if (bridge.kind !== 'bridge') {
    const kind = bridge.kind === '' ? 'a network device' : `a ${bridge.kind} device`;
    throw new HostError(`${bridge.name} is ${kind}, not a kernel bridge: choose another --bridge name`);
  }
  if (bridge.alias !== BRIDGE_MARK) return;
  undo.push(() => leaveBridge(bridge.name));
  await setLink(bridge.name, 'up');
}

/** Removes the bridge if it still carries the mark and has no ports. */
export async function leaveBridge(name: string): Promise<void> {
  const bridge = await findLink(name);
  if (bridge?.alias !== BRIDGE_MARK || (await portsOf(name)).length > 0) return;
  await ip(['link', 'delete', 'dev', name]);
}
