/**
 * What the control API stands on, handed in by the composition root: it reads and changes the data plane through
 * these and knows nothing else of the daemon.
 */
import type { Logger } from '../log.js';
import type { DataPlane, PeerAddress, PeerState } from '../worker/data-plane.js';
import type { Engine } from '../worker/protocol.js';
import type { PeerName } from './peer-names.js';

export interface ControlDeps {
  readonly dataPlane: DataPlane;
  /** Asked at each request. */
  readonly status: () => StatusInfo;
  readonly log: Logger;
  /**
   * Address and scope of a peer that a request names.
   *
   * @param host canonical address (`fe80::1%eth0` with its scope), or a DNS name
   * @param port of the peer
   * @throws Error whose message is one line for people: the name has no address, the scope no interface
   */
  readonly resolvePeer: (host: string, port: number) => Promise<PeerAddress>;
  /** Searches the path to a peer; takes seconds. @param progress told of each packet that was sent */
  readonly probe: (vni: number, peer: PeerState, progress: ProbeProgress) => Promise<PeerProbe>;
  /** Looks for what keeps frames from arriving, on this machine and in the daemon; changes nothing. */
  readonly doctor: () => Promise<readonly Finding[]>;
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
  /** Milliseconds since the epoch. */
  readonly startedAtMs: number;
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
