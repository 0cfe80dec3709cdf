/**
 * What the doctor looks at, as data: checks are pure functions of this, so that each can be tested with what a real
 * machine once said. `machine.ts` reads the machine, the daemon tells of itself.
 */
import type { Link } from '../host/link.js';

export interface MachineFacts {
  /** Every device of this network namespace. */
  readonly links: readonly Link[];
  /** Elements of `nft -json list ruleset`; empty where there is none, or no right to see it. */
  readonly ruleset: readonly unknown[];
  /** /proc/sys/net/ipv4/conf/DEVICE/rp_filter by device, 'all' among them: 0 off, 1 strict, 2 loose. */
  readonly rpFilter: ReadonlyMap<string, number>;
  /** Packets that rp_filter has dropped (TcpExt IPReversePathFilter of /proc/net/netstat). */
  readonly rpFilterDrops: number;
  /** UDP datagrams with a wrong checksum, both families (/proc/net/snmp, snmp6). */
  readonly udpChecksumErrors: number;
  /** Undefined: nothing is tracked here. */
  readonly conntrack: ConntrackFacts | undefined;
}

export interface ConntrackFacts {
  readonly entries: number;
  readonly max: number;
  /** Entries of our UDP port. */
  readonly ofPort: number;
}

/** What the daemon knows of itself. */
export interface DaemonFacts {
  readonly port: number;
  readonly uptimeS: number;
  /** Devices by which peers are reached. */
  readonly underlayDevices: readonly string[];
  readonly warnings: readonly { readonly code: string; readonly detail: string }[];
  readonly vnis: readonly VniFacts[];
  /** Frames of VNIs that are not configured, and which one was seen last (−1: none). */
  readonly strayFrames: number;
  readonly strayVni: number;
}

export interface VniFacts {
  readonly vni: number;
  readonly tap: string;
  /** Frames that the kernel did not take for sending: no route, a firewall, nobody there. */
  readonly unsendable: number;
  /** Frames from hosts that are no peers. */
  readonly fromStrangers: number;
  readonly peers: readonly PeerFacts[];
}

export interface PeerFacts {
  readonly address: string;
  readonly txFrames: number;
  readonly received: boolean;
}
