/**
 * The counters as one report: what `/v1/counters` answers and what `/metrics` is made from, so that the two cannot
 * differ. Each VNI's part is one snapshot between two batches, in which the identity of the counters holds:
 *
 *     tap.rx + replicated + fragments = Σ peers.tx + others.tx + Σ drops.encap
 *     Σ peers.rx + others.rx = tap.tx + Σ drops.decap
 *
 * Frames are those on the wire, bytes those of the inner Ethernet frames.
 */
import * as C from '../stats/counters.js';
import { DROP_REASON_COUNT, DROP_REASONS, type DropReason } from '../stats/drop-reason.js';
import type { DataPlane, PeerState, VniState } from '../worker/data-plane.js';
import type { StatusInfo } from './deps.js';

export interface Traffic {
  readonly frames: number;
  readonly bytes: number;
}

/** Frames by reason. Reasons that can occur are there even at zero, so that a rate can be taken of the first one. */
export interface Drops {
  readonly encap: Readonly<Record<string, number>>;
  readonly decap: Readonly<Record<string, number>>;
}

export interface PeerCounters {
  /** Canonical text. */
  readonly address: string;
  /** RFC 3339; null: never heard. */
  readonly lastSeen: string | null;
  /** Bytes; null: not known. */
  readonly pathMtu: number | null;
  readonly tx: Traffic;
  readonly rx: Traffic;
}

export interface VniCounters {
  readonly vni: number;
  readonly overlayMtu: number;
  readonly tap: { readonly rx: Traffic; readonly tx: Traffic };
  readonly flooded: {
    readonly broadcast: number;
    readonly multicast: number;
    readonly unknownUnicast: number;
  };
  /** Copies beyond the first. */
  readonly replicated: number;
  /** Inner fragments beyond the first of each frame that was fragmented. */
  readonly fragments: number;
  /** Frames larger than the path carries, by what became of them. */
  readonly tooBig: { readonly icmp: number; readonly fragment: number; readonly drop: number };
  /** SYNs whose MSS was lowered. */
  readonly mssClamped: number;
  readonly drops: Drops;
  readonly fdb: FdbCounters;
  readonly peers: readonly PeerCounters[];
  /** Sources that are no configured peers, and peers that were removed: what they counted stays in the sums. */
  readonly others: { readonly tx: Traffic; readonly rx: Traffic };
}

export interface FdbCounters {
  readonly static: number;
  readonly dynamic: number;
  readonly learned: number;
  readonly moved: number;
  readonly aged: number;
  readonly evicted: number;
}

export interface CountersReport {
  readonly vnis: readonly VniCounters[];
  /** Drops that belong to no configured VNI. */
  readonly drops: Drops;
  /** Datagrams with reserved bits of the VXLAN header set. */
  readonly reservedBits: number;
  /** Share of the time that the data plane was not waiting, 0 to 1. */
  readonly busyRatio: number;
}

/** Takes one snapshot of each VNI. */
export function readCounters(dataPlane: DataPlane, status: StatusInfo): CountersReport {
  const globals = dataPlane.globals();
  return {
    vnis: dataPlane.vnis().map((vni) => readVni(dataPlane, vni, status)),
    drops: {
      encap: readDrops(globals, C.G_DROPS_ENCAP, []),
      decap: readDrops(globals, C.G_DROPS_DECAP, UNASSIGNED_REASONS),
    },
    reservedBits: globals[C.G_RESERVED_BITS],
    busyRatio: globals[C.G_BUSY_RATIO],
  };
}

export function readPeer(peer: PeerState, row: Float64Array, status: StatusInfo): PeerCounters {
  const lastSeenMs = row[C.P_LAST_SEEN_MS];
  return {
    address: peer.address.text,
    lastSeen: lastSeenMs > 0 ? new Date(lastSeenMs).toISOString() : null,
    pathMtu: smaller(status.pathMtu(peer.address.text), row[C.P_PATH_MTU]),
    ...readTraffic(row),
  };
}

const ENCAP_REASONS: readonly DropReason[] = [
  'no_tx_target',
  'flood_off',
  'too_big',
  'no_route',
  'underlay_full',
];

const DECAP_REASONS: readonly DropReason[] = [
  'invalid_hdr',
  'source_not_peer',
  'reserved_bits',
  'mac_invalid_source',
  'local_mac',
  'entry_exists',
  'ip_tunnel_ecn',
  'vlan_drop',
  'overlay_full',
  'overlay_down',
  'too_big',
];

/** Received, and refused before the VNI was known. */
const UNASSIGNED_REASONS: readonly DropReason[] = [
  'truncated',
  'invalid_hdr',
  'vni_not_found',
  'rx_overflow',
];

/** Of what is known and what the network has reported: 0 nothing. */
function smaller(known: number | undefined, reported: number): number | null {
  if (reported === 0) return known ?? null;
  return Math.min(known ?? reported, reported);
}

function readVni(dataPlane: DataPlane, { vni, policy }: VniState, status: StatusInfo): VniCounters {
  const { vni: row, peers } = dataPlane.snapshot(vni);
  const others = peers.find(({ peer }) => peer === undefined)!;
  return {
    vni,
    overlayMtu: policy.overlayMtu,
    tap: {
      rx: { frames: row[C.V_TAP_RX_FRAMES], bytes: row[C.V_TAP_RX_BYTES] },
      tx: { frames: row[C.V_TAP_TX_FRAMES], bytes: row[C.V_TAP_TX_BYTES] },
    },
    flooded: {
      broadcast: row[C.V_FLOODED_BROADCAST],
      multicast: row[C.V_FLOODED_MULTICAST],
      unknownUnicast: row[C.V_FLOODED_UNKNOWN],
    },
    replicated: row[C.V_REPLICATED],
    fragments: row[C.V_FRAGMENTS],
    tooBig: {
      icmp: row[C.V_TOO_BIG_ICMP],
      fragment: row[C.V_TOO_BIG_FRAGMENT],
      drop: row[C.V_TOO_BIG_DROP],
    },
    mssClamped: row[C.V_MSS_CLAMPED],
    drops: {
      encap: readDrops(row, C.V_DROPS_ENCAP, ENCAP_REASONS),
      decap: readDrops(row, C.V_DROPS_DECAP, DECAP_REASONS),
    },
    fdb: readFdb(row),
    peers: peers.flatMap(({ peer, row }) => (peer === undefined ? [] : [readPeer(peer, row, status)])),
    others: readTraffic(others.row),
  };
}

export function readTraffic(row: Float64Array): { readonly tx: Traffic; readonly rx: Traffic } {
  return {
    tx: { frames: row[C.P_TX_FRAMES], bytes: row[C.P_TX_BYTES] },
    rx: { frames: row[C.P_RX_FRAMES], bytes: row[C.P_RX_BYTES] },
  };
}

function readFdb(row: Float64Array): FdbCounters {
  return {
    static: row[C.V_FDB_STATIC],
    dynamic: row[C.V_FDB_DYNAMIC],
    learned: row[C.V_LEARNED],
    moved: row[C.V_MOVED],
    aged: row[C.V_AGED],
    evicted: row[C.V_EVICTED],
  };
}

/** @param always reasons that are there at zero as well */
function readDrops(row: Float64Array, base: number, always: readonly DropReason[]): Record<string, number> {
  const drops: Record<string, number> = {};
  for (let index = 1; index < DROP_REASON_COUNT; index++) {
    const [label] = DROP_REASONS[index];
    const frames = row[base + index];
    if (frames > 0 || always.includes(label as DropReason)) drops[label] = frames;
  }
  return drops;
}
