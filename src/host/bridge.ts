/**
 * The bridge that a TAP joins (ip-link(8), type bridge). One that is there already is joined and left as it
 * was. One that is missing is made, marked by its ifalias, and removed by whoever leaves it last; a mark that
 * a killed daemon left behind makes the bridge ours again. An administrator who wants to keep such a bridge
 * takes the mark off.
 *
 * A new bridge has the kernel's defaults: no spanning tree, so that ports forward at once; multicast snooping,
 * which does not prune before it has heard a querier. Only its MAC is fixed, as it would otherwise follow the lowest of
 * its ports and change when a VM comes or goes.
 */
import { formatMac } from '../wire/mac.js';
import { HostError } from './host-error.js';
import { ip } from './ip-command.js';
import { findLink, type Link, portsOf, setLink } from './link.js';
import { bridgeMac, type Mac } from './mac-address.js';
import type { Rollback } from './rollback.js';

/** ifalias of a bridge that vtepd made. */
const BRIDGE_MARK = 'vtepd bridge';

/** What Linux gives an Ethernet device, bytes; a bridged TAP is never smaller. */
const ETHERNET_MTU = 1500;

/**
 * Makes sure that the bridge is there; its removal, if it is ours, goes on `undo`.
 *
 * @param tapMac what a new bridge's MAC is derived from
 * @throws HostError when the name belongs to a device that is no bridge
 */
export async function openBridge(name: string, tapMac: Mac, undo: Rollback): Promise<void> {
  const found = await findLink(name);
  if (found) return adoptBridge(found, undo);
  const { high, low } = bridgeMac(tapMac);
  await ip(['link', 'add', 'name', name, 'address', formatMac(high, low), 'type', 'bridge']);
  undo.push(() => leaveBridge(name));
  // A device takes no alias while it is being made.
  await setLink(name, 'alias', BRIDGE_MARK, 'up');
}

/**
 * Device MTU of a TAP in this bridge: a bridge drops what is larger than the outgoing port's MTU without a word,
 * and itself shrinks to its smallest port.
 *
 * @returns bytes: the largest among the other ports, at least 1500
 */
export async function bridgedMtu(bridge: string, tap: string): Promise<number> {
  const others = (await portsOf(bridge)).filter((port) => port.name !== tap);
  return Math.max(ETHERNET_MTU, ...others.map((port) => port.mtu));
}

async function adoptBridge(bridge: Link, undo: Rollback): Promise<void> {
  if (bridge.kind !== 'bridge') {
    const kind = bridge.kind === '' ? 'a network device' : `a device of kind ${bridge.kind}`;
    throw new HostError(`${bridge.name} is ${kind}, not a bridge of the kernel: give --bridge another name`);
  }
  if (bridge.alias !== BRIDGE_MARK) return;
  undo.push(() => leaveBridge(bridge.name));
  await setLink(bridge.name, 'up');
}

/** Removes the bridge if it still carries our mark and no port is left in it. */
export async function leaveBridge(name: string): Promise<void> {
  const bridge = await findLink(name);
  if (bridge?.alias !== BRIDGE_MARK || (await portsOf(name)).length > 0) return;
  await ip(['link', 'delete', 'dev', name]);
}
