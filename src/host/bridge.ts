/**
 * The kernel bridge that a TAP joins (ip-link(8), type bridge).
 *
 * An existing bridge is joined and otherwise left unchanged. A missing bridge is created, marked by
 * its ifalias, and removed when the last TAP leaves it. A marked bridge that a killed daemon left
 * behind counts as created by vtepd. An administrator removes the mark to keep such a bridge.
 *
 * A new bridge ignores what the overlay asks of this host (`obedience.ts`), and has the kernel's
 * defaults otherwise: no spanning tree, so ports forward at once; multicast snooping, which
 * restricts no multicast until a querier is present. Its MAC is set explicitly: by default the MAC
 * of a bridge is the lowest MAC of the ports, and would change when a VM starts or stops.
 */
import { formatMac } from '../wire/mac.js';
import { HostError } from './host-error.js';
import { bridgeMac, type Mac } from './mac-address.js';
import type { Link, Machine } from './machine.js';
import { addLink, deleteLink, setLink } from './netlink/links.js';
import { ignoreOverlay } from './obedience.js';
import type { Rollback } from './rollback.js';

/** ifalias of a bridge that vtepd created. */
const BRIDGE_MARK = 'vtepd bridge';

/** Default MTU of an Ethernet device in Linux, bytes; minimum for a bridged TAP. */
const ETHERNET_MTU = 1500;

/** A bridge that a TAP is to join. */
export interface OpenBridge {
  /** Interface index. */
  readonly index: number;
  /** True when vtepd created it. */
  readonly isOurs: boolean;
}

/**
 * Ensures that the bridge exists. If vtepd created it, its removal is registered with `undo`.
 *
 * @param tapMac MAC from which that of a new bridge is derived
 * @throws HostError when the name belongs to another kind of device
 */
export async function openBridge(
  machine: Machine,
  name: string,
  tapMac: Mac,
  undo: Rollback,
): Promise<OpenBridge> {
  const named = machine.find(name);
  const found = named && (await machine.reread(named.index));
  if (found) return adoptBridge(machine, found, undo);
  const { high, low } = bridgeMac(tapMac);
  await machine.change(addLink('bridge', { name, mac: formatMac(high, low) }));
  const link = machine.get(name);
  const { index } = link;
  undo.push(() => leaveBridge(machine, index));
  await ignoreOverlay(machine, link);
  // The alias cannot be set while the device is being created.
  await machine.change(setLink(`set up ${name}`, index, { alias: BRIDGE_MARK, up: true }));
  return { index, isOurs: true };
}

/**
 * Device MTU for a TAP in this bridge. A bridge silently drops frames that exceed the MTU of the
 * outgoing port, and lowers its own MTU to that of its smallest port.
 *
 * @param bridge interface index
 * @param taps interface indexes of TAPs of vtepd
 * @returns bytes: the largest MTU of the other ports, at least 1500
 */
export function bridgedMtu(machine: Machine, bridge: number, taps: ReadonlySet<number>): number {
  const others = machine.portsOf(bridge).filter(({ index }) => !taps.has(index));
  return Math.max(ETHERNET_MTU, ...others.map((port) => port.mtu));
}

async function adoptBridge(machine: Machine, bridge: Link, undo: Rollback): Promise<OpenBridge> {
  const { name, kind, alias, index } = bridge;
  if (kind !== 'bridge') {
    const device = kind === '' ? 'a network device' : `a ${kind} device`;
    throw new HostError(`${name} is ${device}, not a kernel bridge: choose another --bridge name`);
  }
  if (alias !== BRIDGE_MARK) return { index, isOurs: false };
  undo.push(() => leaveBridge(machine, index));
  await ignoreOverlay(machine, bridge);
  await machine.change(setLink(`set up ${name}`, index, { up: true }));
  return { index, isOurs: true };
}

/** Removes the bridge if it still carries the mark and has no ports. */
export async function leaveBridge(machine: Machine, index: number): Promise<void> {
  // A TAP that was closed just now, and the mark of a bridge that is down, are possibly still in the
  // table.
  const bridge = await machine.reread(index);
  if (bridge?.alias !== BRIDGE_MARK || machine.portsOf(index).length > 0) return;
  await machine.change(deleteLink(bridge));
}
