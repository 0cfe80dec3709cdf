import t from 'tap';
import { makeClock, NOW_MS, tickOf } from '../../../src/switch/fdb/clock.js';

t.test('a tick is a tenth of a second, and wraps at 32 bits', async (t) => {
  const clock = makeClock();
  const tickAt = (ms: number) => {
    clock[NOW_MS] = ms;
    return tickOf(clock);
  };
  t.equal(tickAt(0), 0);
  t.equal(tickAt(99.9), 0);
  t.equal(tickAt(100), 1);
  t.equal(tickAt(2 ** 31 * 100 - 1), 2 ** 31 - 1);
  t.equal(tickAt(2 ** 31 * 100), -(2 ** 31));
});
