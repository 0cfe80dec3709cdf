/**
 * The overlay's devices of all VNIs: opened and closed side by side, so that their `ip` commands share processes, and
 * all or none. VNIs in one bridge take turns: the first makes it, and the last to leave removes it.
 *
 * Called by the composition root. What is done to a single device is `overlay-device.ts`'s.
 */
import type { Shim } from '../native/binding.js';
import { HostError } from './host-error.js';
import { type OverlayDevice, type OverlayDeviceSpec, openOverlayDevice } from './overlay-device.js';

export interface OverlayDevices {
  /** In the order they were asked for. */
  readonly devices: readonly OverlayDevice[];
  /** Takes back every change. @throws HostError naming what could not be taken back */
  close(): Promise<void>;
}

/** @throws HostError, that of the first device in order which cannot be had; the others are closed again */
export async function openOverlayDevices(
  shim: Shim,
  specs: readonly OverlayDeviceSpec[],
): Promise<OverlayDevices> {
  const opened = await sideBySide(specs, (spec) => openOverlayDevice(shim, spec));
  const devices = opened.flatMap((result) => (result.status === 'fulfilled' ? [result.value] : []));
  const bridgeOf = new Map(specs.map(({ tap, bridge }) => [tap, bridge]));
  const close = () => closeAll(devices, bridgeOf);
  const failure = opened.find((result) => result.status === 'rejected');
  if (failure === undefined) return { devices, close };
  // Its own error says more than any failure of the cleaning up would.
  await close().catch(() => undefined);
  throw failure.reason;
}

async function closeAll(
  devices: readonly OverlayDevice[],
  bridgeOf: ReadonlyMap<string, string>,
): Promise<void> {
  const closing = devices.map((device) => ({ bridge: bridgeOf.get(device.name) ?? '', device }));
  const closed = await sideBySide(closing, ({ device }) => device.close());
  const failures = closed.flatMap((result) => (result.status === 'rejected' ? [result.reason.message] : []));
  if (failures.length > 0) throw new HostError(failures.join('; '));
}

/** Works on all at once, but one after the other on those of the same bridge. @returns what became of each, in order */
function sideBySide<T extends { readonly bridge: string }, R>(
  items: readonly T[],
  work: (item: T) => Promise<R>,
): Promise<PromiseSettledResult<R>[]> {
  const lastOf = new Map<string, Promise<unknown>>();
  const results = items.map((item) => {
    const before = item.bridge === '' ? undefined : lastOf.get(item.bridge);
    const result = before ? before.then(() => work(item)) : work(item);
    lastOf.set(
      item.bridge,
      result.catch(() => undefined),
    );
    return result;
  });
  return Promise.allSettled(results);
}
