/**
 * The parts that follow TAPs, bridges and link-local peers when other programs change devices.
 *
 * Creates and starts them for a running VTEP; `undo` stops them in the reverse order.
 */
import type { Handle } from '../controller/handle.js';
import type { Machine } from '../host/machine.js';
import type { OverlayDevices } from '../host/overlay-devices.js';
import type { Rollback } from '../host/rollback.js';
import type { Logger } from '../log/log.js';
import type { LiveConfiguration } from './configuration.js';
import { DeviceWatch } from './device-watch.js';
import { ObedienceWatch } from './obedience-watch.js';
import type { Overlay } from './overlay.js';
import { PeerScopes } from './peer-scopes.js';
import type { Reports } from './reports.js';

export interface FollowedVtep {
  readonly machine: Machine;
  readonly devices: OverlayDevices;
  readonly reports: Reports;
  readonly log: Logger;
  readonly configuration: LiveConfiguration;
  readonly handle: Handle;
  readonly overlay: Overlay;
  /** Called after the device of a VNI was mended; resolves when what depends on it is current. */
  readonly mended: () => Promise<void>;
}

/** @returns requests an examination, after VNIs have changed */
export async function followDevices(vtep: FollowedVtep, undo: Rollback): Promise<() => void> {
  const { machine, devices, reports, log, configuration, handle, overlay, mended } = vtep;
  const vnis = () => configuration.settings.vnis;
  const serialise = (work: () => Promise<void>) => configuration.maintain(work);
  const watch = new DeviceWatch({
    machine,
    devices,
    reports,
    log,
    vnis,
    serialise,
    reopen: (vni, seen) => overlay.reopen(vni, seen),
    unbridged: (vni) => overlay.unbridged(vni),
    mended,
  });
  undo.push(() => watch.stop());
  watch.start();
  const scopes = new PeerScopes({
    machine,
    log,
    vnis,
    known: () => handle.vnis().map(({ vni }) => vni),
    peers: (vni) => handle.peers(vni),
    serialise,
    renew: (vni, peers) => overlay.renew(vni, peers),
  });
  undo.push(() => scopes.stop());
  scopes.start();
  const obedience = new ObedienceWatch({
    machine,
    devices,
    report: (device, texts) => reports.set('host_obeys_overlay', device, texts),
    log,
  });
  undo.push(() => obedience.stop());
  await obedience.start();
  return () => {
    watch.due();
    obedience.due();
  };
}
