/**
 * Prometheus metrics: one table with name, help, labels and counter cell of each metric.
 *
 * This module counts nothing. A scrape copies the counters once and writes every series from the
 * copy, so a removed peer has no series. prom-client supplies the process metrics (`process_*`,
 * `nodejs_*`). It is loaded at the first scrape and counts from then on.
 *
 * A scrape is a stream. It needs memory for the copy of the counters and for some chunks of text,
 * and it costs the data-plane threads no time. The number of scrapes that run at once is limited;
 * further scrapes are queued. While a scrape is queued, a running scrape that has exceeded its time
 * limit is ended. When the queue is full, a new scrape is refused.
 *
 * Labels never contain a MAC. A drop that belongs to no configured VNI has the label `vni=""`.
 * Unconfigured sources and removed peers share the label `peer=""`.
 */
import type { Readable } from 'node:stream';
import type { Registry } from 'prom-client';
import * as C from '../exchange/counters.js';
import type { VniState } from '../exchange/data-plane.js';
import type { Report } from '../exchange/report.js';
import { type CounterImage, readImage } from './counter-image.js';
import { pathMtuOf } from './counters.js';
import type { ControlDeps } from './deps.js';
import { dropsOf, NO_VNI, OF_VNI } from './drops.js';
import { escaped, exposition, type Family, labelsOf, PIECE, peerSamples, sample } from './exposition.js';
import { NAME_FAMILIES } from './peer-names.js';
import { textInTurn } from './text-stream.js';
import { type TurnLimits, Turns } from './turns.js';

/** Limits of scrapes. They bound memory, because each running scrape has a copy of the counters. */
const SCRAPES: TurnLimits = { places: 3, perClient: 2, waiting: 16, waitingPerClient: 4 };
/** Text format 0.0.4. */
const CONTENT_TYPE = 'text/plain; version=0.0.4; charset=utf-8';
/**
 * Gauges of prom-client that are removed, because names that end in `_total` belong to counters.
 */
const MISNAMED = [
  'nodejs_active_handles_total',
  'nodejs_active_requests_total',
  'nodejs_active_resources_total',
];

/**
 * Creates the metrics. Each call of `scrape` returns the text of one scrape or throws ApiError
 * overloaded.
 *
 * @param placeMs milliseconds after which a running scrape is ended if another scrape is queued;
 * default: that of `turns.ts`
 */
export function createMetrics(
  deps: Pick<ControlDeps, 'dataPlane' | 'status'>,
  placeMs?: number,
): {
  readonly contentType: string;
  /** @param client client that the scrape is counted for (`clientOf`) */
  readonly scrape: (client: string) => Readable;
} {
  let processRegistry: Promise<Registry> | undefined;
  const turns = new Turns(placeMs === undefined ? SCRAPES : { ...SCRAPES, placeMs });

  async function* pieces(): AsyncGenerator<string> {
    const image = await readImage(deps.dataPlane, deps.status());
    processRegistry ??= processMetrics();
    yield `${(await (await processRegistry).metrics()).trim()}\n`;
    yield* exposition(FAMILIES, image);
  }
  return {
    contentType: CONTENT_TYPE,
    scrape: (client) => textInTurn(turns, client, pieces),
  };
}

async function processMetrics(): Promise<Registry> {
  const { collectDefaultMetrics, Registry } = await import('prom-client');
  const registry = new Registry();
  collectDefaultMetrics({ register: registry });
  for (const name of MISNAMED) registry.removeSingleMetric(name);
  return registry;
}

