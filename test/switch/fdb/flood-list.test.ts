import t from 'tap';
import { PeerLists } from '../../../src/switch/fdb/flood-list.js';
import { random } from '../../support/memory-plane.js';

t.test('lists of VNIs are separate, and removal keeps the order', async (t) => {
  const lists = new PeerLists(2);
  t.same(lists.rows(0), []);
  lists.remove(0, 7);
  t.same(lists.rows(0), [], 'removing an absent row changes nothing');
  lists.add(0, 1, 3, false);
  lists.add(0, 9, 0, false);
  lists.add(1, 2, 1, false);
  lists.add(0, 0, 1, true);
  t.same(lists.rows(0), [0, 1, 2, 3], 'a row added at the front comes first');
  t.same(lists.rows(1), [2]);
  lists.remove(0, 2);
  t.same(lists.rows(0), [0, 1, 3]);
  t.same(lists.rows(1), [2], 'the same peer row in another list stays');
  lists.clear(0);
  t.same([lists.rows(0), lists.rows(1)], [[], [2]]);
});

t.test('adjacent rows become one range, in any order of addition', async (t) => {
  const lists = new PeerLists(1);
  lists.add(0, 10, 1000, false);
  lists.add(0, 1010, 1, false);
  lists.add(0, 8, 2, true);
  t.same([...lists.runs(0)], [8, 1003]);
  lists.add(0, 5, 1, false);
  t.same([...lists.runs(0)], [8, 1003, 5, 1]);
  lists.remove(0, 9);
  t.same([...lists.runs(0)], [8, 1, 10, 1001, 5, 1]);
  for (const peerIdx of [5, 8]) lists.remove(0, peerIdx);
  t.same([...lists.runs(0)], [10, 1001]);
});

t.test('random additions and removals match those of an array', async (t) => {
  const lists = new PeerLists(1);
  const next = random(7);
  let model: number[] = [];
  for (let step = 0; step < 3000; step++) {
    const first = next(60);
    const added = Array.from({ length: next(4) }, (_, i) => first + i);
    if (next(2) === 0 && added.every((row) => !model.includes(row))) {
      const front = next(2) === 0;
      lists.add(0, first, added.length, front);
      model = front ? [...added, ...model] : [...model, ...added];
    } else {
      lists.remove(0, first);
      model = model.filter((row) => row !== first);
    }
    if (lists.rows(0).join() !== model.join())
      return void t.fail(`step ${step}: ${lists.rows(0)} ≠ ${model}`);
  }
  t.pass('3,000 steps');
});

t.test('a borrowed list does not change', async (t) => {
  const lists = new PeerLists(1);
  lists.add(0, 1, 1, false);
  const borrowed = lists.runs(0);
  lists.add(0, 2, 1, false);
  lists.remove(0, 1);
  t.same([...borrowed], [1, 1]);
  t.same(lists.rows(0), [2]);
});
