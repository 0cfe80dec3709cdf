/**
 * TCP flows that pass through the kernel alone (`--flow-offload`): sets up what they need as long as superframes leave whole,
 * tells the workers, follows the TAPs that come and go, and grants or withdraws the offload. What a flow is, and how long it
 * is passed, is `switch/flows/flows.ts`'s.
 */
import { setTimeout as delay } from 'node:timers/promises';
import type { Shim } from '../abi/binding.js';
import type { Settings } from '../config/settings.js';
import type { Handle } from '../controller/handle.js';
import type { Offloads } from '../exchange/offloads.js';
import { HostError } from '../host/host-error.js';
import type { Logger } from '../log/log.js';
import { LimitedLog } from '../log/log-limit.js';
import type { TunnelFollower, TunnelPath } from '../superframes/superframes.js';
import { FlowOffload, type FlowSpec } from './flow-offload.js';

/** Slots of each of at most 16 workers: as many as the maps have. */
const SLOTS = 256;
/** Setting up changes the network, which is a reason to look again: what fails is tried so often. */
const ATTEMPTS = 3;
/** How long the end of what was set up is waited for, ms. */
const CLOSE_MS = 2000;
const STILL_USED = 'a data-plane thread has not let go of the former maps yet';

/** What flow offload needs of the VTEP. */
export interface KnownFlowsDeps {
  readonly shim: Shim;
  readonly offloads: Offloads;
  readonly handle: Handle;
  readonly log: Logger;
}

export interface KnownFlowsOptions extends FlowSpec, KnownFlowsDeps {
  readonly workers: number;
  readonly ttl: number;
  readonly udpChecksum: boolean;
}

/** @returns undefined without `--flow-offload` */
export function openKnownFlows(settings: Settings, deps: KnownFlowsDeps): KnownFlows | undefined {
  const { flowOffload, port, sourcePorts, workers, ttl, udpChecksum } = settings;
  return flowOffload ? new KnownFlows({ ...deps, port, sourcePorts, workers, ttl, udpChecksum }) : undefined;
}

export class KnownFlows implements TunnelFollower {
  readonly #options: KnownFlowsOptions;
  readonly #open: typeof FlowOffload.open;
  readonly #log: LimitedLog;
  #offload: FlowOffload | undefined;
  /** What it is set up for, and how often that failed. */
  #key = '';
  #failures = 0;
  /** Turned off so many times: who waited meanwhile must not turn it on. */
  #stops = 0;
  /** Why it is not in use; '' it is. */
  #why = '';
  #logged = '';
  /** Earlier set-ups that a worker may still use. */
  #closing: Promise<void> | undefined;

  constructor(options: KnownFlowsOptions, open = FlowOffload.open) {
    this.#options = options;
    this.#open = open;
    this.#log = new LimitedLog(options.log);
  }

  /** Superframes leave whole by this way: so may flows. Called again when TAPs or the network have changed. */
  async follow(way: TunnelPath): Promise<void> {
    const { handle, offloads } = this.#options;
    const key = `${way.device} ${way.local.join('.')}`;
    if (key !== this.#key) this.#failures = 0;
    if (this.#failures >= ATTEMPTS) return;
    const stops = this.#stops;
    const isKept = this.#offload !== undefined && this.#key === key;
    try {
      const offload = await this.#openFor(way, key);
      await offload.follow(() => handle.vnis());
      if (this.#stops !== stops) return;
      if (!offloads.inUse('UDP_TUNNEL_GSO')) throw new HostError('superframes do not leave whole');
      offload.on(way);
      offloads.grant('TCX_FLOWS');
      // What stands again may fail again: setting up is what must not go on without end.
      if (isKept) this.#failures = 0;
      this.#why = '';
      this.#logOnce('info', `known TCP flows pass through the kernel, by ${way.device}`);
    } catch (error) {
      await this.end((error as Error).message);
      this.#key = key;
      if ((error as Error).message !== STILL_USED) this.#failures++;
    }
  }

  /** From this moment on every frame goes through user space. */
  stop(): void {
    this.#stops++;
    this.#off();
  }

  /** The same, for a reason that may last. Never rejects: what cannot be taken back goes with the daemon. */
  async end(why: string): Promise<void> {
    this.stop();
    this.#why = `every frame of a TCP flow goes through user space: ${why}`;
    this.#logOnce('warn', this.#why);
    await this.close().catch((error: Error) => this.#log.log('', 'warn', {}, error.message));
  }

  /** A VNI is gone: nothing may be given to what was its TAP. */
  forget(vni: number): void {
    this.#offload?.detach(vni);
  }

  /** Takes back what was set up. @throws HostError naming what could not be */
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
    // No worker may use these maps any more: their descriptors' numbers will be others'. A slow one delays the end.
    const closing = this.#options.handle.setFlows(undefined).then(() => offload.close());
    this.#closing = closing;
    const waiting = new AbortController();
    const limit = delay(CLOSE_MS, undefined, { signal: waiting.signal }).catch(() => {});
    const done = closing.finally(() => {
      this.#closing = undefined;
      waiting.abort();
    });
    // Beyond the limit nobody hears of a failure; what cannot be taken back goes with the daemon.
    done.catch(() => {});
    await Promise.race([done, limit]);
  }

  async #openFor(way: TunnelPath, key: string): Promise<FlowOffload> {
    if (this.#offload && this.#key === key) return this.#offload;
    this.#off();
    await this.#remove();
    if (this.#closing) throw new HostError(STILL_USED);
    const { shim, workers, ttl, udpChecksum, handle } = this.#options;
    const offload = await this.#open(shim, this.#options, way);
    this.#offload = offload;
    this.#key = key;
    await handle.setFlows({ ...offload.maps, slots: SLOTS, shared: workers > 1, ttl, udpChecksum });
    return offload;
  }

  /** That it is on and does nothing, for the status. */
  warnings(): { code: string; detail: string }[] {
    return this.#why === '' ? [] : [{ code: 'flow_offload_unused', detail: this.#why }];
  }

  #logOnce(level: 'info' | 'warn', text: string): void {
    if (this.#logged !== text) this.#log.log('', level, {}, text);
    this.#logged = text;
  }
}
