/**
 * What a validated configuration looks like: the one shape that flags, the YAML file and, later, REST bodies
 * are turned into. Names are the words of ip-link(8) in camelCase. Frozen once made.
 */
import type { IpAddress } from '../wire/ip-address.js';

export interface Settings {
  readonly vnis: readonly VniSettings[];
  /** Outer source addresses, at most one a family. Empty: chosen per peer, from the route. */
  readonly local: readonly IpAddress[];
  /** Device that the underlay's sockets are bound to; '' none. */
  readonly underlayDev: string;
  /** UDP port listened on and, unless a peer says otherwise, sent to. */
  readonly port: number;
  readonly sourcePorts: { readonly min: number; readonly max: number };
  /** DF of the outer header. */
  readonly df: 'set' | 'unset' | 'inherit';
  /** TTL or hop limit of the outer header. */
  readonly ttl: number;
  /** TOS of the outer header; its two bits of ECN are always those of the inner packet. */
  readonly tos: number | 'inherit';
  /** Lower the MSS of SYNs to what the path carries. */
  readonly mssClamp: boolean;
  /** Outer UDP checksum sent. */
  readonly udpChecksum: boolean;
  /** Known TCP flows may pass through the kernel alone. */
  readonly flowOffload: boolean;
  /** Drop datagrams with reserved bits set. */
  readonly strictHeader: boolean;
  readonly api: ApiListen;
  /** File with the bearer token of the API; '' none. */
  readonly apiTokenFile: string;
  /** A second listener, for metrics and health alone. */
  readonly metrics: { readonly host: string; readonly port: number } | undefined;
  readonly state: StateFile;
  readonly io: 'auto' | 'batch' | 'dgram';
  /** Threads of the data plane. */
  readonly workers: number;
  readonly logLevel: LogLevel;
  readonly logFormat: 'json' | 'pretty';
}

export type LogLevel = 'fatal' | 'error' | 'warn' | 'info' | 'debug' | 'trace';

export type ApiListen =
  | { readonly kind: 'tcp'; readonly host: string; readonly port: number }
  | { readonly kind: 'unix'; readonly path: string }
  | { readonly kind: 'off' };

/** Where what the API changed is kept. */
export interface StateFile {
  /** '' nowhere. */
  readonly path: string;
  /** Somebody asked for it, so that doing without would be wrong. */
  readonly named: boolean;
}

export interface VniSettings {
  readonly vni: number;
  readonly peers: readonly PeerSettings[];
  /** Name of the TAP device. */
  readonly tap: string;
  /** Name of the bridge that the TAP joins; '' none. */
  readonly bridge: string;
  /** Addresses for the TAP, `ADDRESS/LENGTH`. */
  readonly addresses: readonly string[];
  /** MAC of the TAP as text; '' derived. */
  readonly mac: string;
  /** Overlay MTU in bytes, or 'auto': path MTU minus the encapsulation. */
  readonly mtu: number | 'auto';
  readonly learning: boolean;
  /** Seconds; 0 never. */
  readonly ageingS: number;
  /** Most dynamic entries. */
  readonly fdbLimit: number;
  readonly flood: boolean;
  readonly accept: 'peers' | 'any';
  readonly vlan: 'pass' | 'strip' | 'drop';
}

export interface PeerSettings {
  /** An address, or a DNS name that is resolved at start. */
  readonly host: string;
  readonly port: number;
  /** BUM frames go to it. */
  readonly flood: boolean;
}
