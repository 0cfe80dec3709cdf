/** /metrics and /v1/counters show the same counters, which satisfy the identity of interface.md. */
import t, { type Test } from 'tap';
import {
  G_BUSY_RATIO,
  G_DROPS_DECAP,
  G_RESERVED_BITS,
  P_LAST_SEEN_MS,
  P_RX_BYTES,
  P_RX_FRAMES,
  P_TX_BYTES,
  P_TX_FRAMES,
  V_AGED,
  V_DROPS_DECAP,
  V_DROPS_ENCAP,
  V_EVICTED,
  V_FLOODED_BROADCAST,
  V_FLOODED_MULTICAST,
  V_FLOODED_UNKNOWN,
  V_FRAGMENTS,
  V_LEARNED,
  V_MOVED,
  V_MSS_CLAMPED,
  V_REPLICATED,
  V_TAP_RX_BYTES,
  V_TAP_RX_FRAMES,
  V_TAP_TX_BYTES,
  V_TAP_TX_FRAMES,
  V_TOO_BIG_DROP,
  V_TOO_BIG_FRAGMENT,
  V_TOO_BIG_ICMP,
} from '../../src/exchange/counters.js';
import { DROP } from '../../src/exchange/drop-reason.js';
import { controlOverPlainDataPlane } from '../support/control.js';
import { assertIdentity, Metrics } from '../support/metrics.js';

const SEEN_MS = Date.UTC(2026, 5, 1, 12, 0, 0, 250);
/** 2^53 − 1 bytes, which needs a 64-bit float. */
const MANY = Number.MAX_SAFE_INTEGER;

/**
 * VNI 100 after some traffic: 10 frames in, 2 of them flooded to both peers, 4 fragments beyond the
 * first, one of 16 copies dropped.
 */
async function afterTraffic(t: Test) {
  const made = await controlOverPlainDataPlane();
  t.teardown(() => made.server.close());
  const { cells } = made.dataPlane.counters;
  const [vni] = made.dataPlane.vnis();
  const [near, far] = made.dataPlane.peers(100);
  const count = (base: number, values: Record<number, number>) => {
    for (const [offset, value] of Object.entries(values)) cells[base + Number(offset)] = value;
  };
  count(made.dataPlane.counters.vniBase(vni.vniIdx), {
    [V_TAP_RX_FRAMES]: 10,
    [V_TAP_RX_BYTES]: MANY,
    [V_TAP_TX_FRAMES]: 5,
    [V_TAP_TX_BYTES]: 500,
    [V_FLOODED_BROADCAST]: 1,
    [V_FLOODED_MULTICAST]: 0,
    [V_FLOODED_UNKNOWN]: 1,
    [V_REPLICATED]: 2,
    [V_FRAGMENTS]: 4,
    [V_TOO_BIG_ICMP]: 1,
    [V_TOO_BIG_FRAGMENT]: 2,
    [V_TOO_BIG_DROP]: 3,
    [V_MSS_CLAMPED]: 5,
    [V_LEARNED]: 4,
    [V_MOVED]: 3,
    [V_AGED]: 2,
    [V_EVICTED]: 1,
    [V_DROPS_ENCAP + DROP.no_route]: 1,
    [V_DROPS_DECAP + DROP.source_not_peer]: 3,
    // This reason is not listed at zero, so it must appear as soon as it is counted.
    [V_DROPS_DECAP + DROP.no_slot]: 1,
  });
  const peerBase = (peerIdx: number) => made.dataPlane.counters.peerBase(peerIdx);
  count(peerBase(near.peerIdx), {
    [P_TX_FRAMES]: 13,
    [P_TX_BYTES]: 900,
    [P_RX_FRAMES]: 6,
    [P_RX_BYTES]: 600,
    [P_LAST_SEEN_MS]: SEEN_MS,
  });
  count(peerBase(far.peerIdx), { [P_TX_FRAMES]: 2, [P_TX_BYTES]: 200 });
  count(peerBase(vni.otherIdx), { [P_RX_FRAMES]: 3, [P_RX_BYTES]: 300 });
  count(0, { [G_BUSY_RATIO]: 0.25, [G_RESERVED_BITS]: 7, [G_DROPS_DECAP + DROP.vni_not_found]: 11 });
  return made;
}

