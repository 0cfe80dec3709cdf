/**
 * The overlay's devices of all VNIs: opened and closed side by side, so that their `ip` commands share processes, those
 * that are asked for together all or none. VNIs in one bridge take turns, whenever they come and go: the first makes it,
 * and the last to leave removes it.
 *
 * Called by whoever composes a VTEP. What is done to a single device is `overlay-device.ts`'s.
 */
import type { Shim } from '../abi/binding.js';
import { HostError } from './host-error.js';
import { type OverlayDevice, type OverlayDeviceSpec, openOverlayDevice } from './overlay-device.js';

export class OverlayDevices {
  readonly #shim: Shim;
  /** By name. */
  readonly #open = new Map<string, OverlayDevice>();
  /** What was begun last on each bridge. */
  readonly #lastOn = new Map<string, Promise<unknown>>();

  constructor(shim: Shim) {
    this.#shim = shim;
  }

  /**
   * @returns the devices in the order they were asked for
   * @throws HostError, that of the first one in order which cannot be had; the others are closed again
   */
  async open(specs: readonly OverlayDeviceSpec[]): Promise<readonly OverlayDevice[]> {
    for (const { tap } of specs)
      if (this.#open.has(tap))
        throw new HostError(
          `TAP ${tap} is still open: a VNI that had it is settling after a change that failed`,
        );
    const opened = await Promise.allSettled(
      specs.map((spec) => this.#inTurn([spec.bridge], () => openOverlayDevice(this.#shim, spec))),
    );
    const devices = opened.flatMap((result) => (result.status === 'fulfilled' ? [result.value] : []));
    for (const device of devices) this.#open.set(device.name, device);
    const failure = opened.find((result) => result.status === 'rejected');
    if (failure === undefined) return devices;
    // Its own error says more than any failure of the cleaning up would.
    await this.close(devices.map(({ name }) => name)).catch(() => undefined);
    throw failure.reason;
  }

  /**
   * Takes back every change of these devices; those that are closed already are left out.
   * @throws HostError naming what could not be taken back
   */
  async close(names: readonly string[]): Promise<void> {
    const open = names.flatMap((name) => this.#open.get(name) ?? []);
    const closed = await Promise.allSettled(
      open.map((device) => {
        this.#open.delete(device.name);
        return this.#inTurn([device.bridge], () => device.close());
      }),
    );
    const failures = closed.flatMap((result) =>
      result.status === 'rejected' ? [(result.reason as Error).message] : [],
    );
    if (failures.length > 0) throw new HostError(failures.join('; '));
  }

  async closeAll(): Promise<void> {
    await this.close([...this.#open.keys()]);
  }

  /** Puts a device into another bridge, or into none. @throws HostError, after which it is where it was */
  async moveTo(name: string, bridge: string, unbridgedMtu: number): Promise<void> {
    const device = this.#open.get(name)!;
    await this.#inTurn([device.bridge, bridge], () => device.moveTo(bridge, unbridgedMtu));
  }

  /** @param addresses those that the device is to have of us @throws HostError, after which it has those it had */
  async readdress(name: string, addresses: readonly string[]): Promise<void> {
    await this.#open.get(name)!.readdress(addresses);
  }

  /** Works at once, but after what was begun before on any of these bridges; '' is none. */
  #inTurn<R>(bridges: readonly string[], work: () => Promise<R>): Promise<R> {
    const named = bridges.filter((bridge) => bridge !== '');
    const before = named.flatMap((bridge) => this.#lastOn.get(bridge) ?? []);
    const result = before.length === 0 ? work() : Promise.all(before).then(work);
    const settled = result.catch(() => undefined);
    for (const bridge of named) this.#lastOn.set(bridge, settled);
    return result;
  }
}
