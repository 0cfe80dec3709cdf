/**
 * Least-squares line through the memory samples of the soak test.
 */
import t from 'tap';
import { slopeOf } from '../../bench/soak/watch.js';

t.test('the slope is that of the least-squares line', async (t) => {
  const rows: [xs: number[], ys: number[], slope: number][] = [
    [[0, 1, 2, 3], [5, 7, 9, 11], 2],
    [[10, 11, 12], [3, 3, 3], 0],
    [[0, 1, 2, 3], [0, 10, 0, 10], 2],
    [[7], [100], 0],
  ];
  for (const [xs, ys, slope] of rows) t.equal(slopeOf(xs, ys), slope, `${xs}: ${ys}`);
});
