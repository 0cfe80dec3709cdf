/**
 * Finds a path by which superframes can leave whole, and owns the outer TAP.
 *
 * The check runs at the start of the daemon, when peers are added or removed, and when the network
 * has changed (`NetworkWatch`). The user gets a message for each of these conditions that is not
 * met:
 *
 * - Linux 6.17, and the permission to load a BPF program;
 * - an IPv4 peer;
 * - a device with the feature tx-udp_tnl-segmentation (ethtool(8)) and, if outer UDP checksums are
 *   on, also tx-udp_tnl-csum-segmentation;
 * - sockets that are not bound to a device, because the outer TAP only follows routes;
 * - no IPsec policy, because packets written to the outer TAP would leave in the clear, also with
 *   `--kernel-path on`. If a policy is added later, the offload ends as soon as the kernel notifies
 *   of it.
 *
 * Other rules of the host are judged by `kernel-path.ts`.
 *
 * Only one path is used: the device and local address by which most peers are reached. vtepd itself
 * cuts up the superframes for other peers. Without this offload, vtepd cuts up all superframes.
 */
import type { Shim } from '../abi/binding.js';
import { ERRNO, errnoName } from '../abi/errno.js';
import { SOURCE_SOCKETS } from '../abi/limits.js';
import type { Settings } from '../config/settings.js';
import type { Machine } from '../host/machine.js';
import { Rollback } from '../host/rollback.js';
import { NotPermittedError, redirectToRoute } from '../host/route-redirect.js';
import type { Route } from '../paths/underlay.js';
import { parseIpAddress } from '../wire/ip-address.js';

/** Result bits of `tunnelSegmentation`. */
const CUTS = 1;
const CUTS_WITH_CHECKSUM = 2;

export interface TunnelSpec {
  /**
   * VXLAN port. The name of the outer TAP contains the port. A second daemon on the same port (with
   * another `--local`) therefore cannot open an outer TAP.
   */
  readonly port: number;
  /** IPv4 address that the sockets are bound to, 4 bytes; undefined: the route determines it. */
  readonly local: Uint8Array | undefined;
  /** Device that the sockets are bound to; '' none. */
  readonly device: string;
  /** Mark of the packets (SO_MARK); 0: none. */
  readonly mark: number;
  readonly ttl: number;
  readonly df: boolean;
  readonly udpChecksum: boolean;
  /** True while nothing may be sent over IPv4, because the local address is missing. */
  readonly isHeld: () => boolean;
  /** IPv4 sockets of the pool. */
  readonly sendFds: readonly number[];
}

/** A peer of the data plane with its route. */
export interface TunnelPeer {
  readonly peerIdx: number;
  readonly family: 4 | 6;
  readonly route: Route | undefined;
}

/** A path and the peers that are reached by it. */
export interface FoundTunnel {
  readonly tunnel: TunnelSetup;
  readonly peers: Int32Array;
  readonly device: string;
}

export type TunnelFinding = FoundTunnel | Unused;

/** Why a shortcut is not in use. */
export interface Unused {
  readonly why: string;
  /** Present if something stands against a shortcut that this machine has. */
  readonly cure?: string;
  /** Present if only a missing permission prevents the shortcut. */
  readonly notPermitted?: NotPermitted;
}

export type NotPermitted = Pick<NotPermittedError, 'operation' | 'missing'>;

export interface TunnelSetup {
  fd: number;
  local: Uint8Array;
  mtu: number;
  ttl: number;
  df: boolean;
  udpChecksum: boolean;
  ports: number[];
}

/**
 * Creates the offload for these settings. Close it after the workers have ended, because they write
 * to the outer TAP.
 *
 * @param poolFds sockets of the source-port pools, indexed like `UdpFds.send`
 */
export function makeTunnel(
  shim: Shim,
  machine: Machine,
  settings: Settings,
  poolFds: readonly number[],
  isHeld: () => boolean,
): TunnelOffload {
  const { port, udpChecksum, underlayDev, fwmark, ttl } = settings;
  const local = settings.local.find(({ family }) => family === 4)?.bytes.subarray(0, 4);
  const df = settings.df !== 'unset';
  const pool = df ? 0 : 2 * SOURCE_SOCKETS;
  const sendFds = poolFds.slice(pool, pool + SOURCE_SOCKETS);
  return new TunnelOffload(shim, machine, {
    port,
    local,
    device: underlayDev,
    mark: fwmark,
    ttl,
    df,
    udpChecksum,
    isHeld,
    sendFds,
  });
}

export class TunnelOffload {
  readonly #shim: Shim;
  readonly #machine: Machine;
  readonly #spec: TunnelSpec;
  readonly #redirect: typeof redirectToRoute;
  readonly #undo = new Rollback();
  #outerFd = -1;
  /** Why the outer TAP cannot be opened; '' when it is open or was not tried. */
  #unable = '';
  #notPermitted: NotPermitted | undefined;

