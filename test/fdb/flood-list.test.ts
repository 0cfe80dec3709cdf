import t from 'tap';
import { PeerLists } from '../../src/fdb/flood-list.js';

t.test('lists of VNIs keep apart, removal leaves the others in order', async (t) => {
  const lists = new PeerLists(2);
  t.same([...lists.of(0)], []);
  lists.remove(0, 7);
  t.same([...lists.of(0)], [], 'removing what is not there');
  for (const peerIdx of [1, 2, 3]) lists.add(0, [peerIdx], false);
  lists.add(1, [2], false);
  lists.add(0, [0], true);
  t.same([...lists.of(0)], [0, 1, 2, 3], 'front goes first');
  t.same([...lists.of(1)], [2]);
  lists.remove(0, 2);
  t.same([...lists.of(0)], [0, 1, 3]);
  t.same([...lists.of(1)], [2], 'the same peer row in another list stays');
});

t.test('a list that was borrowed does not change under the borrower', async (t) => {
  const lists = new PeerLists(1);
  lists.add(0, [1], false);
  const borrowed = lists.of(0);
  lists.add(0, [2], false);
  lists.remove(0, 1);
  t.same([...borrowed], [1]);
  t.same([...lists.of(0)], [2]);
});
