import t from 'tap';
import {
  DECAP,
  DROP,
  DROP_REASON_COUNT,
  DROP_REASONS,
  ENCAP,
  STRAY,
} from '../../src/exchange/drop-reason.js';

/** Compatibility with dashboards: labels may be added, never changed. */
const NAMES = [
  'invalid_hdr',
  'vni_not_found',
  'mac_invalid_source',
  'local_mac',
  'entry_exists',
  'no_tx_target',
  'ip_tunnel_ecn',
  'source_not_peer',
  'truncated',
  'too_big',
  'flood_off',
  'vlan_drop',
  'reserved_bits',
  'no_route',
  'overlay_full',
  'overlay_down',
  'underlay_full',
  'rx_overflow',
  'no_slot',
  'ambiguous',
  'segments',
  'fair_share',
  'from_overlay',
];

t.test('the table has exactly the documented reasons', async (t) => {
  t.same(Object.keys(DROP).sort(), [...NAMES].sort());
  t.equal(DROP_REASON_COUNT, NAMES.length + 1);
});

t.test('index, label and help are consistent', async (t) => {
  t.equal(DROP_REASONS[0][0], '', 'verdict 0 means not dropped');
  DROP_REASONS.slice(1).forEach(([label, help, occurs], i) => {
    t.equal(DROP[label as keyof typeof DROP], i + 1, label);
    t.match(label, /^[a-z]+(_[a-z]+)*$/);
    t.ok(help.length > 10 && !help.endsWith('.'), `${label} has a help text`);
    t.equal(occurs & ~(ENCAP | DECAP | STRAY), 0, `${label} has a scope`);
  });
});
