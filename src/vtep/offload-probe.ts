/** Which offloads the kernel granted and refused, when the devices and sockets of a VTEP were opened. */

import { errnoName } from '../abi/errno.js';
import { type OffloadName, type Offloads, refusalText } from '../exchange/offloads.js';
import { ALL_OFFLOADS, type OverlayDevice } from '../host/overlay-device.js';
import type { UnderlaySockets } from '../host/underlay-sockets.js';

/** What sockets have, and what every TAP will: GSO is tried by the first superframe. */
export function noteSockets(offloads: Offloads, { refused }: UnderlaySockets, udpChecksum: boolean): void {
  note(offloads, 'UDP_GRO', refused.get('UDP_GRO'));
  if (udpChecksum) note(offloads, 'UDP_SEGMENT', refused.get('UDP_SEGMENT'));
  note(offloads, 'GSO_TCP', undefined);
}

/** What these TAPs have, which are all of one kernel. */
export function noteDevices(offloads: Offloads, devices: readonly OverlayDevice[]): void {
  if (devices.length === 0) return;
  for (const name of ALL_OFFLOADS)
    note(offloads, name, devices.find((device) => !device.offloads.includes(name))?.offloadError);
  // Reading and writing them came with one kernel.
  const without = devices.find((device) => !device.offloads.includes('TUN_F_USO4'));
  note(offloads, 'GSO_UDP_L4', without?.offloadError);
}

/** One warning for those that were refused alike. */
export function refusals(offloads: Offloads): { code: string; detail: string }[] {
  return offloads.refused().map(({ names, error }) => {
    return { code: 'offload_refused', detail: refusalText(names, errnoName(error)) };
  });
}

function note(offloads: Offloads, name: OffloadName, error: number | undefined): void {
  if (error === undefined) offloads.grant(name);
  else offloads.refuse(name, error);
}
