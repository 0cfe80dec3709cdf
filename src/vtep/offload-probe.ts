/** Records which offloads the kernel supports, after the devices and sockets are open. */

import { errnoName } from '../abi/errno.js';
import { type OffloadName, type Offloads, refusalReport } from '../exchange/offloads.js';
import type { Report } from '../exchange/report.js';
import type { OverlayDevice } from '../host/overlay-device.js';
import { ALL_OFFLOADS } from '../host/tap.js';
import type { UnderlaySockets } from '../host/underlay-sockets.js';

/**
 * Records the offloads of the sockets. GSO_TCP counts as supported until the first superframe is
 * refused.
 */
export function noteSockets(offloads: Offloads, { refused }: UnderlaySockets, udpChecksum: boolean): void {
  note(offloads, 'UDP_GRO', refused.get('UDP_GRO'));
  if (udpChecksum) note(offloads, 'UDP_SEGMENT', refused.get('UDP_SEGMENT'));
  note(offloads, 'GSO_TCP', undefined);
}

/**
 * Records the offloads of these TAPs. An offload counts as refused if one TAP lacks it, because the
 * kernel is the same for all TAPs.
 */
export function noteDevices(offloads: Offloads, devices: readonly OverlayDevice[]): void {
  if (devices.length === 0) return;
  for (const name of ALL_OFFLOADS)
    note(offloads, name, devices.find((device) => !device.offloads.includes(name))?.offloadError);
  // The TAP flag shows that the kernel supports USO for reads and for writes, because the same
  // kernel release introduced both kinds of USO.
  const unsupported = devices.find((device) => !device.offloads.includes('TUN_F_USO4'));
  note(offloads, 'GSO_UDP_L4', unsupported?.offloadError);
}

/** One warning per group of offloads refused with the same error. */
export function refusals(offloads: Offloads): Report[] {
  return offloads.refused().map(({ names, error }) => refusalReport(names, errnoName(error)));
}

function note(offloads: Offloads, name: OffloadName, error: number | undefined): void {
  if (error === undefined) offloads.grant(name);
  else offloads.refuse(name, error);
}