t.test('/metrics shows every counter with its labels', async (t) => {
  const { server } = await afterTraffic(t);
  const answer = await server.inject('/metrics');
  t.equal(answer.statusCode, 200);
  t.equal(answer.headers['content-type'], 'text/plain; version=0.0.4; charset=utf-8');
  assertExposition(t, answer.body);

  const metrics = new Metrics(answer.body);
  const rows: [string, Record<string, string | number>, number][] = [
    ['vtepd_build_info', { version: '0.1.0', io: 'batch' }, 1],
    ['vtepd_warnings', { code: 'overlay_mtu_too_large' }, 1],
    ['vtepd_notices', { code: 'queues_unsteered' }, 1],
    ['vtepd_tap_rx_frames_total', { vni: 100 }, 10],
    ['vtepd_tap_rx_bytes_total', { vni: 100 }, MANY],
    ['vtepd_tap_tx_frames_total', { vni: 100 }, 5],
    ['vtepd_tap_tx_bytes_total', { vni: 100 }, 500],
    ['vtepd_peer_tx_frames_total', { vni: 100, peer: '192.0.2.11' }, 13],
    ['vtepd_peer_tx_bytes_total', { vni: 100, peer: '192.0.2.11' }, 900],
    ['vtepd_peer_tx_frames_total', { vni: 100, peer: '2001:db8::12' }, 2],
    ['vtepd_peer_rx_frames_total', { vni: 100, peer: '192.0.2.11' }, 6],
    ['vtepd_peer_rx_bytes_total', { vni: 100, peer: '192.0.2.11' }, 600],
    ['vtepd_peer_rx_frames_total', { vni: 100, peer: '' }, 3],
    ['vtepd_peer_rx_bytes_total', { vni: 100, peer: '' }, 300],
    ['vtepd_peer_tx_frames_total', { vni: 100, peer: '' }, 0],
    ['vtepd_peer_last_seen_timestamp_seconds', { vni: 100, peer: '192.0.2.11' }, SEEN_MS / 1000],
    ['vtepd_peer_last_seen_timestamp_seconds', { vni: 100, peer: '2001:db8::12' }, 0],
    ['vtepd_dropped_frames_total', { vni: 100, direction: 'encap', reason: 'no_route' }, 1],
    ['vtepd_dropped_frames_total', { vni: 100, direction: 'encap', reason: 'no_tx_target' }, 0],
    ['vtepd_dropped_frames_total', { vni: 100, direction: 'decap', reason: 'source_not_peer' }, 3],
    ['vtepd_dropped_frames_total', { vni: 100, direction: 'decap', reason: 'mac_invalid_source' }, 0],
    ['vtepd_dropped_frames_total', { vni: 100, direction: 'decap', reason: 'no_slot' }, 1],
    ['vtepd_dropped_frames_total', { vni: 100, direction: 'decap', reason: 'ip_tunnel_ecn' }, 0],
    ['vtepd_dropped_frames_total', { vni: '', direction: 'decap', reason: 'vni_not_found' }, 11],
    ['vtepd_dropped_frames_total', { vni: '', direction: 'decap', reason: 'rx_overflow' }, 0],
    ['vtepd_flooded_frames_total', { vni: 100, class: 'broadcast' }, 1],
    ['vtepd_flooded_frames_total', { vni: 100, class: 'multicast' }, 0],
    ['vtepd_flooded_frames_total', { vni: 100, class: 'unknown_unicast' }, 1],
    ['vtepd_replicated_frames_total', { vni: 100 }, 2],
    ['vtepd_fragments_total', { vni: 100 }, 4],
    ['vtepd_too_big_frames_total', { vni: 100, action: 'icmp' }, 1],
    ['vtepd_too_big_frames_total', { vni: 100, action: 'fragment' }, 2],
    ['vtepd_too_big_frames_total', { vni: 100, action: 'drop' }, 3],
    ['vtepd_mss_clamped_total', { vni: 100 }, 5],
    ['vtepd_fdb_entries', { vni: 100, type: 'static' }, 0],
    ['vtepd_fdb_entries', { vni: 100, type: 'dynamic' }, 0],
    ['vtepd_fdb_limit_entries', { vni: 100 }, 65536],
    ['vtepd_fdb_learned_total', { vni: 100 }, 4],
    ['vtepd_fdb_moved_total', { vni: 100 }, 3],
    ['vtepd_fdb_aged_total', { vni: 100 }, 2],
    ['vtepd_fdb_evicted_total', { vni: 100 }, 1],
    ['vtepd_path_mtu_bytes', { peer: '192.0.2.11' }, 1500],
    ['vtepd_overlay_mtu_bytes', { vni: 100 }, 1450],
    ['vtepd_reserved_bits_total', {}, 7],
    ['vtepd_dataplane_busy_ratio', {}, 0.25],
  ];
  for (const [name, labels, value] of rows) {
    t.ok(metrics.has(name, labels), `${name} ${JSON.stringify(labels)} exists`);
    t.equal(metrics.sum(name, labels), value, `${name} ${JSON.stringify(labels)} is ${value}`);
  }
  t.ok(metrics.has('process_cpu_seconds_total'), 'the process metrics exist');
  t.notOk(metrics.has('vtepd_path_mtu_bytes', { peer: '2001:db8::12' }), 'an unknown path MTU has no series');
  assertIdentity(t, metrics);
});

