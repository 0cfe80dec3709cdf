/**
 * What the main thread and a worker say to each other: plain data, both directions. Down come requests, each with an
 * id, answered in order with `done` or `failed`; up come answers and events. The main thread assigns every index
 * (VNI row, peer row), so that all workers have the same, and a replaced one finds FDB and counters as its predecessor
 * left them.
 */

/** How the underlay's sockets are driven. `memory`: no sockets at all, for tests. */
export type Engine = 'batch' | 'dgram' | 'memory';

/** Everything a worker needs to start. Descriptors belong to the process; buffers to the main thread. */
export interface WorkerInit {
  engine: Engine;
  /** Which of the workers this is, from 0. */
  index: number;
  /** Counter block (`stats/counters.ts`). */
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
  /** Flows whose segments are written to a TAP as superframes; UDP takes a kernel that knows USO. */
  merge: { tcp: boolean; udp: boolean };
  /** Reserved bits set: drop (true), or count and go on. */
  strictHeader: boolean;
  /** UDP port listened on; learned peers are sent to it. */
  port: number;
  /** How workers tell each other what they learn; undefined for a single one. */
  notes: NotesInit | undefined;
}

export interface NotesInit {
  /** One ring for each ordered pair of workers. */
  rings: SharedArrayBuffer;
  workers: number;
  /** Changes so far that removed FDB entries (`isRemoval`). */
  epoch: number;
}

export interface UnderlayInit {
  /** The worker's own receiving sockets by family, −1: none. */
  receiveFds: { ipv4: number; ipv6: number };
  /** Sockets of the source-port pool, SOURCE_SOCKETS a family, IPv4 first; −1: none. All workers send through them. */
  sendFds: number[];
  /** Send neighbours of one size for one peer as UDP_SEGMENT trains. Needs UDP checksums. */
  trains: boolean;
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
  accept: 'peers' | 'any';
  vlan: 'pass' | 'strip' | 'drop';
  /** Largest IP packet of the overlay, bytes: segments of received superframes are no larger. */
  overlayMtu: number;
}

/** A MAC as two integers: the first two bytes, the last four. */
export interface MacParts {
  high: number;
  low: number;
}

/** A packed address: what a peer row holds. */
export interface PackedAddress {
  family: 4 | 6;
  /** 16 bytes, IPv4 in the first four. */
  bytes: Uint8Array;
  port: number;
  scopeId: number;
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
      generation: number;
    }
  | {
      op: 'peer.add';
      vniIdx: number;
      peerIdx: number;
      address: PackedAddress;
      flood: boolean;
      generation: number;
    }
  | { op: 'peer.del'; peerIdx: number }
  /** Bytes of the largest IP packet of the overlay. */
  | { op: 'vni.mtu'; vniIdx: number; overlayMtu: number }
  | { op: 'fdb.put'; vniIdx: number; mac: MacParts; peerIdx: number }
  | { op: 'fdb.del'; vniIdx: number; mac: MacParts }
  | { op: 'fdb.flush'; vniIdx: number; type: 'static' | 'dynamic' | 'all'; peerIdx: number }
  | {
      op: 'fdb.list';
      vniIdx: number;
      type: 'static' | 'dynamic' | 'all';
      peerIdx: number;
      limit: number;
      cursor: number;
    }
  /** After a crash: count what the predecessor left in the FDB and drop what this configuration does not know. */
  | { op: 'fdb.adopt' }
  | { op: 'stop' };

/** Changes that remove FDB entries. Every worker makes them in the same order, and counts them. */
export function isRemoval({ op }: Change): boolean {
  return op === 'peer.del' || op === 'fdb.del' || op === 'fdb.flush';
}

export interface Request {
  id: number;
  change: Change;
}

/** One FDB entry as a list shows it. */
export interface FdbItem {
  mac: MacParts;
  /** Packed address of where it lives; a learned peer has no row that main knows of. */
  address: PackedAddress;
  type: 'static' | 'dynamic';
  ageMs: number;
}

/** What a change answers beside "done". */
export interface Answer {
  /** fdb.del, fdb.flush: entries removed. */
  removed?: number;
  /** fdb.list. */
  items?: FdbItem[];
  /** fdb.list: where the next page starts; −1: this was the last. */
  nextCursor?: number;
}

/** 64 random bits as two int32. */
export interface ProbeNonce {
  high: number;
  low: number;
}

/** Stable codes of a change that the data plane refused. */
export type ChangeErrorCode = 'fdb_entry_not_found' | 'fdb_full' | 'internal';

export type Report =
  /** The ports are open: changes are taken from now on. */
  | { kind: 'up' }
  | { kind: 'done'; id: number; answer: Answer }
  | { kind: 'failed'; id: number; code: ChangeErrorCode; detail: string }
  | { kind: 'fdb-grown'; fdb: SharedArrayBuffer[] }
  /** A path probe was answered, or somebody pretends so: `nonce` tells. `len`: UDP payload bytes that arrived; 0: ARP. */
  | { kind: 'probe-reply'; peerIdx: number; nonce: ProbeNonce; len: number }
  | { kind: 'log'; level: 'info' | 'warn' | 'error'; message: string; fields: Record<string, unknown> };
