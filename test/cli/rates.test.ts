/** Rates from two readings of the counters. */
import t from 'tap';
import { ratesBetween } from '../../src/cli/rates.js';
import { counters, vniCounters } from '../support/counters.js';

const traffic = (frames: number, bytes: number) => ({ frames, bytes });

t.test('the first reading has all VNIs and drop reasons, with rates of 0', async (t) => {
  const now = counters([
    vniCounters(100, {
      tap: { rx: traffic(10, 1000), tx: traffic(0, 0), queueDropped: 0 },
      drops: { encap: { no_route: 3 }, decap: {} },
    }),
  ]);
  t.match(ratesBetween(undefined, now, 1), {
    vnis: [{ vni: 100, out: { frames: 0, bytes: 0 }, dropped: 0 }],
    drops: [{ vni: 100, direction: 'encap', reason: 'no_route', total: 3, perSecond: 0 }],
  });
});

t.test('directions, peers, FDB and drops have rates; peers and drops are sorted', async (t) => {
  const before = counters([
    vniCounters(100, {
      tap: { rx: traffic(10, 1000), tx: traffic(5, 500), queueDropped: 0 },
      drops: { encap: { no_route: 3, too_big: 50 }, decap: {} },
      peers: [
        { address: '192.0.2.1', tx: traffic(10, 1000), rx: traffic(0, 0) },
        { address: '192.0.2.2', tx: traffic(0, 0), rx: traffic(5, 500) },
      ],
    }),
  ]);
  const now = counters(
    [
      vniCounters(200),
      vniCounters(100, {
        tap: { rx: traffic(30, 5000), tx: traffic(6, 600), queueDropped: 0 },
        drops: { encap: { no_route: 7, too_big: 50 }, decap: {} },
        fdb: { static: 1, dynamic: 2, learned: 4, moved: 0, aged: 0, evicted: 0 },
        peers: [
          { address: '192.0.2.1', tx: traffic(10, 1000), rx: traffic(0, 0) },
          { address: '192.0.2.2', tx: traffic(20, 4000), rx: traffic(6, 600) },
        ],
        others: { tx: traffic(0, 0), rx: traffic(2, 200) },
      }),
    ],
    { drops: { encap: {}, decap: { vni_not_found: 100 } }, busyRatio: 0.5 },
  );
  const rates = ratesBetween(before, now, 2);
  t.equal(rates.busyRatio, 0.5);
  t.match(rates.vnis, [
    {
      vni: 100,
      out: { frames: 10, bytes: 2000 },
      in: { frames: 0.5, bytes: 50 },
      dropped: 2,
      fdbEntries: 3,
      fdb: { learned: 2, moved: 0 },
      peers: [
        { address: '192.0.2.2', out: { frames: 10, bytes: 2000 }, in: { frames: 0.5 } },
        { address: '', in: { frames: 1, bytes: 100 } },
        { address: '192.0.2.1', out: { frames: 0 } },
      ],
    },
    { vni: 200, peers: [] },
  ]);
  t.strictSame(rates.drops, [
    { vni: null, direction: 'decap', reason: 'vni_not_found', total: 100, perSecond: 50 },
    { vni: 100, direction: 'encap', reason: 'no_route', total: 7, perSecond: 2 },
    { vni: 100, direction: 'encap', reason: 'too_big', total: 50, perSecond: 0 },
  ]);
});

t.test('after a restart of the daemon the counters start at zero', async (t) => {
  const before = counters([
    vniCounters(100, { tap: { rx: traffic(1000, 1000), tx: traffic(0, 0), queueDropped: 0 } }),
  ]);
  const now = counters([
    vniCounters(100, { tap: { rx: traffic(10, 20), tx: traffic(0, 0), queueDropped: 0 } }),
  ]);
  t.match(ratesBetween(before, now, 1).vnis, [{ out: { frames: 10, bytes: 20 } }]);
});

t.test('drops of the kernel at the TAP queue are listed', async (t) => {
  const at = (queueDropped: number) =>
    counters([vniCounters(100, { tap: { rx: traffic(0, 0), tx: traffic(0, 0), queueDropped } })]);
  const { drops, vnis } = ratesBetween(at(10), at(30), 2);
  t.same(drops, [{ vni: 100, direction: 'tap', reason: 'queue_full', total: 30, perSecond: 10 }]);
  t.equal(vnis[0].dropped, 10);
  t.same(ratesBetween(undefined, at(0), 1).drops, []);
});
