/**
 * Controls whether TCP superframes leave whole (offload UDP_TUNNEL_GSO).
 *
 * Configures the outer TAP of the workers, and grants or withdraws the offload when the network
 * changes. `tunnel-offload.ts` checks the conditions.
 */

import type { Handle } from '../controller/handle.js';
import type { Offloads } from '../exchange/offloads.js';
import type { Report } from '../exchange/report.js';
import type { Logger } from '../log/log.js';
import { LimitedLog } from '../log/log-limit.js';
import type { Paths } from '../paths/paths.js';
import type { NotPermitted, TunnelOffload, TunnelPeer } from './tunnel-offload.js';

/** The path by which superframes leave whole. */
export interface TunnelPath {
  /** Local IPv4 address, 4 bytes. */
  readonly local: Uint8Array;
  /** Device of the underlay. */
  readonly device: string;
}

/** An option that requires UDP_TUNNEL_GSO. */
export interface TunnelFollower {
  /**
   * Reports that superframes leave whole by this path; repeated after each change of TAPs or of the
   * network.
   */
  follow(path: TunnelPath): Promise<void>;
  /** Stops at once, because an IPsec policy was possibly added. */
  stop(): void;
  /** Stops, and removes what was set up. Never rejects. @param why reason, for log and status */
  end(why: string): Promise<void>;
  /** Removes what was set up. @throws HostError */
  close(): Promise<void>;
}

export interface SuperframesOptions {
  readonly paths: Paths;
  readonly offloads: Offloads;
  readonly tunnel: TunnelOffload;
  readonly handle: Handle;
  readonly follower: TunnelFollower | undefined;
  readonly log: Logger;
  /** Reports that only a missing permission prevents the offload. */
  readonly notPermitted: (notice: Report) => void;
}

export class Superframes {
  readonly #options: SuperframesOptions;
  readonly #log: LimitedLog;
  /** Last logged text: the device of the path, or why superframes do not leave whole. */
  #logged = '';

  constructor(options: SuperframesOptions) {
    this.#options = options;
    this.#log = new LimitedLog(options.log);
  }

  /**
   * Withdraws the offload at once, because an obstacle possibly came: an IPsec policy, which
   * superframes that leave whole would bypass, or the loss of the local address.
   */
  withdraw(): void {
    this.#options.offloads.withdraw('UDP_TUNNEL_GSO');
    this.#options.follower?.stop();
  }

  async close(): Promise<void> {
    await this.#options.follower?.close();
  }

  /** Grants the offload if routes and devices allow it, or withdraws it. */
  async refresh(): Promise<void> {
    const { tunnel, handle, offloads } = this.#options;
    const found = await tunnel.find(this.#peerRoutes());
    if ('why' in found) {
      if (found.notPermitted) this.#options.notPermitted(notPermittedNotice(found.notPermitted));
      return this.end(found.why);
    }
    await handle.setTunnel(found.tunnel, found.peers);
    // Checks for an obstacle that came while the workers were configured. The kernel notifies of
    // one that comes later, and `withdraw` handles the notification.
    const obstacle = tunnel.obstacle();
    if (obstacle !== '') return this.end(obstacle);
    offloads.grant('UDP_TUNNEL_GSO');
    this.#logOnce(`superframes leave whole by ${found.device}`);
    if (!this.#options.follower) return;
    await this.#options.follower.follow({ local: found.tunnel.local, device: found.device });
    const late = tunnel.obstacle();
    if (late !== '') return this.end(late);
  }

  /** Withdraws the offload. @param why reason, for log and status */
  async end(why: string): Promise<void> {
    this.#options.offloads.withdraw('UDP_TUNNEL_GSO');
    this.#logOnce(cutUp(why));
    await this.#options.follower?.end(why);
  }

  /**
   * Logs the first state at level debug, because the status shows it, and changes at level info,
   * because they affect throughput.
   */
  #logOnce(text: string): void {
    if (this.#logged === text) return;
    if (this.#logged === '') this.#options.log.debug(text);
    else this.#log.log('', 'info', {}, text);
    this.#logged = text;
  }

  /** Yields each peer with its route. */
  *#peerRoutes(): Iterable<TunnelPeer> {
    const { handle, paths } = this.#options;
    for (const { vni } of handle.vnis())
      for (const { peerIdx, address } of handle.peers(vni))
        yield { peerIdx, family: address.family, route: paths.route(address.text) };
  }
}

function notPermittedNotice({ operation, missing }: NotPermitted): Report {
  return {
    code: 'offload_not_permitted',
    detail: cutUp(operation),
    why: 'TCP needs more CPU than with whole superframes',
    cure: `for more speed, give vtepd ${missing}: docs/systemd.md, "Without CAP_BPF"`,
  };
}

function cutUp(why: string): string {
  return `superframes are cut up before they are sent: ${why}`;
}
