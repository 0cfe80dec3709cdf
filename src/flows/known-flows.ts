/**
 * Controls TCP flows through the kernel, the second shortcut of `--kernel-path`.
 *
 * Sets up devices and maps while superframes leave whole, passes the maps to the workers, attaches
 * to added TAPs, detaches from removed TAPs, and grants or withdraws the offload, also when a rule of
 * the host stands against flows alone.
 * `switch/flows/flows.ts` decides which flows are offloaded and for how long.
 */
import { setTimeout as delay } from 'node:timers/promises';
import type { Shim } from '../abi/binding.js';
import type { Settings } from '../config/settings.js';
import type { Handle } from '../controller/handle.js';
import type { Offloads } from '../exchange/offloads.js';
import { HostError } from '../host/host-error.js';
import type { Machine } from '../host/machine.js';
import { NotPermittedError } from '../host/route-redirect.js';
import type { Logger } from '../log/log.js';
import type { KernelPath } from '../superframes/kernel-path.js';
import type { ShortcutStatus } from '../superframes/shortcut-status.js';
import type { TunnelFollower, TunnelPath } from '../superframes/superframes.js';
import type { Unused } from '../superframes/tunnel-offload.js';
import { FlowOffload, type FlowSpec } from './flow-offload.js';

/** Number of slots per worker; the maps have room for 16 workers. */
const SLOTS = 256;
/**
 * Maximum number of attempts per path. A limit is needed because each set-up changes the network,
 * which triggers the next refresh and the next attempt.
 */
const ATTEMPTS = 3;
/** Maximum wait for the removal of a set-up, ms. */
const CLOSE_MS = 2000;
const STILL_USED = 'a data-plane thread still uses the previous maps';

/** Parts of the VTEP that flow offload uses. */
export interface KnownFlowsDeps {
  readonly shim: Shim;
  readonly machine: Machine;
  readonly offloads: Offloads;
  readonly handle: Handle;
  /** Returns the index of the TAP that the configuration names; 0: it is not in this namespace. */
  readonly indexOf: (tap: string) => number;
  readonly kernelPath: KernelPath;
  readonly status: ShortcutStatus;
  readonly log: Logger;
  /** Called before the first flow passes. */
  readonly opening: () => void;
}

export interface KnownFlowsOptions extends FlowSpec, KnownFlowsDeps {
  readonly workers: number;
  readonly ttl: number;
  readonly udpChecksum: boolean;
}

export function openKnownFlows(settings: Settings, deps: KnownFlowsDeps): KnownFlows {
  const { port, sourcePorts, fwmark: mark, workers, ttl, udpChecksum } = settings;
  return new KnownFlows({ ...deps, port, sourcePorts, mark, workers, ttl, udpChecksum });
}

export class KnownFlows implements TunnelFollower {
  readonly #options: KnownFlowsOptions;
  readonly #open: typeof FlowOffload.open;
  #offload: FlowOffload | undefined;
  /** Path of the set-up, or of the last failure. */
  #key = '';
  /** Number of failures for this path. */
  #failures = 0;
  /** Generation counter: an enable that awaited across a stop must not take effect. */
  #stops = 0;
  /** Removal of an earlier set-up that a worker possibly still uses. */
  #closing: Promise<void> | undefined;

  constructor(options: KnownFlowsOptions, open = FlowOffload.open) {
    this.#options = options;
    this.#open = open;
  }

  /** Sets up or updates the offload for this path, by which superframes leave whole. */
  async follow(path: TunnelPath): Promise<void> {
    const { handle, indexOf, offloads, kernelPath, status } = this.#options;
    const against = kernelPath.against('flows');
    if (against) return this.#pause(against);
    const key = `${path.device} ${path.local.join('.')}`;
    if (key !== this.#key) this.#failures = 0;
    if (this.#failures >= ATTEMPTS) return;
    const stops = this.#stops;
    const isKept = this.#offload !== undefined && this.#key === key;
    try {
      const offload = await this.#openFor(path, key);
      await offload.follow(() => handle.vnis().map(({ vni, tap }) => ({ vni, index: indexOf(tap) })));
      if (this.#stops !== stops) return;
      if (!offloads.inUse('UDP_TUNNEL_GSO')) throw new HostError('superframes do not leave whole');
      offload.on(path);
      offloads.grant('TCX_FLOWS');
      // The set-up still works. The count of failures is reset, because only set-ups that fail one
      // after the other are limited.
      if (isKept) this.#failures = 0;
      status.used(`known TCP flows pass through the kernel, by ${path.device}`);
    } catch (error) {
      await this.#end(failure(error as Error));
      this.#key = key;
      if ((error as Error).message !== STILL_USED) this.#failures++;
    }
  }

  /** Directs every frame through user space from this moment on. */
  stop(): void {
    this.#stops++;
    this.#off();
  }

  pause(why: string): void {
    this.#pause({ why }, true);
  }

  /**
   * Stops for a reason that possibly persists, and removes the set-up. Never rejects: the kernel
   * removes any remaining part when the daemon ends.
   */
  async end(why: string): Promise<void> {
    await this.#end({ why }, true);
  }

  /** Detaches the TAP of a removed VNI. */
  forget(vni: number): void {
    this.#offload?.detach(vni);
  }

  /** Removes the set-up. @throws HostError naming what could not be removed */
  async close(): Promise<void> {
    this.stop();
    await this.#remove();
  }

  #off(): void {
    this.#options.offloads.withdraw('TCX_FLOWS');
    this.#offload?.off();
  }

  async #remove(): Promise<void> {
    const offload = this.#offload;
    this.#offload = undefined;
    this.#key = '';
    if (!offload) return;
    // The set-up is closed only after all workers have stopped using the maps, because the kernel
    // reuses the numbers of closed descriptors. A slow worker delays the removal.
    const closing = this.#options.handle.setFlows(undefined).then(() => offload.close());
    this.#closing = closing;
    const waiting = new AbortController();
    const limit = delay(CLOSE_MS, undefined, { signal: waiting.signal }).catch(() => {});
    const done = closing.finally(() => {
      this.#closing = undefined;
      waiting.abort();
    });
    // A failure after the limit is not reported; the kernel removes any remaining part when the
    // daemon ends.
    done.catch(() => {});
    await Promise.race([done, limit]);
  }

  async #openFor(path: TunnelPath, key: string): Promise<FlowOffload> {
    if (this.#offload && this.#key === key) return this.#offload;
    this.#off();
    await this.#remove();
    if (this.#closing) throw new HostError(STILL_USED);
    const { shim, machine, workers, ttl, udpChecksum, handle, opening } = this.#options;
    const offload = await this.#open(shim, machine, this.#options, path);
    opening();
    this.#offload = offload;
    this.#key = key;
    await handle.setFlows({ ...offload.maps, slots: SLOTS, shared: workers > 1, ttl, udpChecksum });
    return offload;
  }

  /** @param isCaused the superframes have reported why */
  #pause(unused: Unused, isCaused = false): void {
    this.stop();
    this.#options.status.unused(unused, isCaused);
  }

  async #end(unused: Unused, isCaused = false): Promise<void> {
    const { log } = this.#options;
    this.#pause(unused, isCaused);
    await this.close().catch((error: Error) => log.debug(error.message));
  }
}

function failure(error: Error): Unused {
  if (error instanceof NotPermittedError) return { why: error.message, notPermitted: error };
  return { why: error.message, cure: 'remove the cause, or set --kernel-path off' };
}
