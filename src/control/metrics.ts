/**
 * The metrics that Prometheus scrapes, in a registry of their own: one table gives each its name, help, labels and
 * where its number lies in the counters' report. Nothing is counted here; at a scrape the report is read once and
 * every series is set anew, so that the series of a removed peer are gone.
 *
 * Labels never hold a MAC. A drop that belongs to no configured VNI has `vni=""`; `peer=""` are sources that are
 * no configured peers, and peers that were removed.
 */
import { Counter, collectDefaultMetrics, Gauge, Registry } from 'prom-client';
import {
  type CountersReport,
  type Drops,
  type PeerCounters,
  readCounters,
  type VniCounters,
} from './counters.js';
import type { ControlDeps, StatusInfo } from './deps.js';

type Labels = Record<string, string>;
type Put = (value: number, labels: Labels) => void;

interface MetricRow {
  readonly name: string;
  readonly kind: 'counter' | 'gauge';
  readonly help: string;
  readonly labels: readonly string[];
  readonly read: (report: CountersReport, put: Put, status: StatusInfo) => void;
}

/** A scrape at each call of the returned function. @returns the exposition format's text */
export function createMetrics(deps: Pick<ControlDeps, 'dataPlane' | 'status'>): {
  readonly contentType: string;
  readonly scrape: () => Promise<string>;
} {
  const registry = new Registry();
  collectDefaultMetrics({ register: registry });
  const collect = METRICS.map((row) => register(registry, row));
  const scrape = () => {
    const status = deps.status();
    const report = readCounters(deps.dataPlane, status);
    for (const fill of collect) fill(report, status);
    return registry.metrics();
  };
  return { contentType: registry.contentType, scrape };
}

const METRICS: readonly MetricRow[] = [
  {
    name: 'vtepd_build_info',
    kind: 'gauge',
    help: 'Always 1; the labels say what runs.',
    labels: ['version', 'io'],
    read: (_report, put, { version, underlay }) => put(1, { version, io: underlay.io }),
  },
  perVni('counter', 'vtepd_tap_rx_frames_total', 'Frames read from the TAP.', (vni) => vni.tap.rx.frames),
  perVni(
    'counter',
    'vtepd_tap_rx_bytes_total',
    'Bytes of frames read from the TAP.',
    (vni) => vni.tap.rx.bytes,
  ),
  perVni('counter', 'vtepd_tap_tx_frames_total', 'Frames written to the TAP.', (vni) => vni.tap.tx.frames),
  perVni(
    'counter',
    'vtepd_tap_tx_bytes_total',
    'Bytes of frames written to the TAP.',
    (vni) => vni.tap.tx.bytes,
  ),
  perLink('vtepd_peer_tx_frames_total', 'Frames sent to the peer.', (link) => link.tx.frames),
  perLink('vtepd_peer_tx_bytes_total', 'Bytes of inner frames sent to the peer.', (link) => link.tx.bytes),
  perLink('vtepd_peer_rx_frames_total', 'Frames received from the peer.', (link) => link.rx.frames),
  perLink(
    'vtepd_peer_rx_bytes_total',
    'Bytes of inner frames received from the peer.',
    (link) => link.rx.bytes,
  ),
  perPeer(
    'gauge',
    'vtepd_peer_last_seen_timestamp_seconds',
    'When the peer was last heard; 0: never.',
    (peer) => (peer.lastSeen === null ? 0 : Date.parse(peer.lastSeen) / 1000),
  ),
  {
    name: 'vtepd_dropped_frames_total',
    kind: 'counter',
    help: 'Frames not delivered, by reason; vni="": of no configured VNI.',
    labels: ['vni', 'direction', 'reason'],
    read: (report, put) => {
      putDrops(put, '', report.drops);
      for (const { vni, drops } of report.vnis) putDrops(put, String(vni), drops);
    },
  },
  {
    name: 'vtepd_flooded_frames_total',
    kind: 'counter',
    help: 'Frames from the TAP that went to the flood list.',
    labels: ['vni', 'class'],
    read: (report, put) => {
      for (const { vni, flooded } of report.vnis) {
        put(flooded.broadcast, { vni: String(vni), class: 'broadcast' });
        put(flooded.multicast, { vni: String(vni), class: 'multicast' });
        put(flooded.unknownUnicast, { vni: String(vni), class: 'unknown_unicast' });
      }
    },
  },
  perVni(
    'counter',
    'vtepd_replicated_frames_total',
    'Copies of flooded frames beyond the first.',
    (vni) => vni.replicated,
  ),
  {
    name: 'vtepd_too_big_frames_total',
    kind: 'counter',
    help: 'Frames larger than the path carries, by what became of them.',
    labels: ['vni', 'action'],
    read: (report, put) => {
      for (const { vni, tooBig } of report.vnis)
        for (const [action, frames] of Object.entries(tooBig)) put(frames, { vni: String(vni), action });
    },
  },
  perVni(
    'counter',
    'vtepd_fragments_total',
    'Inner fragments beyond the first of each frame that was fragmented.',
    (vni) => vni.fragments,
  ),
  perVni(
    'counter',
    'vtepd_mss_clamped_total',
    'TCP SYNs whose MSS was lowered to what the path carries.',
    (vni) => vni.mssClamped,
  ),
  {
    name: 'vtepd_fdb_entries',
    kind: 'gauge',
    help: 'FDB entries.',
    labels: ['vni', 'type'],
    read: (report, put) => {
      for (const { vni, fdb } of report.vnis) {
        put(fdb.static, { vni: String(vni), type: 'static' });
        put(fdb.dynamic, { vni: String(vni), type: 'dynamic' });
      }
    },
  },
  perVni('counter', 'vtepd_fdb_learned_total', 'MACs learned.', (vni) => vni.fdb.learned),
  perVni(
    'counter',
    'vtepd_fdb_moved_total',
    'Learned MACs that moved to another peer.',
    (vni) => vni.fdb.moved,
  ),
  perVni(
    'counter',
    'vtepd_fdb_aged_total',
    'Learned MACs forgotten because they were silent.',
    (vni) => vni.fdb.aged,
  ),
  perVni(
    'counter',
    'vtepd_fdb_evicted_total',
    'Learned MACs that made room at the limit.',
    (vni) => vni.fdb.evicted,
  ),
  {
    name: 'vtepd_path_mtu_bytes',
    kind: 'gauge',
    help: 'Largest IP packet on the way to the peer, by route and reports, where known.',
    labels: ['peer'],
    read: (report, put) => {
      for (const peer of report.vnis.flatMap((vni) => vni.peers)) {
        if (peer.pathMtu !== null) put(peer.pathMtu, { peer: peer.address });
      }
    },
  },
  perVni(
    'gauge',
    'vtepd_overlay_mtu_bytes',
    'Overlay MTU: largest inner IP packet.',
    (vni) => vni.overlayMtu,
  ),
  {
    name: 'vtepd_warnings',
    kind: 'gauge',
    help: 'Warnings that stand, as /v1/status has them.',
    labels: ['code'],
    read: (_report, put, { warnings }) => {
      for (const code of new Set(warnings.map((warning) => warning.code)))
        put(warnings.filter((warning) => warning.code === code).length, { code });
    },
  },
  {
    name: 'vtepd_reserved_bits_total',
    kind: 'counter',
    help: 'Datagrams with reserved bits of the VXLAN header set.',
    labels: [],
    read: (report, put) => put(report.reservedBits, {}),
  },
  {
    name: 'vtepd_dataplane_busy_ratio',
    kind: 'gauge',
    help: 'Share of the time that the data plane was not waiting, 0 to 1.',
    labels: [],
    read: (report, put) => put(report.busyRatio, {}),
  },
];

