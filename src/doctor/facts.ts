/**
 * Input of the doctor's checks, as data.
 *
 * The checks are pure functions of these facts, so that each check can be tested with recorded
 * output of a real machine. `machine.ts` reads the machine; the daemon provides its own facts.
 */
import type { Report } from '../exchange/report.js';
import type { Link } from '../host/netlink/links.js';
import type { StackDevice } from '../host/overlay-devices.js';

export interface MachineFacts {
  /** All network devices of this network namespace. */
  readonly links: readonly Link[];
  /** Elements of `nft -json list ruleset`; empty if there is no nft or no permission. */
  readonly ruleset: readonly unknown[];
  /**
   * /proc/sys/net/ipv4/conf/DEVICE/rp_filter, indexed by device, including 'all': 0 off, 1 strict,
   * 2 loose.
   */
  readonly rpFilter: ReadonlyMap<string, number>;
  /** Packets that rp_filter has dropped (TcpExt IPReversePathFilter of /proc/net/netstat). */
  readonly rpFilterDrops: number;
  /** UDP datagrams with a wrong checksum, both address families (/proc/net/snmp, snmp6). */
  readonly udpChecksumErrors: number;
  /**
   * Messages of the overlay that each device of `DaemonFacts.stackDevices` accepts. Only devices that
   * accept something have an entry.
   */
  readonly obedience: ReadonlyMap<string, Obedience>;
  /** Undefined: connection tracking is not in use. */
  readonly conntrack: ConntrackFacts | undefined;
}

/** Messages of the overlay that this host accepts by one of its devices. */
export interface Obedience {
  /** True for IPv4 redirects because of `net.ipv4.conf.all.accept_redirects`. */
  readonly redirects: boolean;
  /** Settings that refuse router advertisements and IPv6 redirects, as lines for sysctl(8). */
  readonly ipv6: readonly string[];
}

export interface ConntrackFacts {
  readonly entries: number;
  readonly max: number;
  /** Entries with the UDP port of vtepd. */
  readonly ofPort: number;
}

/** Facts that the daemon provides. */
export interface DaemonFacts {
  readonly port: number;
  readonly uptimeS: number;
  /** Devices through which the peers are reached. */
  readonly underlayDevices: readonly string[];
  /** Devices by which the host's stack receives frames of the VNIs. */
  readonly stackDevices: readonly StackDevice[];
  readonly warnings: readonly Report[];
  readonly notices: readonly Report[];
  readonly vnis: readonly VniFacts[];
  /** Datagrams of VXLAN that arrived by the overlay's own devices. */
  readonly fromOverlay: number;
  /** Frames for VNIs that are not configured. */
  readonly strayFrames: number;
  /** VNI of the last such frame; −1: none. */
  readonly strayVni: number;
}

export interface VniFacts {
  readonly vni: number;
  readonly tap: string;
  /** Frames that the kernel refused to send: no route, a firewall, or no listener at the peer. */
  readonly unsendable: number;
  /** Frames from hosts that are not peers. */
  readonly fromStrangers: number;
  readonly peers: readonly PeerFacts[];
}

export interface PeerFacts {
  readonly address: string;
  readonly txFrames: number;
  readonly received: boolean;
}
