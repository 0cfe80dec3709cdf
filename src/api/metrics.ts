/**
 * The metrics that Prometheus scrapes: one table gives each its name, help, labels and where its number lies. Nothing is
 * counted here. At a scrape the counters are copied once, and every series is written from the copy, so that the series of a
 * removed peer are gone. What the process needs (`process_*`, `nodejs_*`) is prom-client's, which is loaded, and begins to count,
 * at the first scrape.
 *
 * A scrape is a stream: what it takes is its copy of the counters and some chunks of text, and nothing of what it does happens on
 * the data plane's threads. Some scrapes run at once; more wait for their turn, and one that has gone
 * on for long is ended then. Beyond a bound a scrape is refused.
 *
 * Labels never hold a MAC. A drop that belongs to no configured VNI has `vni=""`; `peer=""` are sources that are
 * no configured peers, and peers that were removed.
 */
import type { Readable } from 'node:stream';
import type { Registry } from 'prom-client';
import * as C from '../exchange/counters.js';
import type { VniState } from '../exchange/data-plane.js';
import { type CounterImage, readImage } from './counter-image.js';
import { pathMtuOf } from './counters.js';
import type { ControlDeps } from './deps.js';
import { dropsOf, NO_VNI, OF_VNI } from './drops.js';
import { escaped, exposition, type Family, labelsOf, PIECE, peerSamples, sample } from './exposition.js';
import { NAME_FAMILIES } from './peer-names.js';
import { textInTurn } from './text-stream.js';
import { type TurnLimits, Turns } from './turns.js';

/** Scrapes that run at once, each with a copy of the counters, and scrapes that wait. */
const SCRAPES: TurnLimits = { places: 3, perClient: 2, waiting: 16, waitingPerClient: 4 };
/** Text format 0.0.4. */
const CONTENT_TYPE = 'text/plain; version=0.0.4; charset=utf-8';
/** Gauges that prom-client gives names of counters. */
const MISNAMED = [
  'nodejs_active_handles_total',
  'nodejs_active_requests_total',
  'nodejs_active_resources_total',
];

/**
 * A scrape at each call of `scrape`, which gives the exposition format's text, or throws ApiError
 * overloaded.
 * @param placeMs after which a scrape may be ended while another one waits; as in `turns.ts` by default
 */
