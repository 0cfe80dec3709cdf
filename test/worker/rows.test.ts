import t from 'tap';
import { RowAllocator } from '../../src/worker/rows.js';

t.test('the lowest first, what was given back before all others, and no more than there are', async (t) => {
  const rows = new RowAllocator(4);
  t.same([rows.take(), rows.take(), rows.take()], [0, 1, 2]);
  rows.give(1);
  t.equal(rows.take(), 1);
  t.equal(rows.take(), 3);
  t.throws(() => rows.take(), /all 4 rows are taken/);
  rows.give(0);
  t.equal(rows.take(), 0);
  t.throws(() => new RowAllocator(0).take(), /all 0 rows/);
});
