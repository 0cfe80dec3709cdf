/**
 * Superframes that leave whole: is there a device on the way to the peers that cuts up tunnelled ones by itself, and
 * may it be given them? Looked at when the daemon starts, when peers come and go, and whenever the network has changed
 * (`NetworkWatch`).
 *
 * The conditions, each with a sentence for people when it does not hold: Linux 6.17 and the right to load a program;
 * an IPv4 peer; a device with tx-udp_tnl-segmentation, and with outer checksums tx-udp_tnl-csum-segmentation; no
 * device that the sockets are bound to, as the outer TAP follows routes alone; and no IPsec policy, as what is written
 * there would pass it by. A policy that comes later ends the offload as soon as the kernel tells of it.
 *
 * One way only: that device and address of ours by which most peers are reached. The others' superframes are cut up
 * here, as everybody's are without.
 */
import type { Shim } from '../abi/binding.js';
import { ERRNO, errnoName } from '../abi/errno.js';
import { SOURCE_SOCKETS } from '../abi/limits.js';
import type { Settings } from '../config/settings.js';
import { Rollback } from '../host/rollback.js';
import { NotPermittedError, redirectToRoute } from '../host/route-redirect.js';
import type { Route } from '../paths/underlay.js';
import { parseIpAddress } from '../wire/ip-address.js';

/** What `tunnelSegmentation` answers. */
const CUTS = 1;
const CUTS_WITH_CHECKSUM = 2;

export interface TunnelSpec {
  /** UDP port listened on: the device is named after it. A second daemon on it, with another `--local`, goes without. */
  readonly port: number;
  /** IPv4 address that the sockets are bound to, 4 bytes; undefined: the route says. */
  readonly local: Uint8Array | undefined;
  /** Device that the sockets are bound to; '' none. */
  readonly device: string;
  readonly ttl: number;
  readonly df: boolean;
  readonly udpChecksum: boolean;
  /** The pool's IPv4 sockets. */
  readonly sendFds: readonly number[];
}

/** A peer of the data plane, and how it is reached. */
export interface TunnelPeer {
  readonly peerIdx: number;
  readonly family: 4 | 6;
  readonly route: Route | undefined;
}

/** The way and who is reached by it, or why there is none. */
export type TunnelFinding =
  | { readonly tunnel: TunnelSetup; readonly peers: Int32Array; readonly device: string }
  /** notPermitted: the machine could, but this process may not. */
  | { readonly why: string; readonly notPermitted?: boolean };

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
 * The outer TAP for these settings. Close it after the workers have ended, which write to it.
 *
 * @param poolFds sockets of the source-port pools, by `UdpFds.send`
 */
export function makeTunnel(shim: Shim, settings: Settings, poolFds: readonly number[]): TunnelOffload {
  const { port, udpChecksum, underlayDev, ttl } = settings;
  const local = settings.local.find(({ family }) => family === 4)?.bytes.subarray(0, 4);
  const df = settings.df !== 'unset';
  const pool = df ? 0 : 2 * SOURCE_SOCKETS;
  const sendFds = poolFds.slice(pool, pool + SOURCE_SOCKETS);
  return new TunnelOffload(shim, { port, local, device: underlayDev, ttl, df, udpChecksum, sendFds });
}

export class TunnelOffload {
  readonly #shim: Shim;
  readonly #spec: TunnelSpec;
  readonly #undo = new Rollback();
  #outerFd = -1;
  /** Why the outer TAP can't be opened; '' it was not tried, or is open. */
  #unable = '';
  #notPermitted = false;

  constructor(shim: Shim, spec: TunnelSpec) {
    this.#shim = shim;
    this.#spec = spec;
  }

  /** Takes back what was made. Nobody may send by it any more: its descriptor's number will be another's. */
  async close(): Promise<void> {
    await this.#undo.run();
  }

  /** @throws HostError when the machine can't be asked */
  async find(peers: Iterable<TunnelPeer>): Promise<TunnelFinding> {
    if (this.#spec.device !== '') return { why: `the sockets are bound to ${this.#spec.device}` };
    const most = mostUsed(peers);
    if (!most) return { why: 'no peer is reached by IPv4' };
    const { route, reached } = most;
    if (!this.#cuts(route.device)) return { why: `${route.device} does not cut up tunnelled superframes` };
    const policies = this.policies();
    if (policies !== '') return { why: policies };
    await this.#open();
    if (this.#unable !== '') return { why: this.#unable, notPermitted: this.#notPermitted };
    return {
      tunnel: this.#setupFor(route),
      peers: Int32Array.from(reached),
      device: route.device,
    };
  }

  /** Why IPsec forbids it; '' it does not, at this moment. */
  policies(): string {
    const count = this.#shim.policyCount();
    if (count < 0) return `the kernel does not tell of IPsec policies (${errnoName(count)})`;
    return count > 0 ? 'there are IPsec policies' : '';
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

  /** Once; a kernel that refuses it does so for good. */
  async #open(): Promise<void> {
    if (this.#outerFd >= 0 || this.#unable !== '') return;
    const name = `vtgso${this.#spec.port}`;
    const outerFd = this.#shim.tunnelOpen(name);
    if (outerFd < 0) {
      this.#unable =
        outerFd === -ERRNO.EINVAL
          ? 'this kernel has no TUN_F_UDP_TUNNEL_GSO (Linux 6.17)'
          : `${name}: ${errnoName(outerFd)}`;
      return;
    }
    try {
      const linkFd = await redirectToRoute(this.#shim, name);
      for (const fd of [linkFd, outerFd]) this.#undo.push(() => void this.#shim.close(fd));
      this.#outerFd = outerFd;
    } catch (error) {
      this.#shim.close(outerFd);
      this.#unable = `${name}: ${(error as Error).message}`;
      this.#notPermitted = error instanceof NotPermittedError;
    }
  }
}

interface Reached {
  readonly route: Route;
  readonly reached: number[];
}

/** The way that most IPv4 peers are reached by, and the rows of these. There may be a million peers. */
function mostUsed(peers: Iterable<TunnelPeer>): Reached | undefined {
  const byRoute = new Map<Route, Reached>();
  const byKey = new Map<string, Reached>();
  for (const { peerIdx, family, route } of peers) {
    if (family !== 4 || !route || route.local === '') continue;
    let way = byRoute.get(route);
    if (!way) {
      const key = `${route.device} ${route.local} ${route.mtu}`;
      way = byKey.get(key) ?? { route, reached: [] };
      byKey.set(key, way);
      byRoute.set(route, way);
    }
    way.reached.push(peerIdx);
  }
  return [...byKey.values()].sort((a, b) => b.reached.length - a.reached.length)[0];
}