export function createMetrics(
  deps: Pick<ControlDeps, 'dataPlane' | 'status'>,
  placeMs?: number,
): {
  readonly contentType: string;
  /** @param client whose share of the scrapes it is (`clientOf`) */
  readonly scrape: (client: string) => Readable;
} {
  let ofProcess: Promise<Registry> | undefined;
  const turns = new Turns(placeMs === undefined ? SCRAPES : { ...SCRAPES, placeMs });

  async function* pieces(): AsyncGenerator<string> {
    const image = await readImage(deps.dataPlane, deps.status());
    ofProcess ??= processMetrics();
    yield `${(await (await ofProcess).metrics()).trim()}\n`;
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
    help: 'Always 1; the labels say what runs.',
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
    'Frames that the kernel dropped before they were read: the queue of the TAP was full.',
    C.V_TAP_QUEUE_DROPPED,
  ),
  perLink('vtepd_peer_tx_frames_total', 'Frames sent to the peer.', C.P_TX_FRAMES),
  perLink('vtepd_peer_tx_bytes_total', 'Bytes of inner frames sent to the peer.', C.P_TX_BYTES),
  perLink('vtepd_peer_rx_frames_total', 'Frames received from the peer.', C.P_RX_FRAMES),
  perLink('vtepd_peer_rx_bytes_total', 'Bytes of inner frames received from the peer.', C.P_RX_BYTES),
  {
    name: 'vtepd_peer_last_seen_timestamp_seconds',
    kind: 'gauge',
    help: 'When the peer was last heard; 0: never.',
    samples: (image, name) =>
      peerSamples(image, name, (cells, at) => {
        const lastSeenMs = cells[at + C.P_LAST_SEEN_MS];
        return lastSeenMs > 0 ? image.status.epochMs(lastSeenMs) / 1000 : 0;
      }),
  },
  {
    name: 'vtepd_dropped_frames_total',
    kind: 'counter',
    help: 'Frames not delivered, by reason; vni="": of no configured VNI.',
    *samples({ vnis, globals }, name) {
      yield dropLines(name, '', globals, NO_VNI);
      for (const { state, rows } of vnis) yield dropLines(name, `${state.vni}`, rows.vni, OF_VNI);
    },
  },
  perVniAnd(
    'counter',
    'vtepd_flooded_frames_total',
    'Frames from the TAP that went to the flood list.',
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
  perVniAnd(
    'counter',
    'vtepd_too_big_frames_total',
    'Frames larger than the path carries, by what became of them.',
    'action',
    { icmp: C.V_TOO_BIG_ICMP, fragment: C.V_TOO_BIG_FRAGMENT, drop: C.V_TOO_BIG_DROP },
  ),
  perVni(
    'counter',
    'vtepd_fragments_total',
    'Inner fragments beyond the first of each frame that was fragmented.',
    C.V_FRAGMENTS,
  ),
  perVni(
    'counter',
    'vtepd_mss_clamped_total',
    'TCP SYNs whose MSS was lowered to what the path carries.',
    C.V_MSS_CLAMPED,
  ),
  perVniAnd('gauge', 'vtepd_fdb_entries', 'FDB entries.', 'type', {
    static: C.V_FDB_STATIC,
    dynamic: C.V_FDB_DYNAMIC,
  }),
  ofPolicy(
    'vtepd_fdb_limit_entries',
    'Most dynamic entries that the FDB may hold (--fdb-limit).',
    ({ fdbLimit }) => fdbLimit,
  ),
  perVni('counter', 'vtepd_fdb_learned_total', 'MACs learned.', C.V_LEARNED),
  perVni('counter', 'vtepd_fdb_moved_total', 'Learned MACs that moved to another peer.', C.V_MOVED),
  perVni('counter', 'vtepd_fdb_aged_total', 'Learned MACs forgotten because they were silent.', C.V_AGED),
  perVni('counter', 'vtepd_fdb_evicted_total', 'Learned MACs that made room at the limit.', C.V_EVICTED),
  {
    name: 'vtepd_strangers_evicted_total',
    kind: 'counter',
    help: 'Sources that are no configured peers (--accept any) and made room for others, with what was learned of them.',
    samples: ({ globals }, name) => [sample(name, '', globals[C.G_STRANGERS_EVICTED])],
  },
  {
    name: 'vtepd_path_mtu_bytes',
    kind: 'gauge',
    help: 'Largest IP packet on the way to the peer, by route and reports, where known.',
    samples: pathMtuSamples,
  },
  ofPolicy(
    'vtepd_overlay_mtu_bytes',
    'Overlay MTU: largest inner IP packet.',
    ({ overlayMtu }) => overlayMtu,
  ),
  ...NAME_FAMILIES,
  {
    name: 'vtepd_warnings',
    kind: 'gauge',
    help: 'Warnings that stand, as /v1/status has them.',
    *samples({ status: { warnings } }, name) {
      const counts = new Map<string, number>();
      for (const { code } of warnings) counts.set(code, (counts.get(code) ?? 0) + 1);
      for (const [code, count] of counts) yield sample(name, `code="${escaped(code)}"`, count);
    },
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
    help: 'Share of the time that the data plane was not waiting, 0 to 1.',
    samples: ({ globals }, name) => [sample(name, '', globals[C.G_BUSY_RATIO])],
  },
];

/** @param cell of the VNI's row */
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

/** @param label beside the VNI @param cells of the VNI's row, by the label's value */
function perVniAnd(
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

function ofPolicy(name: string, help: string, value: (policy: VniState['policy']) => number): Family {
  return {
    name,
    kind: 'gauge',
    help,
    *samples({ vnis }) {
      for (const { state } of vnis) yield sample(name, `vni="${state.vni}"`, value(state.policy));
    },
  };
}

/** Per peer, and with `peer=""` for all others. @param cell of a peer's row */
function perLink(name: string, help: string, cell: number): Family {
  return {
    name,
    kind: 'counter',
    help: `${help} peer="": others, and peers that were removed.`,
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

/** A peer of several VNIs has one path: the smallest that any of them was told. */
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
