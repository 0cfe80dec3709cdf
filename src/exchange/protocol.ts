/**
 * Messages between the main thread and a worker: plain data, both directions.
 *
 * The main thread sends requests, each with an id; the worker answers them in order with `done` or
 * `failed`, and also sends events. The main thread assigns every index (VNI row, peer row), so that
 * all workers use the same indices, and a successor finds FDB and counters as its predecessor left
 * them.
 */

import type { RowAddress } from '../abi/peer-row.js';
import type { Settings, VniSettings } from '../config/settings.js';

/** I/O engine of the underlay sockets. */
export type Engine = 'batch' | 'dgram';

/**
 * Everything a worker needs to start. The process owns the descriptors, the main thread the
 * buffers.
 */
export interface WorkerInit {
  engine: Engine;
  /** Index of the worker, from 0. */
  index: number;
  /** Counter block (`exchange/counters.ts`). */
  counters: SharedArrayBuffer;
  /** Peer rows, 32 bytes each (`struct peer_row`). */
  peers: SharedArrayBuffer;
  /** Memory of the FDB with the entries of a predecessor; empty: no predecessor. */
  fdb: SharedArrayBuffer[];
  /** Random 32-bit integer: seed of the FDB's hash. */
  seed: number;
  /** epoll descriptor. */
  waitFd: number;
  /** eventfd that wakes the worker. */
  wakeFd: number;
  underlay: UnderlayInit;
  /** Offloads in use by all threads (`exchange/offloads.ts`). */
  offloads: SharedArrayBuffer;
  /** True: a datagram with reserved bits set is dropped; false: it is counted and accepted. */
  strictHeader: boolean;
  outer: OuterPolicy;
  /** UDP port of the listening sockets, and destination port of learned peers. */
  port: number;
  /** Rings for notes between workers; undefined for a single worker. */
  notes: NotesInit | undefined;
}

/** Outer-header policy (DF, TOS) and MSS clamping. */
export interface OuterPolicy {
  df: Settings['df'];
  /** TOS byte, or `inherit`: that of the inner packet. */
  tos: Settings['tos'];
  /** Lower the MSS of SYNs to what the path carries. */
  mssClamp: boolean;
  /**
   * Random 32-bit integer that determines source ports. It differs from `seed`, because observers
   * of source ports can derive this integer.
   */
  flowSecret: number;
}

export interface NotesInit {
  /** One ring for each ordered pair of workers. */
  rings: SharedArrayBuffer;
  workers: number;
  /** Number of changes so far that removed FDB entries (`isRemoval`). */
  epoch: number;
}

export interface UnderlayInit {
  /**
   * The worker's receiving sockets per address family, in the order of the receive group; empty:
   * the address family is not used.
   */
  receiveFds: { readonly ipv4: readonly number[]; readonly ipv6: readonly number[] };
  /**
   * Sockets of the source-port pools, ordered as in `UdpFds.send`; −1: none. All workers send
   * through these sockets.
   */
  sendFds: number[];
}

/** `TunnelSetup` of port/tunnel: an outer TAP that accepts whole IPv4 superframes. */
export interface TunnelInit {
  fd: number;
  /** Local underlay address, 4 bytes. */
  local: Uint8Array;
  /** Largest outer IP packet, bytes. */
  mtu: number;
  ttl: number;
  df: boolean;
  udpChecksum: boolean;
  /** UDP source ports, indexed by socket of the source-port pool. */
  ports: number[];
}

/** `FlowInit` of port/flow-maps: maps of the TCP flows that the kernel may forward. */
export interface FlowsInit {
  rows: number;
  counts: number;
  /** Slots of each worker, a power of two. */
  slots: number;
  /** True if there are other workers. */
  shared: boolean;
  ttl: number;
  udpChecksum: boolean;
}

/** Forwarding policy of one VNI. */
export interface VniPolicy {
  learning: boolean;
  /** Seconds until an entry that is not refreshed is removed; 0: never. */
  ageingS: number;
  /** Maximum number of dynamic FDB entries. */
  fdbLimit: number;
  /** Unknown unicast goes to the flood list. */
  flood: boolean;
  accept: VniSettings['accept'];
  vlan: VniSettings['vlan'];
  /** Largest IP packet of the overlay, bytes: segments of received superframes are no larger. */
  overlayMtu: number;
  /**
   * The VNI's `--mtu`: largest IP packet accepted from the TAP regardless of path MTUs, bytes; 0:
   * limited by path MTUs only.
   */
  packetMax: number;
}

/** A MAC as two integers: the first two bytes, the last four. */
export interface MacParts {
  high: number;
  low: number;
}

