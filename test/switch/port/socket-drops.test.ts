import t from 'tap';
import { loadShim } from '../../../src/abi/binding.js';
import { SocketDrops } from '../../../src/switch/port/socket-drops.js';

/** The shim, but for a count that no test could reach by dropping. */
function shimThatCounts(counts: number[]) {
  return Object.assign(Object.create(loadShim()), { udpDrops: () => counts.shift() });
}

t.test('each drop is told once, where the count wraps too', async (t) => {
  const drops = new SocketDrops(shimThatCounts([3, 3, 0xffff_fff0, 5, 5]), 0);
  t.equal(drops.take(), 3);
  t.equal(drops.take(), 0);
  t.equal(drops.take(), 0xffff_fff0 - 3);
  t.equal(drops.take(), 21, 'sixteen before the wrap, five behind it');
  t.equal(drops.take(), 0);
});

t.test('a count that fails for a moment is not told again afterwards', async (t) => {
  const EBADF = -9;
  const drops = new SocketDrops(shimThatCounts([7, EBADF, 9]), 0);
  t.equal(drops.take(), 7);
  t.equal(drops.take(), 0);
  t.equal(drops.take(), 2);
});
