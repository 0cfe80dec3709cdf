import { once } from 'node:events';
import { Worker } from 'node:worker_threads';
import t from 'tap';
import * as layout from '../../src/exchange/counters.js';
import { DROP_REASON_COUNT } from '../../src/exchange/drop-reason.js';

const { Counters, GLOBAL_ROW, PEER_ROW, VNI_ROW } = layout;

/** First and last cell of each field of a row, from the exported names with this prefix. */
function cellsOf(prefix: string): [name: string, first: number, last: number][] {
  return Object.entries(layout)
    .filter((entry): entry is [string, number] => entry[0].startsWith(prefix) && typeof entry[1] === 'number')
    .map(([name, first]) => [name, first, first + (name.includes('_DROPS_') ? DROP_REASON_COUNT : 1) - 1]);
}

t.test('the fields of a row do not overlap and are within the row', async (t) => {
  for (const [prefix, row] of [
    ['G_', GLOBAL_ROW],
    ['V_', VNI_ROW],
    ['P_', PEER_ROW],
  ] as const) {
    const used = new Map<number, string>();
    const cells = cellsOf(prefix);
    t.ok(cells.length >= 5, `${prefix}: the fields are found by their names`);
    for (const [name, first, last] of cells) {
      t.ok(last < row, `${name} ends within its row`);
      t.equal(row % 8, 0, `${prefix}: rows begin at cache lines`);
      for (let cell = first; cell <= last; cell++) {
        t.equal(used.get(cell), undefined, `${name}: no other field has cell ${cell}`);
        used.set(cell, name);
      }
    }
  }
});

t.test('rows do not overlap, and the last row ends with the block', async (t) => {
  const counters = new Counters(3, 5);
  const bases = [
    0,
    ...[0, 1, 2].map((i) => counters.vniBase(i)),
    ...[0, 1, 2, 3, 4].map((i) => counters.peerBase(i)),
  ];
  const lengths = [GLOBAL_ROW, VNI_ROW, VNI_ROW, VNI_ROW, ...Array(5).fill(PEER_ROW)];
  let next = 0;
  bases.forEach((base, i) => {
    t.equal(base, next, `row ${i} begins at the end of the previous row`);
    next = base + lengths[i];
  });
  t.equal(counters.cells.length, next);
});

t.test('a reset zeroes a row, sets its generation and does not change the adjacent rows', async (t) => {
  const counters = new Counters(3, 1);
  counters.cells.fill(7);
  counters.resetRow(counters.vniBase(1), VNI_ROW, 42);
  t.equal(counters.cells[counters.vniBase(1) + layout.V_GENERATION], 42);
  t.ok(counters.cells.subarray(counters.vniBase(1) + 1, counters.vniBase(2)).every((cell) => cell === 0));
  t.equal(counters.cells[counters.vniBase(1) - 1], 7);
  t.equal(counters.cells[counters.vniBase(2)], 7);
});

t.test('byte counters are exact beyond 32 bits', async (t) => {
  const counters = new Counters(1, 1);
  counters.cells[5] = 2 ** 32;
  counters.cells[5] += 1;
  t.equal(counters.cells[5], 4294967297);
});

t.test('a reader repeats a copy that a change has disturbed', async (t) => {
  const writer = new Counters(1, 1);
  const reader = new Counters(1, 1, writer.buffer);
  let copies = 0;
  let seen = [0, 0];
  reader.consistently(() => {
    copies++;
    const first = reader.cells[1];
    if (copies === 1) {
      writer.begin();
      writer.cells[1]++;
      writer.cells[2]++;
      writer.end();
    }
    seen = [first, reader.cells[2]];
  });
  t.equal(copies, 2);
  t.same(seen, [1, 1], 'the copy has the new value of both cells');
});

t.test('a writer that dies within a change does not block the reader for ever', async (t) => {
  const writer = new Counters(1, 1);
  writer.begin();
  writer.cells[1] = 5;
  let seen = 0;
  writer.consistently(() => (seen = writer.cells[1]));
  t.equal(seen, 5);
});

t.test('two threads: a snapshot never contains half a change', async (t) => {
  const counters = new Counters(1, 1);
  const stop = new Int32Array(new SharedArrayBuffer(4));
  // The writer is plain JavaScript, because a worker does not have the loader of the test runner.
  // It changes two cells between `begin` and `end`.
  const writer = new Worker(
    `const { workerData: { buffer, stop } } = require('node:worker_threads');
     const sequence = new Int32Array(buffer, 0, 1), cells = new Float64Array(buffer, 64);
     while (Atomics.load(stop, 0) === 0) {
       Atomics.add(sequence, 0, 1);
       cells[1]++;
       for (let i = 0; i < 50; i++) cells[3] = i;
       cells[2]++;
       Atomics.add(sequence, 0, 1);
       for (let i = 0; i < 500; i++) Atomics.load(stop, 0);
     }`,
    { eval: true, workerData: { buffer: counters.buffer, stop } },
  );
  await once(writer, 'online');
  let torn = 0;
  let moved = 0;
  let previous = 0;
  const deadlineMs = performance.now() + 5_000;
  while (moved < 1000 && performance.now() < deadlineMs) {
    let first = 0;
    let second = 0;
    counters.consistently(() => {
      first = counters.cells[1];
      second = counters.cells[2];
    });
    if (first !== second) torn++;
    if (first !== previous) moved++;
    previous = first;
  }
  Atomics.store(stop, 0, 1);
  await once(writer, 'exit');
  t.ok(moved > 0, `the writer changed the cells ${moved} times`);
  t.equal(torn, 0);
});
