/**
 * Superframes that leave whole while the network allows it: looks when the network or the peers have changed, tells the
 * workers the way, and grants or withdraws the offload. What the conditions are is `superframes/tunnel-offload.ts`'s.
 */

import type { Shim } from '../abi/binding.js';
import type { Handle } from '../controller/handle.js';
import type { Offloads } from '../exchange/offloads.js';
import type { KnownFlows } from '../flows/known-flows.js';
import { NetworkWatch } from '../host/network-watch.js';
import type { Logger } from '../log/log.js';
import { LimitedLog } from '../log/log-limit.js';
import type { Paths } from '../paths/paths.js';
import type { TunnelOffload, TunnelPeer } from './tunnel-offload.js';

export interface SuperframesOptions {
  readonly shim: Shim;
  readonly paths: Paths;
  readonly offloads: Offloads;
  readonly tunnel: TunnelOffload;
  readonly handle: Handle;
  /** Flows that may go the same way without us; undefined: not asked for. */
  readonly flows: KnownFlows | undefined;
  readonly log: Logger;
  /** The machine could, but this process may not. */
  readonly notPermitted: (detail: string) => void;
  /** Routes may be others by now. */
  readonly routesChanged: () => void;
}

export class Superframes {
  readonly #options: SuperframesOptions;
  readonly #log: LimitedLog;
  readonly #network: NetworkWatch;
  #watching = false;
  /** Why superframes do not leave whole, or the device that they leave by. */
  #said = '';

  constructor(options: SuperframesOptions) {
    this.#options = options;
    this.#log = new LimitedLog(options.log);
    this.#network = new NetworkWatch(options.shim, {
      look: async (changed) => {
        await this.#set(changed).catch((error: Error) => this.#end(error.message));
        if (changed) options.routesChanged();
      },
      policies: () => {
        options.offloads.withdraw('UDP_TUNNEL_GSO');
        options.flows?.stop();
      },
    });
  }

  /** Watches the network from now on; a kernel that tells of no changes has no such superframes. */
  async start(): Promise<void> {
    try {
      await this.#network.start();
      this.#watching = true;
    } catch (error) {
      await this.#end((error as Error).message);
    }
  }

  async stop(): Promise<void> {
    await this.#network.stop();
    await this.#options.flows?.close();
  }

  /** Peers have come or gone. */
  due(): void {
    if (this.#watching) this.#network.due();
  }

  /** @param changed routes may be others by now */
  async #set(changed: boolean): Promise<void> {
    const { paths, tunnel, handle, offloads } = this.#options;
    if (changed) await paths.refreshAll(ipv4Addresses(handle));
    const found = await tunnel.find(this.#ways());
    if ('why' in found) {
      if (found.notPermitted) this.#options.notPermitted(cutUp(found.why));
      return this.#end(found.why);
    }
    await handle.setTunnel(found.way, found.peers);
    // One that came while the workers were told. Of later ones the kernel tells, and is heard after this.
    const policies = tunnel.policies();
    if (policies !== '') return this.#end(policies);
    offloads.grant('UDP_TUNNEL_GSO');
    this.#say(`superframes leave whole by ${found.device}`);
    if (!this.#options.flows) return;
    await this.#options.flows.follow({ local: found.way.local, device: found.device });
    const late = tunnel.policies();
    if (late !== '') return this.#end(late);
  }

  async #end(why: string): Promise<void> {
    this.#options.offloads.withdraw('UDP_TUNNEL_GSO');
    this.#say(cutUp(why));
    await this.#options.flows?.end(why);
  }

  /** What it is at start is in the status; that it changes may explain a speed. */
  #say(text: string): void {
    if (this.#said === text) return;
    if (this.#said === '') this.#options.log.debug(text);
    else this.#log.say('', 'info', {}, text);
    this.#said = text;
  }

  /** How each peer is reached. */
  *#ways(): Iterable<TunnelPeer> {
    const { handle, paths } = this.#options;
    for (const { vni } of handle.vnis())
      for (const { peerIdx, address } of handle.peers(vni))
        yield { peerIdx, family: address.family, route: paths.route(address.text) };
  }
}

function cutUp(why: string): string {
  return `superframes are cut up before they are sent: ${why}`;
}

function ipv4Addresses(handle: Handle): string[] {
  const addresses = new Set<string>();
  for (const { vni } of handle.vnis())
    for (const { address } of handle.peers(vni)) if (address.family === 4) addresses.add(address.text);
  return [...addresses];
}
