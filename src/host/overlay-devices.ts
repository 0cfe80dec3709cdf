/**
 * The TAPs of all VNIs and the bridges they share.
 *
 * Devices are opened and closed concurrently, because the kernel delays some changes. A request for several devices opens all of them or none. Operations on one bridge are serialised:
 * the first VNI creates the bridge, and the last VNI to leave removes it.
 *
 * Called by the composition of a VTEP. `overlay-device.ts` sets up a single device.
 */
import type { Shim } from '../abi/binding.js';
import { AddedAddresses } from './added-addresses.js';
import { HostError } from './host-error.js';
import type { Machine } from './machine.js';
import { OverlayDevice, type OverlayDeviceSpec } from './overlay-device.js';

/** A device by which the host's stack receives frames of a VNI. */
export interface StackDevice {
  readonly name: string;
  /** True when vtepd made it. */
  readonly isOurs: boolean;
}

export class OverlayDevices {
  readonly #shim: Shim;
  readonly #machine: Machine;
  readonly #own: AddedAddresses;
  /** Open devices by name. */
  readonly #open = new Map<string, OverlayDevice>();
  /** The operation started last, by bridge. */
  readonly #lastOn = new Map<string, Promise<unknown>>();

  constructor(shim: Shim, machine: Machine) {
    this.#shim = shim;
    this.#machine = machine;
    this.#own = new AddedAddresses(machine);
  }

  /** @returns the open device of a name */
  find(name: string): OverlayDevice | undefined {
    return this.#open.get(name);
  }

  /** All open devices. */
  get all(): IterableIterator<OverlayDevice> {
    return this.#open.values();
  }

  /** Interface indexes of the open TAPs. */
  get indexes(): number[] {
    return Array.from(this.#open.values(), ({ index }) => index);
  }

  /** Addresses that vtepd adds to TAPs and bridges. */
  get own(): AddedAddresses {
    return this.#own;
  }

  /** Interface indexes of the TAPs and bridges that vtepd made. */
  made(): Set<number> {
    const made = new Set<number>();
    for (const { index, isOurs, bridgeIndex, isBridgeOurs } of this.#open.values()) {
      if (isOurs) made.add(index);
      if (isBridgeOurs) made.add(bridgeIndex);
    }
    return made;
  }

  /** Bridges of the open devices, and TAPs in no bridge. */
  stackDevices(): StackDevice[] {
    const made = this.made();
    const indexes = [...this.#open.values()].map(({ index }) => this.#machine.link(index)?.master || index);
    return [...new Set(indexes)].flatMap((index) => {
      const link = this.#machine.link(index);
      return link === undefined ? [] : [{ name: link.name, isOurs: made.has(index) }];
    });
  }

  /**
   * @returns the devices in the order of `specs`
   * @throws HostError of the first device in `specs` that cannot be opened; all other devices of
   * `specs` are closed again
   */
  async open(specs: readonly OverlayDeviceSpec[]): Promise<readonly OverlayDevice[]> {
    for (const { tap } of specs)
      if (this.#open.has(tap))
        throw new HostError(`TAP ${tap} is still open: its previous VNI is settling after a failed change`);
    const opened = await Promise.allSettled(
      specs.map((spec) =>
        this.#inTurn([spec.bridge], () => OverlayDevice.open(this.#shim, this.#machine, spec, this.#own)),
      ),
    );
    const devices = opened.flatMap((result) => (result.status === 'fulfilled' ? [result.value] : []));
    for (const device of devices) this.#open.set(device.name, device);
    const failure = opened.find((result) => result.status === 'rejected');
    if (failure === undefined) return devices;
    // The original error is more useful than a failure of the cleanup.
    await this.close(devices.map(({ name }) => name)).catch(() => undefined);
    throw failure.reason;
  }

  /**
   * Reverts every change to these devices; devices that are already closed are ignored.
   *
   * @throws HostError naming what could not be reverted
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

  /** Interface indexes of the open TAPs. */
  taps(): number[] {
    return Array.from(this.#open.values(), ({ index }) => index);
  }

  /** Interface indexes of the bridges that vtepd has put the open TAPs into. */
  bridges(): number[] {
    return Array.from(this.#open.values(), ({ bridgeIndex }) => bridgeIndex).filter((index) => index !== 0);
  }

  async closeAll(): Promise<void> {
    await this.close([...this.#open.keys()]);
  }

  /**
   * Moves a device to another bridge, or out of its bridge if `bridge` is ''.
   * @throws HostError; the device is unchanged after a failure
   */
  async moveTo(name: string, bridge: string, unbridgedMtu: number): Promise<void> {
    const device = this.#open.get(name)!;
    await this.#inTurn([device.bridge, bridge], () => device.moveTo(bridge, unbridgedMtu));
  }

  /**
   * @param addresses complete list of addresses of the VNI
   * @throws HostError; the addresses are unchanged after a failure
   */
  async readdress(name: string, addresses: readonly string[]): Promise<void> {
    const device = this.#open.get(name)!;
    await this.#inTurn([device.bridge], () => device.readdress(addresses));
  }

  /**
   * Runs `work` after every operation started earlier on these bridges, or at once if there is no
   * such operation.
   *
   * @param bridges names; '' is ignored
   */
  #inTurn<R>(bridges: readonly string[], work: () => Promise<R>): Promise<R> {
    const named = bridges.filter((bridge) => bridge !== '');
    const before = named.flatMap((bridge) => this.#lastOn.get(bridge) ?? []);
    const result = before.length === 0 ? work() : Promise.all(before).then(work);
    const settled = result.catch(() => undefined);
    for (const bridge of named) this.#lastOn.set(bridge, settled);
    return result;
  }
}
