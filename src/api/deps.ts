/**
 * Interfaces that the control API uses to read and change the daemon.
 *
 * The composition root passes them in; the API knows nothing else of the daemon.
 */
import type { Readable } from 'node:stream';
import type { PeerSettings, VniSettings } from '../config/settings.js';
import type { DataPlane, FdbFilter, PeerState } from '../exchange/data-plane.js';
import type { EventSource } from '../exchange/events.js';
import type { Engine, MacParts } from '../exchange/protocol.js';
import type { NotReadyReason, Report } from '../exchange/report.js';
import type { Logger } from '../log/log.js';

export interface ControlDeps {
  readonly dataPlane: DataPlane;
  /** Called at each request. */
  readonly status: () => StatusInfo;
  /** Reasons for which the VTEP is not ready; empty: it is ready. Called at each request. */
  readonly notReady: () => readonly NotReadyReason[];
  readonly log: Logger;
  /** All changes go through this; reads use `dataPlane`. */
  readonly configuration: Configuration;
  /**
   * Reads flags and configuration file again and applies the difference, as SIGHUP does.
   *
   * @throws ConfigError when the new configuration is invalid; the old one stays in effect
   */
  readonly reload: () => Promise<ReloadReport>;
  readonly events: EventSource;
  readonly capture: CaptureSource;
  /** Bearer token that requests must carry; '' for none. */
  readonly token: string;
  /**
   * Measures the path MTU to a peer; takes seconds.
   *
   * @param progress called for each packet sent
   */
  readonly probe: (vni: number, peer: PeerState, progress: ProbeProgress) => Promise<PeerProbe>;
  /** Runs the doctor's checks on this machine and the daemon; changes nothing. */
  readonly doctor: () => Promise<readonly Finding[]>;
}

/**
 * Changes by REST and the library. A change resolves after the data plane has applied it and the
 * state file contains it; a change that fails has no effect. Changes run one at a time.
 */
export interface Configuration {
  /**
   * Current settings; peers are listed by host, as configured.
   *
   * @throws DataPlaneError vni_not_found
   */
  settings(vni: number): VniSettings;
  /** @throws ConfigError, DataPlaneError vni_exists, HostError */
  addVni(settings: VniSettings): Promise<void>;
  /**
   * Changes settings at run time: mtu, learning, ageingS, fdbLimit, flood, accept, vlan, bridge,
   * addresses.
   *
   * @param precondition called after all earlier changes, including reloads and new addresses of
   * names; if it throws, nothing is changed
   * @throws ConfigError for tap and mac, which cannot change: remove the VNI and add it again
   */
  changeVni(vni: number, changes: Partial<VniSettings>, precondition?: () => void): Promise<void>;
  /** @param precondition as for `changeVni` */
  removeVni(vni: number, precondition?: () => void): Promise<void>;
  /**
   * Adds a peer. For a name, each of its addresses becomes a peer.
   *
   * @returns the peers added
   * @throws DataPlaneError peer_exists
   */
  addPeer(vni: number, peer: PeerSettings): Promise<readonly PeerState[]>;
  /**
   * @param host host as configured
   * @param precondition as for `changeVni`
   * @throws DataPlaneError peer_of_name when `host` is an address that a name resolved to
   */
  removePeer(vni: number, host: string, precondition?: () => void): Promise<void>;
  /**
   * @param peer canonical text of an address
   * @throws DataPlaneError peer_not_found, fdb_full
   */
  putFdb(vni: number, mac: MacParts, peer: string): Promise<void>;
  deleteFdb(vni: number, mac: MacParts): Promise<void>;
  /** @returns number of entries removed */
  flushFdb(vni: number, filter: FdbFilter): Promise<number>;
}

export interface ReloadReport {
  readonly changed: readonly string[];
  /** Settings that take effect at the next start. */
  readonly needsRestart: readonly string[];
  /** False when vtepd runs without --config: no file was read. */
  readonly hasFile: boolean;
}

export interface CaptureSource {
  /** @throws DataPlaneError vni_not_found, capture_busy */
  open(options: {
    /** Undefined for all VNIs. */
    readonly vni: number | undefined;
    readonly point: 'overlay' | 'underlay';
    /** Maximum bytes captured per packet. */
    readonly snapLen: number;
    /** Maximum number of packets; without it the capture runs until it is closed. */
    readonly limit?: number;
  }): Promise<Capture>;
}

export interface Capture {
  /** A pcap file, header first. */
  readonly stream: Readable;
  close(): Promise<void>;
}

/** A finding of the doctor: problem (`what`), consequence (`why`) and remedy (`cure`). */
export interface Finding {
  /** True: worth knowing, but no problem. */
  readonly notice?: true;
  readonly code: string;
  readonly what: string;
  readonly why: string;
  readonly cure: string;
}

/**
 * @param packetLen bytes of the outer IP packet
 * @param outcome 'arrived', 'too-big', 'silent' or 'unusable'
 */
export type ProbeProgress = (packetLen: number, outcome: string) => void;

/** Result of a path MTU probe. Lengths are in bytes; undefined: unknown. */
export interface PeerProbe {
  /** Kind of packet that was answered: 'icmp', 'vtepd' or 'arp'; undefined: none. */
  readonly means: string | undefined;
  readonly pathMtu: number | undefined;
  /** True when a packet of `pathMtu` + 1 bytes does not arrive. */
  readonly exact: boolean;
  /** Number of packets sent. */
  readonly probes: number;
  readonly failed: readonly { readonly means: string; readonly why: string }[];
  /** MTU of the local route to the peer. */
  readonly routeMtu: number | undefined;
  /** Largest overlay MTU that fits this path. */
  readonly fits: number | undefined;
  readonly overlayMtu: number;
  /** Device MTU of the VNI's TAP. */
  readonly tapMtu: number;
  /** True when every packet of the overlay MTU fits the path. */
  readonly good: boolean;
  /** One line for humans. */
  readonly summary: string;
}

/** Status of the daemon, without that of the data plane. */
export interface StatusInfo {
  readonly version: string;
  /** Milliseconds since the epoch, by the current wall clock. */
  readonly startedAtMs: number;
  readonly uptimeS: number;
  /** Converts a CLOCK_MONOTONIC time to wall-clock time for display, both in ms. */
  readonly epochMs: (monotonicMs: number) => number;
  readonly underlay: {
    /** Outer source addresses in use, as text. */
    readonly local: readonly string[];
    /** Device that the sockets are bound to; '' for none. */
    readonly device: string;
    readonly port: number;
    readonly io: Engine;
    /** Offloads in use, by their kernel names: `UDP_GRO`, `TUN_F_TSO4` … */
    readonly offloads: readonly string[];
  };
  /** Peer names that are resolved periodically; absent: none. */
  readonly names?: readonly PeerName[];
  readonly warnings: readonly Report[];
  readonly notices: readonly Report[];
  /**
   * Path MTU to an address, by route and probes, in bytes; undefined: unknown.
   *
   * @param address canonical text
   */
  readonly pathMtu: (address: string) => number | undefined;
}

/** State of one peer name. */
export interface PeerName {
  readonly name: string;
  readonly addresses: readonly { readonly text: string }[];
  /** Reason why the last lookup failed; '' when it succeeded. */
  readonly error: string;
  /** Number of failed lookups. */
  readonly failures: number;
  /** Time of the last successful lookup, ms since the epoch; 0: never. */
  readonly lastSuccessMs: number;
}
