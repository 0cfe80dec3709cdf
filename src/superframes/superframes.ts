/**
 * Controls whether TCP superframes leave whole (offload UDP_TUNNEL_GSO).
 *
 * Configures the outer TAP of the workers, and grants or withdraws the offload when the network or
 * the rules of the host change. `tunnel-offload.ts` checks the conditions of the machine,
 * `kernel-path.ts` the rules.
 */

import type { Handle } from '../controller/handle.js';
import type { Offloads } from '../exchange/offloads.js';
import type { Logger } from '../log/log.js';
import type { Paths } from '../paths/paths.js';
import { formatIpAddress, type IpAddress, parseIpAddress } from '../wire/ip-address.js';
import type { KernelPath, PathTraffic } from './kernel-path.js';
import { type ReportShortcut, ShortcutStatus } from './shortcut-status.js';
import type { FoundTunnel, TunnelOffload, TunnelPeer, Unused } from './tunnel-offload.js';

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
  /** Stops at once, because an obstacle possibly came. */
  stop(): void;
  /**
   * Stops, because a rule or policy of the host stands against superframes; the set-up stays, so
   * that the return is quick.
   *
   * @param why reason, for the log; the superframes have reported it
   */
  pause(why: string): void;
  /**
   * Stops, because superframes do not leave whole, and removes what was set up. Never rejects.
   *
   * @param why reason, for the log; the superframes have reported it
   */
  end(why: string): Promise<void>;
  /** Removes what was set up. @throws HostError */
  close(): Promise<void>;
}

/** Properties of sent datagrams that rules of the host can match. */
export type Sending = Pick<PathTraffic, 'sourcePorts' | 'mark' | 'isUnbound'>;

export interface SuperframesOptions {
  readonly paths: Paths;
  readonly offloads: Offloads;
  readonly tunnel: TunnelOffload;
  readonly kernelPath: KernelPath;
  readonly sending: Sending;
  readonly handle: Handle;
  readonly follower: TunnelFollower | undefined;
  readonly log: Logger;
  readonly report: ReportShortcut;
  /** Requests a call of `refresh`. */
  readonly due: () => void;
}

/** Number of peers above which rules are judged for any peer. */
const PEERS_MAX = 1000;

export class Superframes {
  readonly #options: SuperframesOptions;
  readonly #status: ShortcutStatus;

  constructor(options: SuperframesOptions) {
    this.#options = options;
    const { kernelPath, report, log } = options;
    this.#status = new ShortcutStatus('superframes', kernelPath.mode, report, log);
  }

  /**
   * Withdraws the offload at once, because an obstacle possibly came: an IPsec policy or rule, which
   * superframes that leave whole would bypass, or the loss of the local address.
   */
  withdraw(): void {
    this.#options.offloads.withdraw('UDP_TUNNEL_GSO');
    this.#options.follower?.stop();
  }

  async close(): Promise<void> {
    await this.#options.kernelPath.close();
    await this.#options.follower?.close();
  }

  /** Grants the offload if routes, devices and rules allow it, or withdraws it. */
  async refresh(): Promise<void> {
    const { tunnel, kernelPath, handle, offloads } = this.#options;
    const found = await tunnel.find(this.#peerRoutes());
    if ('why' in found) return this.#unused(found);
    await kernelPath.judge(this.#trafficOf(found), () => this.#rulesChanged());
    const before = this.#obstacle();
    if (before) return this.#unused(before);
    await handle.setTunnel(found.tunnel, found.peers);
    // Checks for an obstacle that came while the workers were configured. The kernel notifies of
    // one that comes later, and `withdraw` handles the notification.
    const obstacle = this.#obstacle();
    if (obstacle) return this.#unused(obstacle);
    offloads.grant('UDP_TUNNEL_GSO');
    this.#status.used(`superframes leave whole by ${found.device}`);
    if (!this.#options.follower) return;
    await this.#options.follower.follow({ local: found.tunnel.local, device: found.device });
    const late = this.#obstacle();
    if (late) return this.#unused(late);
  }

  /** Withdraws the offload. @param why reason, for log and status */
  async end(why: string): Promise<void> {
    await this.#unused({ why });
  }

  async #unused(unused: Unused): Promise<void> {
    this.#options.offloads.withdraw('UDP_TUNNEL_GSO');
    this.#status.unused(unused);
    const { follower } = this.#options;
    if (unused.cure === undefined) await follower?.end(unused.why);
    else follower?.pause(unused.why);
  }

  #obstacle(): Unused | undefined {
    const { tunnel, kernelPath } = this.#options;
    return tunnel.obstacle() ?? kernelPath.against('superframes');
  }

  /** Stops at once what a new rule stands against; the refresh that follows does the rest. */
  #rulesChanged(): void {
    const { kernelPath, follower, due } = this.#options;
    if (kernelPath.against('superframes')) this.withdraw();
    else if (kernelPath.against('flows')) follower?.stop();
    due();
  }

  #trafficOf({ tunnel, device }: FoundTunnel): PathTraffic {
    const { handle, sending } = this.#options;
    const peers = new Map<string, IpAddress>();
    const ports = new Set<number>();
    for (const { vni } of handle.vnis())
      for (const { address } of handle.peers(vni)) {
        if (address.family !== 4) continue;
        ports.add(address.port);
        if (peers.size <= PEERS_MAX) peers.set(address.text, parseIpAddress(address.text)!);
      }
    return {
      ...sending,
      families: [4],
      locals: [parseIpAddress(formatIpAddress(4, tunnel.local))!],
      peers: peers.size > PEERS_MAX ? 'any' : [...peers.values()],
      ports: [...ports],
      devices: [device],
    };
  }

  /** Yields each peer with its route. */
  *#peerRoutes(): Iterable<TunnelPeer> {
    const { handle, paths } = this.#options;
    for (const { vni } of handle.vnis())
      for (const { peerIdx, address } of handle.peers(vni))
        yield { peerIdx, family: address.family, route: paths.route(address.text) };
  }
}
