/**
 * The data plane as the control side uses it: queries, types and error codes.
 *
 * Callers name a peer by the canonical text of its address. `Handle` implements the interface.
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
  /** Name that the address was resolved from; '' if the peer was configured by address. */
  readonly name: string;
  /** Path MTU known when the peer was added, bytes; 0: unknown. */
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
  /** Path MTU, bytes; 0: unknown. */
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
  /**
   * Canonical address of a peer, or a peer name, which matches all its addresses; '' matches any
   * peer.
   */
  peer: string;
}

/** Returns true if the peer has this address or was configured by this name. */
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

/** A rejected change: a stable code and a sentence for the user. */
export class DataPlaneError extends Error {
  readonly code: DataPlaneErrorCode;
  constructor(code: DataPlaneErrorCode, message: string) {
    super(message);
    this.code = code;
  }
}

/**
 * Counters of one VNI. The counters of each worker are consistent, as of a moment between two
 * batches. Drop reasons are indexed as in DROP_REASONS.
 */
export interface VniSnapshot {
  /** Cells of the VNI's row, at the V_ offsets of `exchange/counters.ts`. */
  vni: Float64Array;
  /**
   * One row per configured peer, then the row of sources that are not peers (`peer` undefined).
   * Cells are at the P_ offsets.
   */
  peers: { peer: PeerState | undefined; row: Float64Array }[];
}

/** A part of a peer list that many VNIs can share: `count` peers from `list[from]` on. */
export interface PeerSpan {
  readonly list: readonly NewPeer[];
  readonly from: number;
  readonly count: number;
}

/** The data of a snapshot in typed arrays, without an object per peer: for thousands of peers. */
export interface VniRows {
  readonly vni: Float64Array;
  /** Rows of the configured peers, PEER_ROW cells each, in the order of the spans. */
  readonly peers: Float64Array;
  readonly spans: readonly PeerSpan[];
  /** The row of sources that are not peers. */
  readonly others: Float64Array;
}

/** Read access to the data plane, from the main thread. */
export interface DataPlane {
  /** True if the initial configuration is acknowledged and every worker is alive. */
  readonly ready: boolean;
  vnis(): readonly VniState[];
  /**
   * VNIs on which the workers do not agree, after a change that failed. A VNI that is being removed
   * is no longer in `vnis`; its number and its TAP stay reserved until it leaves this list.
   */
  settling(): readonly VniState[];
  /** @throws DataPlaneError vni_not_found */
  peers(vni: number): readonly PeerState[];
  /** Returns one page. `cursor` 0 starts at the beginning; nextCursor −1 marks the last page. */
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
  /**
   * Returns the row and the number of peers of a VNI, also of a VNI that is settling.
   *
   * @throws DataPlaneError vni_not_found
   */
  totals(vni: number): { vni: Float64Array; peers: number };
  /** Cells of the global row, at the G_ offsets. */
  globals(): Float64Array;
}