export const FAMILIES: readonly Family[] = [
  {
    name: 'vtepd_build_info',
    kind: 'gauge',
    help: 'Always 1; the labels give version and underlay engine.',
    samples: ({ status: { version, underlay } }, name) => [
      sample(name, `version="${escaped(version)}",io="${underlay.io}"`, 1),
    ],
  },
  perVni('counter', 'vtepd_tap_rx_frames_total', 'Frames read from the TAP.', C.V_TAP_RX_FRAMES),
  perVni('counter', 'vtepd_tap_rx_bytes_total', 'Bytes of frames read from the TAP.', C.V_TAP_RX_BYTES),
  perVni('counter', 'vtepd_tap_tx_frames_total', 'Frames written to the TAP.', C.V_TAP_TX_FRAMES),
  perVni('counter', 'vtepd_tap_tx_bytes_total', 'Bytes of frames written to the TAP.', C.V_TAP_TX_BYTES),
  perVni(
    'counter',
    'vtepd_tap_queue_dropped_frames_total',
    'Frames that the kernel dropped because the queue of the TAP was full.',
    C.V_TAP_QUEUE_DROPPED,
  ),
  perPeer('vtepd_peer_tx_frames_total', 'Frames sent to the peer.', C.P_TX_FRAMES),
  perPeer('vtepd_peer_tx_bytes_total', 'Bytes of inner frames sent to the peer.', C.P_TX_BYTES),
  perPeer('vtepd_peer_rx_frames_total', 'Frames received from the peer.', C.P_RX_FRAMES),
  perPeer('vtepd_peer_rx_bytes_total', 'Bytes of inner frames received from the peer.', C.P_RX_BYTES),
  {
    name: 'vtepd_peer_last_seen_timestamp_seconds',
    kind: 'gauge',
    help: 'Time of the last datagram received from the peer; 0: never.',
    samples: (image, name) =>
      peerSamples(image, name, (cells, at) => {
        const lastSeenMs = cells[at + C.P_LAST_SEEN_MS];
        return lastSeenMs > 0 ? image.status.epochMs(lastSeenMs) / 1000 : 0;
      }),
  },
  {
    name: 'vtepd_dropped_frames_total',
    kind: 'counter',
    help: 'Dropped frames, by reason; vni="": no configured VNI.',
    *samples({ vnis, globals }, name) {
      yield dropLines(name, '', globals, NO_VNI);
      for (const { state, rows } of vnis) yield dropLines(name, `${state.vni}`, rows.vni, OF_VNI);
    },
  },
  perVniAndLabel(
    'counter',
    'vtepd_flooded_frames_total',
    'Frames from the TAP that were sent to the flood list.',
    'class',
    {
      broadcast: C.V_FLOODED_BROADCAST,
      multicast: C.V_FLOODED_MULTICAST,
      unknown_unicast: C.V_FLOODED_UNKNOWN,
    },
  ),
  perVni(
    'counter',
    'vtepd_replicated_frames_total',
    'Copies of flooded frames beyond the first.',
    C.V_REPLICATED,
  ),
  perVniAndLabel(
    'counter',
    'vtepd_too_big_frames_total',
    'Frames larger than the path MTU allows, by action.',
    'action',
    { icmp: C.V_TOO_BIG_ICMP, fragment: C.V_TOO_BIG_FRAGMENT, drop: C.V_TOO_BIG_DROP },
  ),
  perVni(
    'counter',
    'vtepd_fragments_total',
    'Inner fragments beyond the first of each fragmented frame.',
    C.V_FRAGMENTS,
  ),
  perVni(
    'counter',
    'vtepd_mss_clamped_total',
    'TCP SYNs whose MSS was lowered to fit the path MTU.',
    C.V_MSS_CLAMPED,
  ),
  perVniAndLabel('gauge', 'vtepd_fdb_entries', 'FDB entries.', 'type', {
    static: C.V_FDB_STATIC,
    dynamic: C.V_FDB_DYNAMIC,
  }),
  policyGauge(
    'vtepd_fdb_limit_entries',
    'Maximum number of dynamic FDB entries (--fdb-limit).',
    ({ fdbLimit }) => fdbLimit,
  ),
  perVni('counter', 'vtepd_fdb_learned_total', 'MACs learned from received frames.', C.V_LEARNED),
  perVni('counter', 'vtepd_fdb_moved_total', 'Learned MACs that moved to another peer.', C.V_MOVED),
  perVni('counter', 'vtepd_fdb_aged_total', 'Learned MACs that aged out.', C.V_AGED),
  perVni('counter', 'vtepd_fdb_evicted_total', 'Learned MACs evicted because the FDB was full.', C.V_EVICTED),
  {
    name: 'vtepd_strangers_evicted_total',
    kind: 'counter',
    help: 'Unconfigured sources (--accept any) evicted, with the MACs learned from them, to make room for others.',
    samples: ({ globals }, name) => [sample(name, '', globals[C.G_STRANGERS_EVICTED])],
  },
  {
    name: 'vtepd_path_mtu_bytes',
    kind: 'gauge',
    help: 'Path MTU to the peer: largest IP packet, by route, probes and ICMP reports; absent if unknown.',
    samples: pathMtuSamples,
  },
  policyGauge(
    'vtepd_overlay_mtu_bytes',
    'Overlay MTU: largest inner IP packet.',
    ({ overlayMtu }) => overlayMtu,
  ),
  ...NAME_FAMILIES,
  {
    name: 'vtepd_warnings',
    kind: 'gauge',
    help: 'Active warnings by code, as in /v1/status.',
    samples: ({ status: { warnings } }, name) => reportSamples(warnings, name),
  },
  {
    name: 'vtepd_notices',
    kind: 'gauge',
    help: 'Active notices by code, as in /v1/status.',
    samples: ({ status: { notices } }, name) => reportSamples(notices, name),
  },
  {
    name: 'vtepd_reserved_bits_total',
    kind: 'counter',
    help: 'Datagrams with reserved bits of the VXLAN header set.',
    samples: ({ globals }, name) => [sample(name, '', globals[C.G_RESERVED_BITS])],
  },
  {
    name: 'vtepd_dataplane_busy_ratio',
    kind: 'gauge',
    help: 'Share of time that the data plane was not waiting, 0 to 1.',
    samples: ({ globals }, name) => [sample(name, '', globals[C.G_BUSY_RATIO])],
  },
];

