import t from 'tap';
import { CounterBlocks } from '../../src/controller/counter-blocks.js';
import * as C from '../../src/exchange/counters.js';

/** Blocks whose cells contain 1,000 × worker + cell: 1,005 is cell 5 of worker 1. */
function blocks(workers: number): C.Counters[] {
  return Array.from({ length: workers }, (_, worker) => {
    const counters = new C.Counters(2, 3);
    const rows: [base: number, length: number][] = [
      [0, C.GLOBAL_ROW],
      [counters.vniBase(1), C.VNI_ROW],
      [counters.peerBase(2), C.PEER_ROW],
    ];
    for (const [base, length] of rows)
      for (let cell = 0; cell < length; cell++) counters.cells[base + cell] = worker * 1000 + cell;
    return counters;
  });
}

const sum = (workers: number, cell: number) => ((workers * (workers - 1)) / 2) * 1000 + workers * cell;

t.test('a single block is read unchanged', async (t) => {
  const [only] = blocks(1);
  const reader = new CounterBlocks([only]);
  const rows = [reader.vniRow(1), reader.peerRow(2)];
  reader.read(rows);
  t.same(rows[0].row, only.cells.slice(only.vniBase(1), only.vniBase(1) + C.VNI_ROW));
  t.same(rows[1].row, only.cells.slice(only.peerBase(2), only.peerBase(2) + C.PEER_ROW));
  t.same(reader.globals(), only.cells.slice(0, C.GLOBAL_ROW));
});

t.test('the cells of three blocks are summed; some cells are taken from one block', async (t) => {
  const reader = new CounterBlocks(blocks(3));
  const rows = [reader.vniRow(1), reader.peerRow(2)];
  reader.read(rows);
  const [vni, peer] = rows.map(({ row }) => row);
  const ofFirst: number[] = [
    C.V_GENERATION,
    C.V_FDB_STATIC,
    C.V_FDB_DYNAMIC,
    C.V_LEARNED,
    C.V_MOVED,
    C.V_AGED,
    C.V_EVICTED,
  ];
  t.equal(vni[C.V_TWIN_PEER], 2000 + C.V_TWIN_PEER, 'a row of a peer is not summed');
  for (let cell = 0; cell < C.VNI_ROW; cell++)
    if (cell !== C.V_TWIN_PEER)
      t.equal(vni[cell], ofFirst.includes(cell) ? cell : sum(3, cell), `cell ${cell} of a VNI`);
  for (const cell of [C.P_TX_FRAMES, C.P_TX_BYTES, C.P_RX_FRAMES, C.P_RX_BYTES])
    t.equal(peer[cell], sum(3, cell));
  t.equal(peer[C.P_GENERATION], C.P_GENERATION);
  t.equal(peer[C.P_FDB_DYNAMIC], C.P_FDB_DYNAMIC);
  t.equal(peer[C.P_LAST_SEEN_MS], 2000 + C.P_LAST_SEEN_MS, 'the latest last-seen time, of worker 2, is used');

  const globals = reader.globals();
  t.equal(globals[C.G_HEARTBEAT_MS], C.G_HEARTBEAT_MS, 'the oldest heartbeat is used');
  t.equal(globals[C.G_BUSY_RATIO], 2000 + C.G_BUSY_RATIO, 'the ratio of the busiest worker is used');
  t.equal(globals[C.G_STRAY_VNI], 2000 + C.G_STRAY_VNI, 'the last unknown VNI is not summed');
  t.equal(globals[C.G_RESERVED_BITS], sum(3, C.G_RESERVED_BITS));
  t.equal(globals[C.G_DROPS_DECAP + 4], sum(3, C.G_DROPS_DECAP + 4));
});

t.test('rows read together are consistent within each block', async (t) => {
  const [still, moving] = blocks(2);
  const reader = new CounterBlocks([still, moving]);
  const frames = moving.vniBase(1) + C.V_TAP_RX_FRAMES;
  const sent = moving.peerBase(2) + C.P_TX_FRAMES;
  const before = moving.cells[frames];
  const { consistently } = C.Counters.prototype;
  let looks = 0;
  // The writer counts a batch between the reader's copies of the two rows.
  moving.consistently = (copy) =>
    consistently.call(moving, () => {
      copy();
      if (looks++ > 0) return;
      moving.begin();
      moving.cells[frames]++;
      moving.cells[sent]++;
      moving.end();
    });
  const rows = [reader.vniRow(1), reader.peerRow(2)];
  reader.read(rows);
  t.equal(looks, 2, 'the reader copied the rows again');
  t.equal(rows[0].row[C.V_TAP_RX_FRAMES], C.V_TAP_RX_FRAMES + before + 1);
  t.equal(rows[1].row[C.P_TX_FRAMES], sum(2, C.P_TX_FRAMES) + 1);
});

t.test('adjacent rows that are read together equal the same rows read one by one', async (t) => {
  const all = blocks(2);
  for (const [worker, { cells }] of all.entries())
    for (let cell = 0; cell < 3 * C.PEER_ROW; cell++)
      cells[all[0].peerBase(0) + cell] = 100 * (worker + 1) + cell;
  const reader = new CounterBlocks(all);
  const alone = [0, 1, 2].map((peerIdx) => reader.peerRow(peerIdx));
  const together = new Float64Array(3 * C.PEER_ROW);
  reader.read([...alone, reader.peerRows(0, together)]);
  t.same(
    [...together],
    alone.flatMap(({ row }) => [...row]),
  );
});

t.test('a reader whose copies are all disturbed makes fewer attempts for larger rows', async (t) => {
  const copies = (peers: number) => {
    const busy = new C.Counters(1, peers);
    let copied = 0;
    const { consistently } = C.Counters.prototype;
    busy.consistently = (copy, attempts) =>
      consistently.call(
        busy,
        () => {
          copied++;
          copy();
          busy.begin();
          busy.end();
        },
        attempts,
      );
    const reader = new CounterBlocks([busy]);
    reader.read([reader.vniRow(0), reader.peerRows(0, new Float64Array(peers * C.PEER_ROW))]);
    return copied;
  };
  t.equal(copies(1), 10_001, 'a small VNI is copied 10,001 times');
  t.ok(copies(1000) < 600, 'a VNI of a thousand peers is copied less often');
  t.ok(copies(64_000) <= 9, 'a VNI of 64,000 peers is copied at most nine times');
  t.ok(copies(1 << 20) <= 5, 'the largest VNI is copied at most five times');
});