/** A packed address: the content of a peer row. */
export type PackedAddress = RowAddress;

/** A list of peers in columns of shared memory, which several VNIs can use without a copy. */
export interface PackedPeers {
  /** 4 or 6. */
  family: Uint8Array;
  /** ADDRESS_LEN bytes per peer, IPv4 in the first four. */
  bytes: Uint8Array;
  port: Uint16Array;
  scopeId: Uint32Array;
  /** 1: in the flood list. */
  flood: Uint8Array;
  /**
   * Path MTU, bytes; 0: unknown to the main thread, which keeps the column up to date; PATH_HELD:
   * nothing is sent to the peer.
   */
  pathMtu: Int32Array;
}

export const ADDRESS_LEN = 16;

/** In place of a path MTU: the route to the peer leads into the overlay, so nothing is sent to it. */
export const PATH_HELD = -1;

export function packPeers(
  list: readonly { address: PackedAddress; flood: boolean; pathMtu: number }[],
): PackedPeers {
  const { length } = list;
  const packed = {
    family: new Uint8Array(new SharedArrayBuffer(length)),
    bytes: new Uint8Array(new SharedArrayBuffer(length * ADDRESS_LEN)),
    port: new Uint16Array(new SharedArrayBuffer(length * 2)),
    scopeId: new Uint32Array(new SharedArrayBuffer(length * 4)),
    flood: new Uint8Array(new SharedArrayBuffer(length)),
    pathMtu: new Int32Array(new SharedArrayBuffer(length * 4)),
  };
  for (const [i, { address, flood, pathMtu }] of list.entries()) {
    packed.family[i] = address.family;
    packed.bytes.set(address.bytes, i * ADDRESS_LEN);
    packed.port[i] = address.port;
    packed.scopeId[i] = address.scopeId;
    packed.flood[i] = flood ? 1 : 0;
    packed.pathMtu[i] = pathMtu;
  }
  return packed;
}

export type Change =
  /** Adds a VNI that is neither read nor found until `vni.up`. */
  | {
      op: 'vni.add';
      vniIdx: number;
      vni: number;
      /** MAC of the TAP; a received frame with this source MAC is a loop. */
      mac: MacParts;
      policy: VniPolicy;
      /** Peer row that counts frames of sources that are not peers. */
      otherIdx: number;
      /** Generation of the VNI row; a row with another generation is reset to zero. */
      generation: number;
      /** Generation of the row `otherIdx`. */
      otherGeneration: number;
    }
  /** Begins to forward for an added VNI, after its peers were added. */
  | {
      op: 'vni.up';
      vniIdx: number;
      /** The worker's own queue of the TAP. */
      tapFd: number;
    }
  /**
   * Replaces the TAP of a VNI. After the answer, the main thread can close the descriptor of the
   * earlier one.
   */
  | { op: 'vni.tap'; vniIdx: number; tapFd: number; mac: MacParts }
  /**
   * Also removes the peers and FDB entries of the VNI. After the answer, the main thread can reuse
   * the row of the VNI and the rows of its peers.
   */
  | { op: 'vni.del'; vniIdx: number }
  /**
   * The policy takes effect as a whole with the next frame. Entries above a lowered limit are
   * evicted.
   */
  | { op: 'vni.set'; vniIdx: number; policy: VniPolicy }
  | {
      op: 'peer.add';
      vniIdx: number;
      peers: PackedPeers;
      /** Index of the first peer in the list. */
      from: number;
      count: number;
      /** Row of the first peer; the other peers use the rows after it. */
      peerIdx: number;
      /** Generation of all these rows. */
      generation: number;
    }
  | { op: 'peer.del'; peerIdx: number }
  /** Path MTUs have changed; fields as in `peer.add`. */
  | { op: 'peer.paths'; peers: PackedPeers; from: number; count: number; peerIdx: number }
  /** The outer TAP on which superframes leave whole, and the peers that use it. */
  | { op: 'tunnel'; tunnel: TunnelInit; peers: Int32Array }
  /** Maps of the TCP flows that the kernel may forward; undefined: flow offload is off. */
  | { op: 'flows'; flows: FlowsInit | undefined }
  /**
   * Devices of the overlay: TAPs, their bridges, and devices stacked on these. VXLAN that arrives by
   * one of them is dropped. Replaces the previous list.
   */
  | { op: 'overlay.devices'; indexes: Int32Array }
  | { op: 'fdb.put'; vniIdx: number; mac: MacParts; peerIdx: number }
  | { op: 'fdb.del'; vniIdx: number; mac: MacParts }
  /** Removes entries of these peer rows only; undefined: of any peer. */
  | {
      op: 'fdb.flush';
      vniIdx: number;
      type: 'static' | 'dynamic' | 'all';
      peers: ReadonlySet<number> | undefined;
    }
  | {
      op: 'fdb.list';
      vniIdx: number;
      type: 'static' | 'dynamic' | 'all';
      peers: ReadonlySet<number> | undefined;
      limit: number;
      cursor: number;
    }
  /** Another worker received a report of a smaller path MTU; `row` as in PathErrors. */
  | { op: 'path.report'; row: Int32Array; mtu: number }
  /** Turns reports of FDB changes on or off. */
  | { op: 'events'; on: boolean }
  /**
   * Starts or stops capturing packets into the ring of the worker (`exchange/capture-ring.ts`).
   * `vniIdx` −1: all VNIs.
   */
  | ({ op: 'capture'; on: boolean } & CaptureChange)
  /**
   * After a crash: counts the FDB entries of the predecessor, and removes the entries of VNIs and
   * peers that are not configured any more.
   */
  | { op: 'fdb.adopt' }
  /** Sends nothing by the sockets of the held families, whose local address is missing. */
  | ({ op: 'underlay.hold' } & Held)
  /** Addresses of this host as packed rows: no frame from them is learned (`--accept any`). */
  | { op: 'underlay.own'; rows: Int32Array }
  /**
   * Begins to forward, once the VNIs and peers of the start or of a predecessor are configured.
   * Until then, frames wait in the queues of TAPs and sockets.
   */
  | { op: 'forward'; droppedBefore: DropsBefore }
  | { op: 'stop' };

