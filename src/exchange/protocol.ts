/**
 * What the main thread and a worker say to each other: plain data, both directions. Down come requests, each with an
 * id, answered in order with `done` or `failed`; up come answers and events. The main thread assigns every index
 * (VNI row, peer row), so that all workers have the same, and a replaced one finds FDB and counters as its predecessor
 * left them.
 */

import type { RowAddress } from '../abi/peer-row.js';
import type { Settings, VniSettings } from '../config/settings.js';

/** How the underlay's sockets are driven. */
export type Engine = 'batch' | 'dgram';

/** Everything a worker needs to start. Descriptors belong to the process; buffers to the main thread. */
export interface WorkerInit {
  engine: Engine;
  /** Which of the workers this is, from 0. */
  index: number;
  /** Counter block (`exchange/counters.ts`). */
  counters: SharedArrayBuffer;
  /** Peer rows, 32 bytes each (`struct peer_row`). */
  peers: SharedArrayBuffer;
  /** Memory of the FDB with what a predecessor left in it; empty: there was none. */
  fdb: SharedArrayBuffer[];
  /** Random 32-bit integer: seed of the FDB's hash. */
  seed: number;
  /** epoll and wake-up eventfd. */
  waitFd: number;
  wakeFd: number;
  underlay: UnderlayInit;
  /** Which offloads are in use (`exchange/offloads.ts`), by all threads. */
  offloads: SharedArrayBuffer;
  /** Reserved bits set: drop (true), or count and go on. */
  strictHeader: boolean;
  outer: OuterPolicy;
  /** UDP port listened on; learned peers are sent to it. */
  port: number;
  /** How workers tell each other what they learn; undefined for a single one. */
  notes: NotesInit | undefined;
}

/** The outer header of what is sent, and what is done lest it be too big. */
export interface OuterPolicy {
  df: Settings['df'];
  /** TOS byte, or that of the inner packet. */
  tos: Settings['tos'];
  /** Lower the MSS of SYNs to what the path carries. */
  mssClamp: boolean;
  /** Random 32-bit integer that determines source ports. Distinct from `seed`, as an observer of ports can learn it. */
  flowSecret: number;
}

export interface NotesInit {
  /** One ring for each ordered pair of workers. */
  rings: SharedArrayBuffer;
  workers: number;
  /** Changes so far that removed FDB entries (`isRemoval`). */
  epoch: number;
}

export interface UnderlayInit {
  /** The worker's own receiving sockets by family, by place in the receive group; none: no such family. */
  receiveFds: { readonly ipv4: readonly number[]; readonly ipv6: readonly number[] };
  /** Sockets of the source-port pools as `UdpFds.send` has them; −1: none. All workers send through them. */
  sendFds: number[];
}

/** `TunnelSetup` of port/tunnel: an outer TAP that takes superframes of IPv4 as they are. */
export interface TunnelInit {
  fd: number;
  /** Our address, 4 bytes. */
  local: Uint8Array;
  /** Largest outer IP packet, bytes. */
  mtu: number;
  ttl: number;
  df: boolean;
  udpChecksum: boolean;
  /** UDP source port by socket of the pool. */
  ports: number[];
}

/** `FlowInit` of port/flow-maps: where the kernel is told of TCP flows that it may pass. */
export interface FlowsInit {
  rows: number;
  counts: number;
  /** Slots of each worker, a power of two. */
  slots: number;
  /** There are other workers. */
  shared: boolean;
  ttl: number;
  udpChecksum: boolean;
}

/** Behaviour of one VNI on the frame's way. */
export interface VniPolicy {
  learning: boolean;
  /** Seconds until an entry that is not refreshed is removed; 0: never. */
  ageingS: number;
  /** Most dynamic FDB entries. */
  fdbLimit: number;
  /** Unknown unicast goes to the flood list. */
  flood: boolean;
  accept: VniSettings['accept'];
  vlan: VniSettings['vlan'];
  /** Largest IP packet of the overlay, bytes: segments of received superframes are no larger. */
  overlayMtu: number;
  /** Largest IP packet taken from the TAP, whatever the paths carry, bytes; 0: as large as they carry. */
  packetMax: number;
}

/** A MAC as two integers: the first two bytes, the last four. */
export interface MacParts {
  high: number;
  low: number;
}

/** A packed address: what a peer row holds. */
export type PackedAddress = RowAddress;

/** A list of peers in columns of shared memory: said again for another VNI, it is not copied. */
export interface PackedPeers {
  /** 4 or 6. */
  family: Uint8Array;
  /** ADDRESS_LEN each, IPv4 in the first four. */
  bytes: Uint8Array;
  port: Uint16Array;
  scopeId: Uint32Array;
  /** 1: in the flood list. */
  flood: Uint8Array;
  /** Path MTU as far as the main thread knows it, bytes; 0: it does not. It is kept up to date. */
  pathMtu: Int32Array;
}

