/**
 * The verdict on a flood: flow, entries and memory each have a must of their own.
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
  ['all is well', round(), []],
  ['exactly 60 %', round({ vtepd: flow(1.8) }), []],
  ['less than 60 %', round({ vtepd: flow(1.7) }), ['flow']],
  ['no flow', round({ vtepd: { gbps: 0, p50: null, max: null, lost: 0 } }), ['flow']],
  ['an entry is lost', round({ entriesAfter: 999 }), ['entries']],
  ['no answer', round({ entriesAfter: null }), ['entries']],
  ['64 MB more', round({ residentAfter: 184 * MB }), []],
  ['65 MB more', round({ residentAfter: 185 * MB }), ['memory']],
  ['the daemon has ended', round({ entriesAfter: null, residentAfter: null }), ['entries', 'memory']],
];

for (const [name, one, below] of rows)
  t.test(name, async (t) => {
    t.same(verdictOfFlood(flood(one)).below, below);
    const verdict = below.length === 0 ? 'ok' : `below must: ${below.join(', ')}`;
    t.match(floodTable([flood(one)]), `| ${verdict} `, 'so does the table');
  });

t.test('of the flow the median counts, of entries and memory the worst round', async (t) => {
  const slow = round({ vtepd: flow(1) });
  t.same(verdictOfFlood(flood(round(), slow, round())).below, []);
  t.same(verdictOfFlood(flood(round(), round({ entriesAfter: 0 }), round())).below, ['entries']);
});

t.test('what was not measured is not shown', async (t) => {
  t.equal(floodTable([flood()]), '');
});