export interface CaptureChange {
  vniIdx: number;
  point: 'overlay' | 'underlay';
  /** Most bytes of a packet to keep. */
  snapLen: number;
  ring: SharedArrayBuffer;
}

/** Address families whose datagrams are held back. */
export interface Held {
  readonly ipv4: boolean;
  readonly ipv6: boolean;
}

/** Datagrams that the sockets of a worker dropped before the VTEP began to forward. */
export interface DropsBefore {
  fromPeers: number;
  fromStrangers: number;
}

/**
 * Returns true for changes that remove FDB entries. Every worker makes these changes in the same
 * order and counts them.
 */
export function isRemoval({ op }: Change): boolean {
  return op === 'vni.del' || op === 'peer.del' || op === 'fdb.del' || op === 'fdb.flush';
}

/**
 * Returns true for changes that may alter the forwarding or capturing of a frame.
 *
 * `path.report` is excluded: remote hosts can trigger it, and only a report that lowers a path MTU
 * ends the leases of flows (`Loop.lowerPath`).
 */
export function isForwarding({ op }: Change): boolean {
  return op !== 'fdb.list' && op !== 'events' && op !== 'path.report';
}

/** Time until a change that the data plane has not acknowledged fails, ms. */
export const CHANGE_TIMEOUT_MS = 2000;

export interface Request {
  id: number;
  change: Change;
}

/** Result of a change besides "done". */
export interface Answer {
  /** fdb.del, fdb.flush: entries removed. */
  removed?: number;
  /** fdb.list: rows of `FdbPage`. */
  page?: Int32Array<ArrayBuffer>;
  /** fdb.list: cursor of the next page; −1: this was the last page. */
  nextCursor?: number;
}

/** 64 random bits as two int32. */
export interface ProbeNonce {
  high: number;
  low: number;
}

/** Stable codes of a change that the data plane refused. */
export type ChangeErrorCode = 'fdb_entry_not_found' | 'internal';

export type Report =
  /** The ports are open: changes are accepted from now on. */
  | { kind: 'up' }
  | { kind: 'done'; id: number; answer: Answer }
  | { kind: 'failed'; id: number; code: ChangeErrorCode; detail: string }
  /**
   * The network reported a smaller path MTU; `row` as in PathErrors. The main thread informs the
   * other workers.
   */
  | { kind: 'path'; row: Int32Array; mtu: number }
  | { kind: 'fdb-grown'; fdb: SharedArrayBuffer[] }
  /**
   * Reply to a path probe, genuine only if `nonce` matches. `len`: UDP payload bytes of the
   * request; 0: ARP reply.
   */
  | { kind: 'probe-reply'; peerIdx: number; nonce: ProbeNonce; len: number }
  /** FDB events (`fdb-report.ts`): at most one report per tenth of a second. */
  | { kind: 'fdb-events'; rows: Int32Array<ArrayBuffer>; lost: number; tick: number }
  | { kind: 'log'; level: 'info' | 'warn' | 'error'; message: string; fields: Record<string, unknown> };
