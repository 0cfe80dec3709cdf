/**
 * Keeps the workers' list of the overlay's devices current, from which no VXLAN is accepted.
 *
 * The list is computed from the devices of this network namespace: at once after vtepd opened,
 * moved, mended or closed devices, and shortly after each change that another program makes.
 */
import type { Handle } from '../controller/handle.js';
import type { Machine } from '../host/machine.js';
import { overlayIndexes } from '../host/overlay-arrival.js';
import type { OverlayDevices } from '../host/overlay-devices.js';

/**
 * Time from a change of devices to the next list, ms. Further changes do not extend it, so that
 * devices that change all the time cannot keep a new one out of the list.
 */
const DEBOUNCE_MS = 100;

export interface ArrivalOptions {
  readonly machine: Pick<Machine, 'links' | 'scopeId' | 'subscribe'>;
  readonly devices: Pick<OverlayDevices, 'taps' | 'bridges'>;
  /** Device that the underlay's sockets are bound to; '' none. */
  readonly underlayDev: string;
}

export class Arrival {
  readonly #options: ArrivalOptions;
  #handle: Pick<Handle, 'setOverlayDevices'> | undefined;
  #unsubscribe = () => {};
  #timer: NodeJS.Timeout | undefined;

  constructor(options: ArrivalOptions) {
    this.#options = options;
  }

  /** Sends the list, and each later one; resolves when the workers use the first. */
  start(handle: Pick<Handle, 'setOverlayDevices'>): Promise<void> {
    this.#handle = handle;
    this.#unsubscribe = this.#options.machine.subscribe(({ links }) => {
      if (links.size > 0) this.#timer ??= setTimeout(() => void this.refresh(), DEBOUNCE_MS);
    });
    return this.refresh();
  }

  stop(): void {
    this.#handle = undefined;
    this.#unsubscribe();
    clearTimeout(this.#timer);
  }

  /**
   * Computes and sends the list; what is sent to the workers later finds it in use. Resolves when
   * the workers use it. Does nothing before `start`. Never rejects.
   */
  async refresh(): Promise<void> {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    await this.#handle?.setOverlayDevices(this.#indexes());
  }

  #indexes(): Int32Array {
    const { machine, devices, underlayDev } = this.#options;
    const underlay = underlayDev === '' ? 0 : machine.scopeId(underlayDev);
    return overlayIndexes(machine.links, devices.taps(), devices.bridges(), underlay);
  }
}