/** Yields one series per code: the number of its reports. */
function* reportSamples(reports: readonly Report[], name: string): Generator<string> {
  const counts = new Map<string, number>();
  for (const { code } of reports) counts.set(code, (counts.get(code) ?? 0) + 1);
  for (const [code, count] of counts) yield sample(name, `code="${escaped(code)}"`, count);
}

/** @param cell offset in the VNI's row */
function perVni(kind: Family['kind'], name: string, help: string, cell: number): Family {
  return {
    name,
    kind,
    help,
    *samples({ vnis }) {
      for (const { state, rows } of vnis) yield sample(name, `vni="${state.vni}"`, rows.vni[cell]);
    },
  };
}

/**
 * @param label name of a label in addition to the VNI
 * @param cells offsets in the VNI's row, indexed by the value of the label
 */
function perVniAndLabel(
  kind: Family['kind'],
  name: string,
  help: string,
  label: string,
  cells: Readonly<Record<string, number>>,
): Family {
  return {
    name,
    kind,
    help,
    *samples({ vnis }) {
      for (const { state, rows } of vnis) {
        for (const [value, cell] of Object.entries(cells))
          yield sample(name, `vni="${state.vni}",${label}="${value}"`, rows.vni[cell]);
      }
    },
  };
}

function policyGauge(name: string, help: string, value: (policy: VniState['policy']) => number): Family {
  return {
    name,
    kind: 'gauge',
    help,
    *samples({ vnis }) {
      for (const { state } of vnis) yield sample(name, `vni="${state.vni}"`, value(state.policy));
    },
  };
}

/**
 * One series per peer, and one with `peer=""` for all others.
 *
 * @param cell offset in a peer's row
 */
function perPeer(name: string, help: string, cell: number): Family {
  return {
    name,
    kind: 'counter',
    help: `${help} peer="": unconfigured sources and removed peers.`,
    *samples(image) {
      yield* peerSamples(image, name, (cells, at) => cells[at + cell]);
      for (const { state, rows } of image.vnis)
        yield sample(name, `vni="${state.vni}",peer=""`, rows.others[cell]);
    },
  };
}

function dropLines(name: string, vni: string, row: Float64Array, cells: typeof OF_VNI): string {
  const drops = dropsOf(row, cells);
  let text = '';
  for (const direction of ['encap', 'decap'] as const) {
    for (const [reason, frames] of Object.entries(drops[direction]))
      text += sample(name, `vni="${vni}",direction="${direction}",reason="${reason}"`, frames);
  }
  return text;
}

/**
 * Yields one path MTU per peer address. It is the smallest path MTU over the VNIs of the address,
 * because different VNIs can have received different reports.
 */
function* pathMtuSamples({ vnis, status }: CounterImage, name: string): Generator<string> {
  const known = new Map<string, number>();
  for (const { rows } of vnis) {
    let at = 0;
    for (const { list, from, count } of rows.spans) {
      const labels = labelsOf(list);
      for (let i = from; i < from + count; i++, at += C.PEER_ROW) {
        const mtu = pathMtuOf(list[i].address.text, rows.peers[at + C.P_PATH_MTU], status);
        if (mtu !== undefined) known.set(labels[i], Math.min(mtu, known.get(labels[i]) ?? mtu));
        if (i % PIECE === 0) yield '';
      }
    }
  }
  for (const [label, mtu] of known) yield sample(name, `peer="${label}"`, mtu);
}
