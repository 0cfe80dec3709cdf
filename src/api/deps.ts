/**
 * What the control API stands on, handed in by the composition root: it reads and changes the data plane through
 * these and knows nothing else of the daemon.
 */
import type { Readable } from 'node:stream';
import type { PeerSettings, VniSettings } from '../config/settings.js';
import type { DataPlane, FdbFilter, PeerState } from '../exchange/data-plane.js';
import type { EventSource } from '../exchange/events.js';
import type { Engine, MacParts } from '../exchange/protocol.js';
import type { Logger } from '../log/log.js';

export interface ControlDeps {
  readonly dataPlane: DataPlane;
  /** Asked at each request. */
  readonly status: () => StatusInfo;
  readonly log: Logger;
  /** What changes anything; reading stays with `dataPlane`. */
  readonly configuration: Configuration;
  /**
   * Reads flags and file anew and applies the difference, as a signal does. @throws ConfigError: the old configuration still
   * holds
   */
  readonly reload: () => Promise<ReloadReport>;
  readonly events: EventSource;
  readonly capture: CaptureSource;
  /** Bearer token that a request must show; '' none. */
  readonly token: string;
  /** Searches the path to a peer; takes seconds. @param progress told of each packet that was sent */
  readonly probe: (vni: number, peer: PeerState, progress: ProbeProgress) => Promise<PeerProbe>;
  /** Looks for what keeps frames from arriving, on this machine and in the daemon; changes nothing. */
  readonly doctor: () => Promise<readonly Finding[]>;
}

/**
 * What REST and the library change. A change is answered after the data plane has applied it and the state
 * file holds it; one that fails has changed nothing. One at a time.
 */
export interface Configuration {
  /** As they hold now, peers as they were configured: by host. @throws DataPlaneError vni_not_found */
  settings(vni: number): VniSettings;
  /** @throws ConfigError, DataPlaneError vni_exists, HostError */
  addVni(settings: VniSettings): Promise<void>;
  /**
   * What may change live: mtu, learning, ageingS, fdbLimit, flood, accept, vlan, bridge, addresses.
   *
   * @param seen asked when its turn has come, after whatever a reload or a name server changes: what it throws, nothing is changed
   * @throws ConfigError for tap and mac: remove the VNI and add it anew
   */
  changeVni(vni: number, changes: Partial<VniSettings>, seen?: () => void): Promise<void>;
  /** @param seen as of `changeVni` */
  removeVni(vni: number, seen?: () => void): Promise<void>;
  /** Every address of a name is a peer. @returns the peers it came to @throws DataPlaneError peer_exists */
  addPeer(vni: number, peer: PeerSettings): Promise<readonly PeerState[]>;
  /**
   * @param host as it was configured
   * @param seen as of `changeVni`
   * @throws DataPlaneError peer_of_name for an address that a name brought
   */
  removePeer(vni: number, host: string, seen?: () => void): Promise<void>;
  /** @param peer canonical text of an address @throws DataPlaneError peer_not_found, fdb_full */
  putFdb(vni: number, mac: MacParts, peer: string): Promise<void>;
  deleteFdb(vni: number, mac: MacParts): Promise<void>;
  /** @returns entries removed */
  flushFdb(vni: number, filter: FdbFilter): Promise<number>;
}

export interface ReloadReport {
  readonly changed: readonly string[];
  /** Settings that take effect at the next start. */
  readonly needsRestart: readonly string[];
  /** false: vtepd runs without --config, and nothing was read. */
  readonly hasFile: boolean;
}

export interface CaptureSource {
  /** @throws DataPlaneError vni_not_found, capture_busy */
  open(options: {
    /** undefined: all. */
    readonly vni: number | undefined;
    readonly point: 'overlay' | 'underlay';
    /** Most bytes of a packet. */
    readonly snapLen: number;
    /** Most packets; without one, it ends when it is closed. */
    readonly limit?: number;
  }): Promise<Capture>;
}

export interface Capture {
  /** Bytes of a pcap file, its header first. */
  readonly stream: Readable;
  close(): Promise<void>;
}

/** Something that hurts: what, why it does, the command that mends it. */
export interface Finding {
  readonly code: string;
  readonly what: string;
  readonly why: string;
  readonly cure: string;
}

/** @param packetLen bytes of the outer IP packet @param outcome 'arrived', 'too-big', 'silent', 'unusable' */
export type ProbeProgress = (packetLen: number, outcome: string) => void;

/** What the search of a path found. Lengths in bytes; undefined: not known. */
export interface PeerProbe {
  /** What answered: 'icmp', 'vtepd', 'arp'; undefined: nothing did. */
  readonly means: string | undefined;
  readonly pathMtu: number | undefined;
  /** One byte more does not arrive. */
  readonly exact: boolean;
  /** Packets sent. */
  readonly probes: number;
  readonly failed: readonly { readonly means: string; readonly why: string }[];
  /** What this machine lets out toward the peer. */
  readonly routeMtu: number | undefined;
  /** Largest overlay MTU of this path. */
  readonly fits: number | undefined;
  readonly overlayMtu: number;
  /** Device MTU of the VNI's TAP. */
  readonly tapMtu: number;
  /** Everything that the overlay may send fits. */
  readonly good: boolean;
  /** One line for people. */
  readonly summary: string;
}

/** What the daemon knows about itself and the data plane does not. */
export interface StatusInfo {
  readonly version: string;
  /** Milliseconds since the epoch, by the wall clock of now. */
  readonly startedAtMs: number;
  readonly uptimeS: number;
  /** Wall-clock time of a moment of CLOCK_MONOTONIC, ms both: for what is shown. */
  readonly epochMs: (monotonicMs: number) => number;
  readonly underlay: {
    /** Outer source addresses in use, as text. */
    readonly local: readonly string[];
    /** Device that the sockets are bound to; '' none. */
    readonly device: string;
    readonly port: number;
    readonly io: Engine;
    /** Offloads in use, in the kernel's words: `UDP_GRO`, `TUN_F_TSO4` … */
    readonly offloads: readonly string[];
  };
  /** Names of peers that are followed; absent: there are none. */
  readonly names?: readonly PeerName[];
  readonly warnings: readonly { readonly code: string; readonly detail: string }[];
  /** Path MTU to an address by route and probes, bytes; undefined: not known. @param address canonical text */
  readonly pathMtu: (address: string) => number | undefined;
}

/** What is known of one name. */
export interface PeerName {
  readonly name: string;
  readonly addresses: readonly { readonly text: string }[];
  /** Why the last lookup failed; '' it did not. */
  readonly error: string;
  /** Lookups that failed. */
  readonly failures: number;
  /** When it resolved last, ms since the epoch; 0: never. */
  readonly lastSuccessMs: number;
}
