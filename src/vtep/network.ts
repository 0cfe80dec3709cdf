/**
 * Reacts to changes of the host's network.
 *
 * This module reads the routes to the peers again, refreshes the options that depend on routes, and
 * reports that routes may have changed.
 */
import type { Shim } from '../abi/binding.js';
import type { DataPlane } from '../exchange/data-plane.js';
import { NetworkWatch } from '../host/network-watch.js';
import type { Paths } from '../paths/paths.js';

/** An option that depends on routes and IPsec policies. */
export interface NetworkFollower {
  /** Reads the routes again. */
  refresh(): Promise<void>;
  /** Stops the option at once until the next refresh, because an obstacle possibly came. */
  withdraw(): void;
  /**
   * Stops the option, because network changes cannot be observed. Never rejects.
   *
   * @param why reason, for log and status
   */
  end(why: string): Promise<void>;
  /** Removes what the option has set up. */
  close(): Promise<void>;
}

export interface NetworkOptions {
  readonly shim: Shim;
  readonly paths: Paths;
  readonly handle: Pick<DataPlane, 'vnis' | 'peers'>;
  readonly followers: readonly NetworkFollower[];
  /** Called after a refresh caused by a network change. */
  readonly routesChanged: () => void;
}

export class Network {
  readonly #options: NetworkOptions;
  readonly #watch: NetworkWatch;
  #watching = false;

  constructor(options: NetworkOptions) {
    const { shim, routesChanged } = options;
    this.#options = options;
    this.#watch = new NetworkWatch(shim, {
      refresh: async (changed) => {
        await this.#refresh(changed).catch((error: Error) => this.#end(error));
        if (changed) routesChanged();
      },
      policies: () => this.#withdraw(),
    });
  }

  /**
   * Starts watching. If the kernel cannot report changes, the options in `followers` are stopped.
   */
  async start(): Promise<void> {
    this.#watching = true;
    try {
      await this.#watch.start();
    } catch (error) {
      this.#watching = false;
      await this.#end(error as Error);
    }
  }

  async stop(): Promise<void> {
    await this.#watch.stop();
    for (const follower of this.#options.followers) await follower.close();
  }

  /** Schedules a refresh, after peers were added or removed. */
  due(): void {
    if (this.#watching) this.#watch.due();
  }

  /** Stops the options at once, and refreshes them later. */
  withdraw(): void {
    this.#withdraw();
    this.due();
  }

  #withdraw(): void {
    for (const follower of this.#options.followers) follower.withdraw();
  }

  async #refresh(changed: boolean): Promise<void> {
    const { paths, handle, followers } = this.#options;
    if (changed) await paths.refreshAll(peerAddresses(handle));
    for (const follower of followers) await follower.refresh();
  }

  async #end({ message }: Error): Promise<void> {
    for (const follower of this.#options.followers) await follower.end(message);
  }
}

function peerAddresses(handle: Pick<DataPlane, 'vnis' | 'peers'>): string[] {
  const addresses = new Set<string>();
  for (const { vni } of handle.vnis())
    for (const { address } of handle.peers(vni)) addresses.add(address.text);
  return [...addresses];
}
