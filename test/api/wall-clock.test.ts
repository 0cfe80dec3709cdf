/** Monotonic times shown as wall-clock times while the wall clock is slewed or set. */
import t from 'tap';
import { monotonicMs, WallClock } from '../../src/api/wall-clock.js';
import { CounterBlocks } from '../../src/controller/counter-blocks.js';
import { Counters, P_LAST_SEEN_MS } from '../../src/exchange/counters.js';

const HOUR_MS = 3_600_000;

t.test('a time is shown by the current wall clock, and is stable while the clock is slewed', async (t) => {
  let nowMs = 1000;
  let wallMs = Date.UTC(2026, 0, 1);
  const clock = new WallClock(
    () => nowMs,
    () => wallMs,
  );
  const seenMs = 900;
  t.equal(clock.epochMs(seenMs), wallMs - 100);
  const shown = clock.epochMs(seenMs);
  nowMs += 10_000;
  wallMs += 10_005;
  t.equal(clock.epochMs(seenMs), shown, 'a slew of 5 ms changes nothing');
  wallMs -= HOUR_MS;
  t.equal(clock.epochMs(nowMs), wallMs, 'after the clock is set back, the current time is shown correctly');
  wallMs += 5 * HOUR_MS;
  t.equal(
    clock.epochMs(nowMs),
    wallMs,
    'after the clock is set forward, the current time is shown correctly',
  );
});

t.test(
  'the latest reception over all workers is shown, even if the wall clock was set back meanwhile',
  async (t) => {
    const blocks = [new Counters(1, 1), new Counters(1, 1)];
    // The wall clock was set back by an hour between these two frames; the monotonic clock was not.
    blocks[0].cells[blocks[0].peerBase(0) + P_LAST_SEEN_MS] = 50_000;
    blocks[1].cells[blocks[1].peerBase(0) + P_LAST_SEEN_MS] = 51_000;
    const all = new CounterBlocks(blocks);
    const reader = all.peerRow(0);
    all.read([reader]);
    t.equal(reader.row[P_LAST_SEEN_MS], 51_000);
  },
);

t.test('the monotonic clock is that of the kernel, shared by all threads', async (t) => {
  const before = Number(process.hrtime.bigint()) / 1e6;
  const now = monotonicMs();
  t.ok(now >= before && now < before + 10_000);
});
