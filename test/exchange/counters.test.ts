import { once } from 'node:events';
import { Worker } from 'node:worker_threads';
import t from 'tap';
import * as layout from '../../src/exchange/counters.js';
import { DROP_REASON_COUNT } from '../../src/exchange/drop-reason.js';

const { Counters, GLOBAL_ROW, PEER_ROW, VNI_ROW } = layout;

/** First and last cell of everything a row holds, from the exported names with this prefix. */
function cellsOf(prefix: string): [name: string, first: number, last: number][] {
  return Object.entries(layout)
    .filter((entry): entry is [string, number] => entry[0].startsWith(prefix) && typeof entry[1] === 'number')
    .map(([name, first]) => [name, first, first + (name.includes('_DROPS_') ? DROP_REASON_COUNT : 1) - 1]);
}

t.test('no two cells of a row overlap, and none leaves its row', async (t) => {
  for (const [prefix, row] of [
    ['G_', GLOBAL_ROW],
    ['V_', VNI_ROW],
    ['P_', PEER_ROW],
  ] as const) {
    const taken = new Map<number, string>();
    const cells = cellsOf(prefix);
    t.ok(cells.length >= 5, `${prefix}: the names were found`);
    for (const [name, first, last] of cells) {
      t.ok(last < row, `${name} ends within its row`);
      t.equal(row % 8, 0, `${prefix}: rows begin at cache lines`);
      for (let cell = first; cell <= last; cell++) {
        t.equal(taken.get(cell), undefined, `${name} cell ${cell}`);
        taken.set(cell, name);
      }
    }
  }
});

t.test('no two rows overlap, and the last one ends with the block', async (t) => {
  const counters = new Counters(3, 5);
  const bases = [
    0,
    ...[0, 1, 2].map((i) => counters.vniBase(i)),
    ...[0, 1, 2, 3, 4].map((i) => counters.peerBase(i)),
  ];
  const lengths = [GLOBAL_ROW, VNI_ROW, VNI_ROW, VNI_ROW, ...Array(5).fill(PEER_ROW)];
  let next = 0;
  bases.forEach((base, i) => {
    t.equal(base, next, `row ${i} begins where the one before ended`);
    next = base + lengths[i];
  });
  t.equal(counters.cells.length, next);
});

t.test('a row that is reset begins at zero under its generation, its neighbours keep theirs', async (t) => {
  const counters = new Counters(3, 1);
  counters.cells.fill(7);
  counters.resetRow(counters.vniBase(1), VNI_ROW, 42);
  t.equal(counters.cells[counters.vniBase(1) + layout.V_GENERATION], 42);
  t.ok(counters.cells.subarray(counters.vniBase(1) + 1, counters.vniBase(2)).every((cell) => cell === 0));
  t.equal(counters.cells[counters.vniBase(1) - 1], 7);
  t.equal(counters.cells[counters.vniBase(2)], 7);
});

t.test('byte counters go beyond 32 bits exactly', async (t) => {
  const counters = new Counters(1, 1);
  counters.cells[5] = 2 ** 32;
  counters.cells[5] += 1;
  t.equal(counters.cells[5], 4294967297);
});

t.test('a reader that meets a change takes another look', async (t) => {
  const writer = new Counters(1, 1);
  const reader = new Counters(1, 1, writer.buffer);
  let looks = 0;
  let seen = [0, 0];
  reader.consistently(() => {
    looks++;
    const first = reader.cells[1];
    if (looks === 1) {
      writer.begin();
      writer.cells[1]++;
      writer.cells[2]++;
      writer.end();
    }
    seen = [first, reader.cells[2]];
  });
  t.equal(looks, 2);
  t.same(seen, [1, 1], 'both cells of one change, or none');
});

t.test('a writer that died within a change does not hold the reader for ever', async (t) => {
  const writer = new Counters(1, 1);
  writer.begin();
  writer.cells[1] = 5;
  let seen = 0;
  writer.consistently(() => (seen = writer.cells[1]));
  t.equal(seen, 5);
});

t.test('two threads: a snapshot never shows half a change', async (t) => {
  const counters = new Counters(1, 1);
  const stop = new Int32Array(new SharedArrayBuffer(4));
  // The writer as plain JavaScript, for a worker does not get the test runner's loader: begin, two cells, end.
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
  t.ok(moved > 0, `the writer was seen at work ${moved} times`);
  t.equal(torn, 0);
});