  /** @param redirect attaches the program to the outer TAP */
  constructor(shim: Shim, machine: Machine, spec: TunnelSpec, redirect = redirectToRoute) {
    this.#shim = shim;
    this.#machine = machine;
    this.#spec = spec;
    this.#redirect = redirect;
  }

  /**
   * Removes the outer TAP. Call after all threads have stopped using it, because its descriptor
   * number may be reused.
   */
  async close(): Promise<void> {
    await this.#undo.run();
  }

  /** Finds the path for these peers. @throws HostError when a query of the host fails */
  async find(peers: Iterable<TunnelPeer>): Promise<TunnelFinding> {
    if (this.#spec.device !== '') return { why: `the sockets are bound to ${this.#spec.device}` };
    const most = mostUsed(peers);
    if (!most) return { why: 'no peer has an IPv4 route' };
    const { route, reached } = most;
    if (!this.#cuts(route.device)) return { why: `${route.device} does not cut up tunnelled superframes` };
    const obstacle = this.obstacle();
    if (obstacle) return obstacle;
    await this.#open();
    if (this.#unable !== '')
      return { why: this.#unable, ...(this.#notPermitted && { notPermitted: this.#notPermitted }) };
    return {
      tunnel: this.#setupFor(route),
      peers: Int32Array.from(reached),
      device: route.device,
    };
  }

  /** Returns what prevents the offload at this moment, whatever the path. */
  obstacle(): Unused | undefined {
    // The warning local_address_missing has the cure.
    if (this.#spec.isHeld()) return { why: 'the --local address is not usable yet' };
    const count = this.#shim.policyCount();
    if (count === 0) return undefined;
    const cure = 'remove the policies, or set --kernel-path off';
    if (count > 0) return { why: 'IPsec policies are configured, and would not apply to them', cure };
    return { why: `cannot read the number of IPsec policies (${errnoName(count)})`, cure };
  }

  #cuts(device: string): boolean {
    const wanted = CUTS | (this.#spec.udpChecksum ? CUTS_WITH_CHECKSUM : 0);
    const found = this.#shim.tunnelSegmentation(device);
    return found > 0 && (found & wanted) === wanted;
  }

  #setupFor({ local, mtu }: Route): TunnelSetup {
    const { ttl, df, udpChecksum, sendFds } = this.#spec;
    const bound = this.#spec.local ?? parseIpAddress(local)!.bytes.subarray(0, 4);
    const ports = sendFds.map((fd) => this.#shim.udpPort(fd));
    return {
      fd: this.#outerFd,
      local: bound,
      mtu,
      ttl,
      df,
      udpChecksum,
      ports,
    };
  }

  /** Opens the outer TAP once; a failure is permanent and is not tried again. */
  async #open(): Promise<void> {
    if (this.#outerFd >= 0 || this.#unable !== '') return;
    const name = `vtgso${this.#spec.port}`;
    const outerFd = this.#shim.tunnelOpen(name);
    if (outerFd < 0) {
      this.#unable =
        outerFd === -ERRNO.EINVAL
          ? 'this kernel has no TUN_F_UDP_TUNNEL_GSO (requires Linux 6.17)'
          : `${name}: ${errnoName(outerFd)}`;
      return;
    }
    try {
      const linkFd = await this.#redirect(this.#shim, this.#machine, name, this.#spec.mark);
      for (const fd of [linkFd, outerFd]) this.#undo.push(() => void this.#shim.close(fd));
      this.#outerFd = outerFd;
    } catch (error) {
      this.#shim.close(outerFd);
      this.#unable = `${name}: ${(error as Error).message}`;
      if (error instanceof NotPermittedError) this.#notPermitted = error;
    }
  }
}

interface Reached {
  readonly route: Route;
  readonly reached: number[];
}

/**
 * Returns the route by which most IPv4 peers are reached, and the rows of these peers. Equal routes
 * are recognised by a string of device, local address and MTU. It is built once per `Route` object
 * and not per peer, because there can be a million peers.
 */
function mostUsed(peers: Iterable<TunnelPeer>): Reached | undefined {
  const byRoute = new Map<Route, Reached>();
  const byKey = new Map<string, Reached>();
  for (const { peerIdx, family, route } of peers) {
    if (family !== 4 || !route || route.local === '') continue;
    let entry = byRoute.get(route);
    if (!entry) {
      const key = `${route.device} ${route.local} ${route.mtu}`;
      entry = byKey.get(key) ?? { route, reached: [] };
      byKey.set(key, entry);
      byRoute.set(route, entry);
    }
    entry.reached.push(peerIdx);
  }
  return [...byKey.values()].sort((a, b) => b.reached.length - a.reached.length)[0];
}
