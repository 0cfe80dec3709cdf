import t from 'tap';
import { RowAllocator } from '../../src/controller/rows.js';
import { VniPeers } from '../../src/controller/vni-peers.js';
import type { NewPeer } from '../../src/exchange/data-plane.js';
import { packAddress } from '../support/memory-plane.js';

function newPeers(count: number, net = 0): NewPeer[] {
  return Array.from({ length: count }, (_, i) => {
    const text = `10.${net}.${i >> 8}.${i & 255}`;
    return { address: { ...packAddress(text, 4789), text }, flood: true, name: '', pathMtu: 0 };
  });
}

/** Rows and the last part of the addresses, in order. */
const shown = (peers: VniPeers) =>
  Array.from(peers, ({ peerIdx, address }) => [peerIdx, Number(address.text.split('.')[3])]);

t.test('peers added together have adjacent rows and are found by address and row', async (t) => {
  const rows = new RowAllocator(100);
  const [one, other] = [new VniPeers(), new VniPeers()];
  const list = newPeers(3);
  t.same(
    one.add(list, rows).map(({ first, count }) => [first, count]),
    [[0, 3]],
  );
  other.add(list, rows);
  one.add(newPeers(1, 7), rows);
  t.same(shown(one), [
    [0, 0],
    [1, 1],
    [2, 2],
    [6, 0],
  ]);
  t.same(shown(other), [
    [3, 0],
    [4, 1],
    [5, 2],
  ]);
  t.equal(other.find('10.0.0.1')?.peerIdx, 4);
  t.equal(one.find('10.7.0.0')?.peerIdx, 6);
  t.equal(other.find('10.7.0.0'), undefined);
  t.match(other.at(5), { first: 5, count: 1, from: 2, list });
  t.equal(one.at(5), undefined);
  t.equal(other.runs[0].list, list, 'the list is not copied');
});

t.test('removing a peer at any position keeps the other peers', async (t) => {
  for (const removed of [0, 1, 2, 3]) {
    const peers = new VniPeers();
    peers.add(newPeers(4), new RowAllocator(10));
    t.equal(peers.remove(removed), true);
    t.same(
      shown(peers),
      [0, 1, 2, 3].filter((row) => row !== removed).map((row) => [row, row]),
    );
    t.equal(peers.find(`10.0.0.${removed}`), undefined);
    t.equal(peers.at(removed), undefined);
    t.equal(peers.remove(removed), false);
    t.equal(shown(peers).length, 3);
  }
});

t.test('freed rows are used one by one; a request for too many rows allocates none', async (t) => {
  const rows = new RowAllocator(6);
  const peers = new VniPeers();
  peers.add(newPeers(4), rows);
  for (const removed of [1, 3]) {
    peers.remove(removed);
    rows.give(removed);
  }
  t.throws(() => peers.add(newPeers(5, 1), rows), /5 peers requested, but only 4 peer rows are free/);
  t.equal(rows.free, 4);
  peers.add(newPeers(4, 1), rows);
  t.same(shown(peers), [
    [0, 0],
    [2, 2],
    [3, 0],
    [1, 1],
    [4, 2],
    [5, 3],
  ]);
});

t.test('a long list is split into runs', async (t) => {
  const peers = new VniPeers();
  const added = peers.add(newPeers(2500), new RowAllocator(3000));
  t.same(
    added.map(({ first, from, count }) => [first, from, count]),
    [
      [0, 0, 1024],
      [1024, 1024, 1024],
      [2048, 2048, 452],
    ],
  );
  t.equal(peers.find('10.0.9.195')?.peerIdx, 2499);
});
