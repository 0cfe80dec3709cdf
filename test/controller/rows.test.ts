import t from 'tap';
import { RowAllocator } from '../../src/controller/rows.js';

t.test('the lowest first, what was given back before all others, and no more than there are', async (t) => {
  const rows = new RowAllocator(4);
  const take = () => rows.allocate().first;
  t.same([take(), take(), take()], [0, 1, 2]);
  rows.give(1);
  t.equal(rows.free, 2);
  t.equal(take(), 1);
  t.equal(take(), 3);
  t.equal(rows.free, 0);
  t.throws(take, /all 4 rows are taken/);
  rows.give(0);
  t.equal(take(), 0);
  t.throws(() => new RowAllocator(0).allocate(), /all 0 rows/);
});

t.test(
  'neighbours together, in their first life; one by one and in a life of its own what comes back',
  async (t) => {
    const rows = new RowAllocator(10);
    t.same(rows.allocate(4), { first: 0, count: 4, generation: 0 });
    rows.give(2);
    rows.give(0);
    t.same(rows.allocate(4), { first: 0, count: 1, generation: 1 });
    t.same(rows.allocate(3), { first: 2, count: 1, generation: 2 });
    t.same(rows.allocate(7), { first: 4, count: 6, generation: 0 }, 'as many as there are');
    rows.give(2);
    t.same(rows.allocate(), { first: 2, count: 1, generation: 3 }, 'never the same one again');
  },
);
