/**
 * The counters as JSON: the body of `/v1/counters`.
 *
 * The body shows the same cells as `/metrics`. The part of each VNI is one snapshot between two
 * batches, in which the counters are consistent:
 *
 *     tap.rx + replicated + fragments = Σ peers.tx + others.tx + Σ drops.encap
 *     Σ peers.rx + others.rx = tap.tx + Σ drops.decap
 *
 * Frames are counted as on the wire, bytes are those of the inner Ethernet frames. The text is
 * written VNI by VNI, so memory holds the counters of only one VNI at a time. `countersSchema`
 * describes the body.
 */
import * as C from '../exchange/counters.js';
import type { DataPlane, NewPeer } from '../exchange/data-plane.js';
import { imagesOf, type VniImage } from './counter-image.js';
import type { StatusInfo } from './deps.js';
import { type Drops, dropsOf, NO_VNI, OF_VNI } from './drops.js';
import { namesView } from './peer-names.js';

export interface Traffic {
  readonly frames: number;
  readonly bytes: number;
}

export interface PeerCounters {
  /** Canonical text. */
  readonly address: string;
  /** RFC 3339; null: nothing received yet. */
  readonly lastSeen: string | null;
  /** Bytes; null: unknown. */
  readonly pathMtu: number | null;
  readonly tx: Traffic;
  readonly rx: Traffic;
}

/** The counters of one VNI. */
export type VniCounters = ReturnType<typeof readVni> & {
  readonly peers: readonly PeerCounters[];
  /** Sum of all unconfigured sources and removed peers. */
  readonly others: ReturnType<typeof readTraffic>;
};

/** The whole body. */
export interface CountersView extends ReturnType<typeof readGlobals> {
  readonly vnis: readonly VniCounters[];
  readonly names: ReturnType<typeof namesView>;
}

/** Maximum peers per piece of text. */
const PIECE = 256;

/** Yields the whole body in pieces. */
export async function* countersText(dataPlane: DataPlane, status: StatusInfo): AsyncGenerator<string> {
  yield '{"vnis":[';
  let separator = '';
  for (const image of imagesOf(dataPlane)) {
    yield `${separator}${openObject(readVni(image))},"peers":[`;
    yield* peerTexts(image, status);
    yield `],"others":${JSON.stringify(readTraffic(image.rows.others, 0))}}`;
    separator = ',';
  }
  yield `],${JSON.stringify({ ...readGlobals(dataPlane.globals()), names: namesView(status) }).slice(1)}`;
}

/**
 * @param cells peer rows
 * @param at offset of the peer's row
 */
export function readPeer(
  { address }: Pick<NewPeer, 'address'>,
  cells: Float64Array,
  status: StatusInfo,
  at = 0,
): PeerCounters {
  const lastSeenMs = cells[at + C.P_LAST_SEEN_MS];
  return {
    address: address.text,
    lastSeen: lastSeenMs > 0 ? new Date(status.epochMs(lastSeenMs)).toISOString() : null,
    pathMtu: pathMtuOf(address.text, cells[at + C.P_PATH_MTU], status) ?? null,
    ...readTraffic(cells, at),
  };
}

/**
 * The smaller of the path MTU known on the main thread and the one that the network reported.
 *
 * @param reported bytes; 0: no report
 */
export function pathMtuOf(address: string, reported: number, status: StatusInfo): number | undefined {
  const known = status.pathMtu(address);
  if (reported === 0) return known;
  return Math.min(known ?? reported, reported);
}

function* peerTexts({ rows: { peers, spans } }: VniImage, status: StatusInfo): Generator<string> {
  let at = 0;
  for (const { list, from, count } of spans) {
    for (let begin = from; begin < from + count; begin += PIECE) {
      let text = '';
      for (let i = begin; i < Math.min(begin + PIECE, from + count); i++, at += C.PEER_ROW)
        text += `${at > 0 ? ',' : ''}${JSON.stringify(readPeer(list[i], peers, status, at))}`;
      yield text;
    }
  }
}

/** JSON text of an object without the closing brace. */
function openObject(value: object): string {
  return JSON.stringify(value).slice(0, -1);
}

function readGlobals(globals: Float64Array): {
  /** Drops that belong to no configured VNI. */
  readonly drops: Drops;
  readonly reservedBits: number;
  /** Share of time that the data plane was not waiting, 0 to 1. */
  readonly busyRatio: number;
} {
  return {
    drops: dropsOf(globals, NO_VNI),
    reservedBits: globals[C.G_RESERVED_BITS],
    busyRatio: globals[C.G_BUSY_RATIO],
  };
}

/** The counters of a VNI without those of its peers. */
function readVni({ state: { vni, policy }, rows: { vni: row } }: VniImage) {
  return {
    vni,
    overlayMtu: policy.overlayMtu,
    tap: {
      rx: { frames: row[C.V_TAP_RX_FRAMES], bytes: row[C.V_TAP_RX_BYTES] },
      tx: { frames: row[C.V_TAP_TX_FRAMES], bytes: row[C.V_TAP_TX_BYTES] },
      queueDropped: row[C.V_TAP_QUEUE_DROPPED],
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
    drops: dropsOf(row, OF_VNI),
    fdb: {
      static: row[C.V_FDB_STATIC],
      dynamic: row[C.V_FDB_DYNAMIC],
      learned: row[C.V_LEARNED],
      moved: row[C.V_MOVED],
      aged: row[C.V_AGED],
      evicted: row[C.V_EVICTED],
    },
  };
}

export function readTraffic(cells: Float64Array, at = 0): { readonly tx: Traffic; readonly rx: Traffic } {
  return {
    tx: { frames: cells[at + C.P_TX_FRAMES], bytes: cells[at + C.P_TX_BYTES] },
    rx: { frames: cells[at + C.P_RX_FRAMES], bytes: cells[at + C.P_RX_BYTES] },
  };
}
