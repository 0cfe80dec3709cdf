/**
 * Routes to peers that lead into the overlay.
 *
 * A datagram that follows such a route enters a TAP of this VTEP again, and would be encapsulated
 * without end. Such a route is not used (`paths/paths.ts`), and named by a warning until it is
 * mended. The route can lead there by a bridge, or by a device that is stacked on TAP or bridge.
 */
import type { Report } from '../exchange/report.js';
import type { Machine } from '../host/machine.js';
import { devicesInto } from '../host/stack.js';
import type { Reports } from './reports.js';

const CODE = 'route_through_overlay';

export interface OverlayRoutesOptions {
  readonly machine: Pick<Machine, 'links' | 'subscribe'>;
  /** Interface indexes of the TAPs. */
  readonly taps: () => Iterable<number>;
  readonly reports: Pick<Reports, 'set'>;
}

export class OverlayRoutes {
  readonly #options: OverlayRoutesOptions;
  /** Interface indexes of the devices that lead into the overlay; undefined: to be found out. */
  #devices: ReadonlySet<number> | undefined;
  #reported: ReadonlySet<string> = new Set();
  readonly #unsubscribe: () => void;

  constructor(options: OverlayRoutesOptions) {
    this.#options = options;
    this.#unsubscribe = options.machine.subscribe(({ links }) => {
      if (links.size > 0) this.devicesChanged();
    });
  }

  /** @param device interface index */
  isOverlay(device: number): boolean {
    this.#devices ??= devicesInto(this.#options.taps(), this.#options.machine.links);
    return this.#devices.has(device);
  }

  /** Called when TAPs were opened or closed. */
  devicesChanged(): void {
    this.#devices = undefined;
  }

  /**
   * Updates the warnings.
   *
   * @param peers addresses of all peers
   * @param deviceOf returns the device of a route that leads into the overlay
   */
  report(peers: Iterable<string>, deviceOf: (address: string) => string | undefined): void {
    const { reports } = this.#options;
    const found = new Set<string>();
    for (const address of peers) {
      const device = deviceOf(address);
      if (device === undefined || found.has(address)) continue;
      found.add(address);
      reports.set(CODE, address, textsOf(address, device));
    }
    for (const address of this.#reported) if (!found.has(address)) reports.set(CODE, address, undefined);
    this.#reported = found;
  }

  stop(): void {
    this.#unsubscribe();
  }
}

function textsOf(address: string, device: string): Omit<Report, 'code'> {
  return {
    detail: `the route to peer ${address} leads into the overlay, by device ${device}`,
    why: 'its frames would return to this VTEP, so they are dropped (no_route); its path MTU stays as it was',
    cure: `add a route to ${address} by a device of the underlay ("ip route get ${address}" shows the present one)`,
  };
}
