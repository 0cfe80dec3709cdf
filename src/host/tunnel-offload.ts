/**
 * Superframes that leave whole: is there a device on the way to the peers that cuts up tunnelled ones by itself, and
 * may it be given them? Looked at when the daemon starts, when peers come and go, and whenever devices, routes or IPsec
 * policies of this network namespace change.
 *
 * The conditions, each with a sentence for people when it does not hold: Linux 6.17 and the right to load a program;
 * an IPv4 peer; a device with tx-udp_tnl-segmentation, and with outer checksums tx-udp_tnl-csum-segmentation; and no
 * IPsec policy, as what is written to the outer TAP would pass it by. A policy that comes later ends the offload as
 * soon as the kernel tells of it.
 *
 * One way only: that device and address of ours by which most peers are reached. The others' superframes are cut up
 * here, as everybody's are without.
 */
import { writeFileSync } from 'node:fs';
import type { Shim } from '../native/binding.js';
import { ERRNO, errnoName } from '../native/errno.js';
import { parseIpAddress } from '../wire/ip-address.js';
import { HostError } from './host-error.js';
import { getLink, setLink } from './link.js';
import { Rollback } from './rollback.js';
import type { Route } from './underlay.js';

/** How long the network is left to settle after a change, ms. */
const SETTLE_MS = 200;
/** What `tunnelSegmentation` answers. */
const CUTS = 1;
const CUTS_WITH_CHECKSUM = 2;

export interface TunnelSpec {
  /** UDP port listened on: the device is named after it, as nobody else in this namespace has that port. */
  readonly port: number;
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
  | { readonly way: TunnelWay; readonly peers: Int32Array; readonly device: string }
  | { readonly why: string };

export interface TunnelWay {
  fd: number;
  local: Uint8Array;
  mtu: number;
  ttl: number;
  df: boolean;
  udpChecksum: boolean;
  ports: number[];
}

export class TunnelOffload {
  readonly #shim: Shim;
  readonly #spec: TunnelSpec;
  readonly #undo = new Rollback();
  #outerFd = -1;
  /** Why the outer TAP can't be opened; '' it was not tried, or is open. */
  #unable = '';

  constructor(shim: Shim, spec: TunnelSpec) {
    this.#shim = shim;
    this.#spec = spec;
  }

  /**
   * Calls back when the answer of `find` may have changed; `ended` at once when IPsec may have begun.
   * @param changed at most every SETTLE_MS
   */
  watch(changed: () => void, ended: () => void): void {
    let timer: NodeJS.Timeout | undefined;
    const settle = () => {
      timer ??= setTimeout(() => {
        timer = undefined;
        changed();
      }, SETTLE_MS);
    };
    this.#undo.push(() => clearTimeout(timer));
    this.#watch(this.#shim.networkWatch(), settle);
    this.#watch(this.#shim.policyWatch(), () => {
      ended();
      settle();
    });
  }

  /** Takes back what was made. */
  async close(): Promise<void> {
    await this.#undo.run();
  }

  /** @throws HostError when the machine can't be asked */
  async find(peers: Iterable<TunnelPeer>): Promise<TunnelFinding> {
    const { route, reached } = mostUsed(peers);
    if (!route) return { why: 'no peer is reached by IPv4' };
    if (!this.#cuts(route.device)) return { why: `${route.device} does not cut up tunnelled superframes` };
    const policies = this.#shim.policyCount();
    if (policies !== 0) return { why: policies > 0 ? 'there are IPsec policies' : errnoName(policies) };
    await this.#open();
    if (this.#unable !== '') return { why: this.#unable };
    return {
      way: this.#way(route),
      peers: Int32Array.from(reached),
      device: route.device,
    };
  }

  #cuts(device: string): boolean {
    const wanted = CUTS | (this.#spec.udpChecksum ? CUTS_WITH_CHECKSUM : 0);
    const found = this.#shim.tunnelSegmentation(device);
    return found > 0 && (found & wanted) === wanted;
  }

  #way({ local, mtu }: Route): TunnelWay {
    const { ttl, df, udpChecksum, sendFds } = this.#spec;
    const ports = sendFds.map((fd) => this.#shim.udpPort(fd));
    return {
      fd: this.#outerFd,
      local: parseIpAddress(local)!.bytes.subarray(0, 4),
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
    this.#undo.push(() => void this.#shim.close(outerFd));
    try {
      await this.#lead(name);
      this.#outerFd = outerFd;
    } catch (error) {
      this.#unable = `${name}: ${(error as Error).message}`;
    }
  }

  /** The device up, its program in place. Forwarding is a setting of this device alone. */
  async #lead(name: string): Promise<void> {
    writeSetting(`/proc/sys/net/ipv6/conf/${name}/disable_ipv6`, '1');
    writeFileSync(`/proc/sys/net/ipv4/conf/${name}/forwarding`, '1');
    await setLink(name, 'arp', 'off', 'up');
    const { index } = await getLink(name);
    const linkFd = this.#shim.tunnelAttach(index);
    if (linkFd < 0) throw new HostError(`no program can be attached (${errnoName(linkFd)})`);
    this.#undo.push(() => void this.#shim.close(linkFd));
  }

  /** @param fd a negative errno: there is nothing of that kind to watch */
  #watch(fd: number, heard: () => void): void {
    if (fd < 0) return;
    const poll = this.#shim.pollStart(fd, () => {
      this.#shim.watchClear(fd);
      heard();
    });
    this.#undo.push(() => {
      this.#shim.pollStop(poll);
      this.#shim.close(fd);
    });
  }
}

/** The way that most IPv4 peers are reached by, and the rows of these. There may be a million peers. */
function mostUsed(peers: Iterable<TunnelPeer>): { route: Route | undefined; reached: number[] } {
  const byRoute = new Map<Route, number[]>();
  for (const { peerIdx, family, route } of peers) {
    if (family !== 4 || !route || route.local === '') continue;
    const reached = byRoute.get(route);
    if (reached) reached.push(peerIdx);
    else byRoute.set(route, [peerIdx]);
  }
  const ways = new Map<string, { route: Route; reached: number[] }>();
  for (const [route, reached] of byRoute) {
    const key = `${route.device} ${route.local} ${route.mtu}`;
    ways.set(key, { route, reached: [...(ways.get(key)?.reached ?? []), ...reached] });
  }
  const [most] = [...ways.values()].sort((a, b) => b.reached.length - a.reached.length);
  return most ?? { route: undefined, reached: [] };
}

/** A machine without IPv6 has no such setting. */
function writeSetting(path: string, value: string): void {
  try {
    writeFileSync(path, value);
  } catch {}
}
