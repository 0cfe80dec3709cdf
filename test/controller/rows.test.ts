import t from 'tap';
import { RowAllocator } from '../../src/controller/rows.js';

t.test('allocates freed rows first, then the lowest, up to the capacity', async (t) => {
  const rows = new RowAllocator(4);
  const take = () => rows.allocate().first;
  t.same([take(), take(), take()], [0, 1, 2]);
  rows.give(1);
  t.equal(rows.free, 2);
  t.equal(take(), 1);
  t.equal(take(), 3);
  t.equal(rows.free, 0);
  t.throws(take, /all 4 rows are in use/);
  rows.give(0);
  t.equal(take(), 0);
  t.throws(() => new RowAllocator(0).allocate(), /all 0 rows/);
});

t.test('new rows are adjacent with generation 0; freed rows come singly with a new generation', async (t) => {
  const rows = new RowAllocator(10);
  t.same(rows.allocate(4), { first: 0, count: 4, generation: 0 });
  rows.give(2);
  rows.give(0);
  t.same(rows.allocate(4), { first: 0, count: 1, generation: 1 });
  t.same(rows.allocate(3), { first: 2, count: 1, generation: 2 });
  t.same(
    rows.allocate(7),
    { first: 4, count: 6, generation: 0 },
    'a request for more rows gets all adjacent free rows',
  );
  rows.give(2);
  t.same(rows.allocate(), { first: 2, count: 1, generation: 3 }, 'a generation is never repeated');
});