function perVni(
  kind: MetricRow['kind'],
  name: string,
  help: string,
  value: (vni: VniCounters) => number,
): MetricRow {
  return {
    name,
    kind,
    help,
    labels: ['vni'],
    read: (report, put) => {
      for (const counters of report.vnis) put(value(counters), { vni: String(counters.vni) });
    },
  };
}

function perPeer(
  kind: MetricRow['kind'],
  name: string,
  help: string,
  value: (peer: PeerCounters) => number,
): MetricRow {
  return {
    name,
    kind,
    help,
    labels: ['vni', 'peer'],
    read: (report, put) => {
      for (const { vni, peers } of report.vnis) {
        for (const peer of peers) put(value(peer), { vni: String(vni), peer: peer.address });
      }
    },
  };
}

/** Per peer, and with `peer=""` for all others. */
function perLink(name: string, help: string, value: (link: VniCounters['others']) => number): MetricRow {
  const peers = perPeer('counter', name, `${help} peer="": others, and peers that were removed.`, value);
  return {
    ...peers,
    read: (report, put, status) => {
      peers.read(report, put, status);
      for (const { vni, others } of report.vnis) put(value(others), { vni: String(vni), peer: '' });
    },
  };
}

function putDrops(put: Put, vni: string, drops: Drops): void {
  for (const direction of ['encap', 'decap'] as const) {
    for (const [reason, frames] of Object.entries(drops[direction])) put(frames, { vni, direction, reason });
  }
}

/** @returns what sets the metric's series from a report */
function register(registry: Registry, row: MetricRow): (report: CountersReport, status: StatusInfo) => void {
  const options = { name: row.name, help: row.help, labelNames: row.labels, registers: [registry] };
  if (row.kind === 'counter') {
    const counter = new Counter(options);
    return (report, status) => {
      counter.reset();
      row.read(report, (value, labels) => counter.inc(labels, value), status);
    };
  }
  const gauge = new Gauge(options);
  return (report, status) => {
    gauge.reset();
    row.read(report, (value, labels) => gauge.set(labels, value), status);
  };
}