export const ADDRESS_LEN = 16;

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
  | {
      op: 'vni.add';
      vniIdx: number;
      vni: number;
      /** The worker's own queue of the TAP. */
      tapFd: number;
      /** MAC of the TAP: a received frame that claims it is a loop. */
      mac: MacParts;
      policy: VniPolicy;
      /** Peer row that counts frames of sources that are not peers. */
      otherIdx: number;
      /** Of the VNI's row and of the `other` row: a row that had another one begins at zero. */
      generation: number;
      otherGeneration: number;
    }
  /** Peers and FDB entries of a VNI go with it. Its row, and those of its peers, are free when this is answered. */
  | { op: 'vni.del'; vniIdx: number }
  /** From the next frame on this holds, all of it. Entries that a lower limit has no room for are evicted. */
  | { op: 'vni.set'; vniIdx: number; policy: VniPolicy }
  | {
      op: 'peer.add';
      vniIdx: number;
      peers: PackedPeers;
      /** Which of them. */
      from: number;
      count: number;
      /** Row of the first one; the others have the rows behind it. */
      peerIdx: number;
      /** Of all these rows. */
      generation: number;
    }
  | { op: 'peer.del'; peerIdx: number }
  /** What is known of paths has changed; fields as in `peer.add`. */
  | { op: 'peer.paths'; peers: PackedPeers; from: number; count: number; peerIdx: number }
  /** The way on which superframes leave whole, and the peers that are reached by it. */
  | { op: 'tunnel'; tunnel: TunnelInit; peers: Int32Array }
  /** Maps for TCP flows through the kernel; undefined: there are none, or none any more. */
  | { op: 'flows'; flows: FlowsInit | undefined }
  | { op: 'fdb.put'; vniIdx: number; mac: MacParts; peerIdx: number }
  | { op: 'fdb.del'; vniIdx: number; mac: MacParts }
  /** Entries of these rows alone; undefined: of any. */
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
  /** Another worker has heard that a path carries less; `row` as PathErrors has it. */
  | { op: 'path.report'; row: Int32Array; mtu: number }
  /** Somebody wants to be told of changes of the FDB, by reports; or nobody any more. */
  | { op: 'events'; on: boolean }
  /** Packets are taken down into this ring (`exchange/capture-ring.ts`), each worker's own; or no more. `vniIdx` −1: of all VNIs. */
  | ({ op: 'capture'; on: boolean } & CaptureChange)
  /** After a crash: count what the predecessor left in the FDB and drop what this configuration does not know. */
  | { op: 'fdb.adopt' }
  | { op: 'stop' };

export interface CaptureChange {
  vniIdx: number;
  point: 'overlay' | 'underlay';
  /** Bytes of a packet that are kept at most. */
  snapLen: number;
  ring: SharedArrayBuffer;
}

/** Changes that remove FDB entries. Every worker makes them in the same order, and counts them. */
export function isRemoval({ op }: Change): boolean {
  return op === 'vni.del' || op === 'peer.del' || op === 'fdb.del' || op === 'fdb.flush';
}

/**
 * Changes after which a frame may go another way, or is to be seen. A `path.report` is not one of them: remote hosts bring it
 * about, and only one that lowers a path ends the leases of flows (`Loop.lowerPath`).
 */
export function isForwarding({ op }: Change): boolean {
  return op !== 'fdb.list' && op !== 'events' && op !== 'path.report';
}

/** How long a change may take before its caller is told that the data plane does not answer, ms. */
export const CHANGE_TIMEOUT_MS = 2000;

export interface Request {
  id: number;
  change: Change;
}

/** What a change answers beside "done". */
export interface Answer {
  /** fdb.del, fdb.flush: entries removed. */
  removed?: number;
  /** fdb.list: rows of `FdbPage`. */
  page?: Int32Array<ArrayBuffer>;
  /** fdb.list: where the next page starts; −1: this was the last. */
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
  /** The ports are open: changes are taken from now on. */
  | { kind: 'up' }
  | { kind: 'done'; id: number; answer: Answer }
  | { kind: 'failed'; id: number; code: ChangeErrorCode; detail: string }
  /** A path got smaller, as the network said; `row` as PathErrors has it. The other workers do not know. */
  | { kind: 'path'; row: Int32Array; mtu: number }
  | { kind: 'fdb-grown'; fdb: SharedArrayBuffer[] }
  /** A path probe was answered, or somebody pretends so: `nonce` tells. `len`: UDP payload bytes that arrived; 0: ARP. */
  | { kind: 'probe-reply'; peerIdx: number; nonce: ProbeNonce; len: number }
  /** What became of FDB entries (`fdb-report.ts`): at most one report in a tenth of a second. */
  | { kind: 'fdb-events'; rows: Int32Array<ArrayBuffer>; lost: number; tick: number }
  | { kind: 'log'; level: 'info' | 'warn' | 'error'; message: string; fields: Record<string, unknown> };
