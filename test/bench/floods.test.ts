/**
 * Verdict of a flood: the known flow, the FDB entries and the memory have separate limits.
 */
import t from 'tap';
import type { FloodRound, Flow } from '../../bench/floods/floods.js';
import { floodTable, verdictOfFlood } from '../../bench/floods/report.js';

const MB = 1 << 20;
const flow = (gbps: number): Flow => ({ gbps, p50: 80, max: 5000, lost: 0 });

function round(wrong: Partial<FloodRound> = {}): FloodRound {
  return {
    quiet: flow(4),
    socket: flow(3),
    vtepd: flow(2.7),
    rates: { socket: 200_000, vtepd: 180_000 },
    entriesBefore: 1000,
    entriesAfter: 1000,
    residentBefore: 120 * MB,
    residentAfter: 130 * MB,
    ...wrong,
  };
}

const flood = (...rounds: FloodRound[]) => ({ id: 'one-mac', title: 'one MAC', rounds });

const rows: [string, FloodRound, string[]][] = [
  ['nothing is below its must', round(), []],
  ['exactly 60 % of the baseline', round({ vtepd: flow(1.8) }), []],
  ['less than 60 % of the baseline', round({ vtepd: flow(1.7) }), ['flow']],
  ['no flow', round({ vtepd: { gbps: 0, p50: null, max: null, lost: 0 } }), ['flow']],
  ['an entry is lost', round({ entriesAfter: 999 }), ['entries']],
  ['the daemon does not answer', round({ entriesAfter: null }), ['entries']],
  ['memory grows by 64 MB', round({ residentAfter: 184 * MB }), []],
  ['memory grows by 65 MB', round({ residentAfter: 185 * MB }), ['memory']],
  ['the daemon has ended', round({ entriesAfter: null, residentAfter: null }), ['entries', 'memory']],
];

for (const [name, one, below] of rows)
  t.test(name, async (t) => {
    t.same(verdictOfFlood(flood(one)).below, below);
    const verdict = below.length === 0 ? 'ok' : `below must: ${below.join(', ')}`;
    t.match(floodTable([flood(one)]), `| ${verdict} `, 'verdict in the table');
  });

t.test('the verdict uses the median of the flow, and the worst round of entries', async (t) => {
  const slow = round({ vtepd: flow(1) });
  t.same(verdictOfFlood(flood(round(), slow, round())).below, []);
  t.same(verdictOfFlood(flood(round(), round({ entriesAfter: 0 }), round())).below, ['entries']);
});

t.test('the table omits floods without rounds', async (t) => {
  t.equal(floodTable([flood()]), '');
});
