import t from 'tap';
import { loadShim } from '../../../src/abi/binding.js';
import { SocketDrops } from '../../../src/switch/port/socket-drops.js';

/** The shim with scripted drop counts, which a test cannot reach by real drops. */
function shimThatCounts(counts: number[]) {
  return Object.assign(Object.create(loadShim()), { udpDrops: () => counts.shift() });
}

t.test('each drop is reported once, also across a wrap of the counter', async (t) => {
  const drops = new SocketDrops(shimThatCounts([3, 3, 0xffff_fff0, 5, 5]), 0);
  t.equal(drops.take(), 3);
  t.equal(drops.take(), 0);
  t.equal(drops.take(), 0xffff_fff0 - 3);
  t.equal(drops.take(), 21, '16 drops before the wrap and 5 after it are reported');
  t.equal(drops.take(), 0);
});

t.test('drops are not reported twice after a failed query', async (t) => {
  const EBADF = -9;
  const drops = new SocketDrops(shimThatCounts([7, EBADF, 9]), 0);
  t.equal(drops.take(), 7);
  t.equal(drops.take(), 0);
  t.equal(drops.take(), 2);
});