t.test('a scrape takes one snapshot of each VNI and contains no series of a removed peer', async (t) => {
  const { server, dataPlane } = await afterTraffic(t);
  dataPlane.addVni(200);
  dataPlane.snapshots = 0;
  await server.inject('/metrics');
  t.equal(dataPlane.snapshots, 2);

  await dataPlane.removePeer(100, '2001:db8::12');
  const { body } = await server.inject('/metrics');
  t.notMatch(body, /2001:db8::12/);
  t.match(
    body,
    /vtepd_peer_tx_frames_total\{vni="100",peer="192\.0\.2\.11"\} 13\n/,
    'a second scrape shows the same value',
  );
  t.match(
    body,
    /vtepd_peer_tx_frames_total\{vni="100",peer=""\} 2\n/,
    'the sums keep the counters of the removed peer',
  );
  assertIdentity(t, new Metrics(body.replaceAll(/^.*vni="200".*\n/gm, '')));
});

t.test('HEAD requests hold no place of the scrape semaphore', async (t) => {
  const { server } = await afterTraffic(t);
  for (let round = 0; round < 3; round++) {
    const { statusCode, body } = await server.inject({ method: 'HEAD', url: '/metrics' });
    t.same([statusCode, body], [200, '']);
  }
  t.match((await server.inject('/metrics')).body, /^vtepd_dataplane_busy_ratio /m);
});

t.test('/v1/counters shows the same values as /metrics', async (t) => {
  const { server } = await afterTraffic(t);
  const answer = await server.inject('/v1/counters');
  t.equal(answer.statusCode, 200);
  t.strictSame(answer.json(), {
    vnis: [
      {
        vni: 100,
        overlayMtu: 1450,
        tap: { rx: { frames: 10, bytes: MANY }, tx: { frames: 5, bytes: 500 }, queueDropped: 0 },
        flooded: { broadcast: 1, multicast: 0, unknownUnicast: 1 },
        replicated: 2,
        fragments: 4,
        tooBig: { icmp: 1, fragment: 2, drop: 3 },
        mssClamped: 5,
        drops: {
          encap: {
            no_tx_target: 0,
            flood_off: 0,
            too_big: 0,
            no_route: 1,
            underlay_full: 0,
            segments: 0,
            fair_share: 0,
          },
          decap: {
            invalid_hdr: 0,
            source_not_peer: 3,
            reserved_bits: 0,
            mac_invalid_source: 0,
            local_mac: 0,
            entry_exists: 0,
            ip_tunnel_ecn: 0,
            vlan_drop: 0,
            too_big: 0,
            overlay_full: 0,
            overlay_down: 0,
            no_slot: 1,
            ambiguous: 0,
            segments: 0,
            from_overlay: 0,
            fair_share: 0,
          },
        },
        fdb: { static: 0, dynamic: 0, learned: 4, moved: 3, aged: 2, evicted: 1 },
        peers: [
          {
            address: '192.0.2.11',
            lastSeen: '2026-06-01T12:00:00.250Z',
            pathMtu: 1500,
            tx: { frames: 13, bytes: 900 },
            rx: { frames: 6, bytes: 600 },
          },
          {
            address: '2001:db8::12',
            lastSeen: null,
            pathMtu: null,
            tx: { frames: 2, bytes: 200 },
            rx: { frames: 0, bytes: 0 },
          },
        ],
        others: { tx: { frames: 0, bytes: 0 }, rx: { frames: 3, bytes: 300 } },
      },
    ],
    drops: {
      encap: {},
      decap: {
        truncated: 0,
        invalid_hdr: 0,
        vni_not_found: 11,
        source_not_peer: 0,
        rx_overflow: 0,
        from_overlay: 0,
      },
    },
    reservedBits: 7,
    busyRatio: 0.25,
    names: [],
  });
});

/**
 * Checks the text format 0.0.4: each family once, HELP and TYPE before its samples, well-formed
 * names and values.
 */
function assertExposition(t: Test, text: string): void {
  t.ok(text.endsWith('\n'), 'ends with a newline');
  const described = new Map<string, string>();
  let family = '';
  for (const line of text.split('\n').filter((each) => each !== '')) {
    const [, keyword, name, rest] = /^# (HELP|TYPE) (\S+) (.+)$/.exec(line) ?? [];
    if (keyword === 'HELP') {
      t.notOk(described.has(name), `${name} appears once`);
      described.set(name, '');
      family = name;
    } else if (keyword === 'TYPE') {
      t.equal(name, family, `TYPE of ${name} follows its HELP`);
      t.match(rest, /^(counter|gauge|histogram|summary)$/, `${name} has a valid type`);
      described.set(name, rest);
    } else {
      const [, sample, value] = /^([a-zA-Z_:][\w:]*)(?:\{.*\})? (\S+)$/.exec(line) ?? [];
      // prom-client writes NaN as Nan; Prometheus ignores the case.
      const number = /^-?(\d+(\.\d+)?(e[+-]?\d+)?|Inf)$|^nan$/i.test(value ?? '');
      if (sample === undefined || !number) t.fail(`not a sample: ${line}`);
      if (!sample.startsWith(family)) t.fail(`${sample} is listed under ${family}`);
      if (described.get(family) === 'counter' && family.startsWith('vtepd_')) t.match(sample, /_total$/);
    }
  }
  for (const name of [...described.keys()].filter((each) => each.startsWith('vtepd_'))) {
    t.not(described.get(name), '', `${name} has a type`);
  }
}
