/**
 * What the control API stands on, handed in by the composition root: it reads and changes the data plane through
 * these and knows nothing else of the daemon.
 */
import type { Logger } from '../log.js';
import type { DataPlane, PeerAddress } from '../worker/data-plane.js';
import type { Engine } from '../worker/protocol.js';

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
  readonly warnings: readonly { readonly code: string; readonly detail: string }[];
  /** Path MTU to an address by route and probes, bytes; undefined: not known. @param address canonical text */
  readonly pathMtu: (address: string) => number | undefined;
}
