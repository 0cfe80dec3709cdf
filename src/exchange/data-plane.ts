/**
 * The data plane as the control side sees it: what can be asked of it, in which words, and how it refuses. Addresses
 * are canonical text here, rows and bytes stay below. Implemented by `Handle`.
 */
import type { ChangeErrorCode, MacParts, PackedAddress, VniPolicy } from './protocol.js';

/** A remote VTEP as the control side names it. */
export interface PeerAddress extends PackedAddress {
  /** Canonical text of the address, without the port: '192.0.2.1', 'fe80::1%eth0'. */
  text: string;
}

export interface PeerState {
  readonly address: PeerAddress;
  readonly flood: boolean;
  readonly peerIdx: number;
  /** The name it was resolved from, or '' when it was given as an address. */
  readonly name: string;
  /** Path MTU as it was known when the peer was added, bytes; 0: it was not. */
  readonly pathMtu: number;
}

export interface VniState {
  readonly vni: number;
  readonly vniIdx: number;
  readonly tap: string;
  readonly bridge: string;
  readonly mac: string;
  readonly policy: VniPolicy;
  /** Peer row that counts frames of sources that are not peers. */
  readonly otherIdx: number;
}

export interface NewPeer {
  address: PeerAddress;
  flood: boolean;
  name: string;
  /** Path MTU as far as it is known, bytes; 0: it is not. */
  pathMtu: number;
}

export interface FdbEntry {
  mac: MacParts;
  /** Canonical text of the peer's address. */
  peer: string;
  type: 'static' | 'dynamic';
  ageMs: number;
}

export interface FdbFilter {
  type: 'static' | 'dynamic' | 'all';
  /** A peer's address, canonical, or the name that peers were given by: all of its addresses are meant. '' any. */
  peer: string;
}

/** Whether a peer has this address, or was given by this name. */
export function isPeerOf({ address, name }: NewPeer, host: string): boolean {
  return address.text === host || name === host;
}

export type DataPlaneErrorCode =
  | ChangeErrorCode
  | 'fdb_full'
  | 'vni_not_found'
  | 'vni_exists'
  | 'capture_busy'
  | 'table_full'
  | 'peer_exists'
  | 'peer_not_found'
  | 'peer_of_name'
  | 'peer_unresolved'
  | 'dataplane_timeout'
  | 'dataplane_down';

/** Why a change was not made: a stable code and a sentence for people. */
export class DataPlaneError extends Error {
  readonly code: DataPlaneErrorCode;
  constructor(code: DataPlaneErrorCode, message: string) {
    super(message);
    this.code = code;
  }
}

/** Numbers of one VNI, of each worker taken at one moment between two batches. Index of a reason as in DROP_REASONS. */
export interface VniSnapshot {
  /** Cells of the VNI's row: read with the V_ offsets of `exchange/counters.ts`. */
  vni: Float64Array;
  /** One per configured peer, then the row of unknown sources (peer undefined): read with the P_ offsets. */
  peers: { peer: PeerState | undefined; row: Float64Array }[];
}

/** `count` peers of a list that may serve many VNIs: list[from] and what follows. */
export interface PeerSpan {
  readonly list: readonly NewPeer[];
  readonly from: number;
  readonly count: number;
}

/** The same numbers as a snapshot in one piece, with no object for each peer: for thousands of them. */
export interface VniRows {
  readonly vni: Float64Array;
  /** Rows of the configured peers, PEER_ROW cells each, in the order of the spans. */
  readonly peers: Float64Array;
  readonly spans: readonly PeerSpan[];
  /** The row of unknown sources. */
  readonly others: Float64Array;
}

/** Reading access to the data plane, from the main thread. */
export interface DataPlane {
  /** True once the whole configuration has been acknowledged and every worker lives. */
  readonly ready: boolean;
  vnis(): readonly VniState[];
  /**
   * VNIs that the workers do not agree about yet, after a change that failed. One that is to go is not in `vnis` any more; its
   * number and its TAP stay taken until it leaves this list.
   */
  settling(): readonly VniState[];
  /** @throws DataPlaneError vni_not_found */
  peers(vni: number): readonly PeerState[];
  /** One page. `cursor` 0 starts; nextCursor −1 ends. */
  listFdb(
    vni: number,
    filter: FdbFilter,
    limit: number,
    cursor: number,
  ): Promise<{ items: FdbEntry[]; nextCursor: number }>;
  /** @throws DataPlaneError vni_not_found */
  snapshot(vni: number): VniSnapshot;
  /** @throws DataPlaneError vni_not_found */
  rows(vni: number): VniRows;
  /** A VNI without its peers, be it settling: its own row, and how many peers there are. @throws DataPlaneError vni_not_found */
  totals(vni: number): { vni: Float64Array; peers: number };
  /** Cells of the global row: read with the G_ offsets. */
  globals(): Float64Array;
}
