/**
 * Tests of the note ring: full and empty rings, counts that wrap, and two real threads.
 */
import { once } from 'node:events';
import { Worker } from 'node:worker_threads';
import t from 'tap';
import { NOTE_WORDS, NoteRing } from '../../../src/switch/fdb/note-ring.js';

const HEADER_LEN = 128;
const lengthFor = (notes: number) => HEADER_LEN + notes * NOTE_WORDS * 4;

function put(ring: NoteRing, value: number): boolean {
  const base = ring.claim();
  if (base < 0) return false;
  ring.words.fill(value, base, base + NOTE_WORDS);
  ring.publish();
  return true;
}

function take(ring: NoteRing): number | undefined {
  const base = ring.first();
  if (base < 0) return undefined;
  const [value, ...rest] = ring.words.subarray(base, base + NOTE_WORDS);
  ring.release();
  return rest.every((word) => word === value) ? value : Number.NaN;
}

t.test('a ring is FIFO and reports full and empty', async (t) => {
  const length = lengthFor(4);
  const ring = new NoteRing(new SharedArrayBuffer(length), 0, length);
  t.equal(take(ring), undefined);
  for (const value of [1, 2, 3, 4]) t.equal(put(ring, value), true);
  t.equal(put(ring, 5), false, 'full');
  t.equal(take(ring), 1);
  t.equal(put(ring, 6), true);
  t.equal(put(ring, 7), false);
  t.same([take(ring), take(ring), take(ring), take(ring), take(ring)], [2, 3, 4, 6, undefined]);
});

t.test('an unpublished note is not visible, and an unreleased note is read again', async (t) => {
  const length = lengthFor(4);
  const buffer = new SharedArrayBuffer(length);
  const writer = new NoteRing(buffer, 0, length);
  writer.words[writer.claim()] = 9;
  t.equal(
    new NoteRing(buffer, 0, length).first(),
    -1,
    'a note whose writer died before it was published is not visible',
  );
  put(writer, 1);
  const base = writer.first();
  t.equal(
    new NoteRing(buffer, 0, length).first(),
    base,
    'a note whose reader died while reading it is read again',
  );
});

t.test('the capacity is a power of two; adjacent rings in one buffer are separate', async (t) => {
  const length = lengthFor(5) + 60;
  const buffer = new SharedArrayBuffer(3 * lengthFor(6));
  const rings = [0, 1, 2].map((i) => new NoteRing(buffer, i * lengthFor(6), length));
  for (const [i, ring] of rings.entries()) for (let n = 0; n < 4; n++) t.ok(put(ring, 10 * i + n));
  for (const ring of rings) t.equal(put(ring, 99), false, 'four fit');
  for (const [i, ring] of rings.entries()) for (let n = 0; n < 4; n++) t.equal(take(ring), 10 * i + n);
});

t.test('counts wrap at 32 bits', async (t) => {
  const length = lengthFor(4);
  const buffer = new SharedArrayBuffer(length);
  const counts = new Int32Array(buffer, 0, 32);
  counts[0] = 2 ** 31 - 3;
  counts[16] = 2 ** 31 - 3;
  const ring = new NoteRing(buffer, 0, length);
  for (let round = 0; round < 10; round++) {
    t.equal(put(ring, round), true);
    t.equal(take(ring), round);
  }
  t.ok(counts[0] < 0);
  for (let n = 0; n < 4; n++) t.equal(put(ring, n), true);
  t.equal(put(ring, 4), false, 'full is detected beyond the wrap');
});

t.test('between two threads no note is lost, duplicated or torn', async (t) => {
  const length = lengthFor(64);
  const buffer = new SharedArrayBuffer(length);
  const ring = new NoteRing(buffer, 0, length);
  const count = 200_000;
  // The writer is plain JavaScript: it writes the words first, and after them the count that
  // includes them.
  const writer = new Worker(
    `const { workerData: { buffer, count, words } } = require('node:worker_threads');
     const counts = new Int32Array(buffer, 0, 32), notes = new Int32Array(buffer, 128);
     for (let n = 0; n < count; ) {
       if (((counts[0] - Atomics.load(counts, 16)) | 0) >= 64) { Atomics.wait(counts, 31, 0, 0); continue; }
       notes.fill(n, (n & 63) * words, ((n & 63) + 1) * words);
       Atomics.store(counts, 0, (counts[0] + 1) | 0);
       n++;
     }`,
    { eval: true, workerData: { buffer, count, words: NOTE_WORDS } },
  );
  await once(writer, 'online');
  let expected = 0;
  const deadlineMs = performance.now() + 20_000;
  while (expected < count && performance.now() < deadlineMs) {
    const value = take(ring);
    if (value === undefined) continue;
    if (value !== expected) return void t.fail(`note ${expected} holds ${value}`);
    expected++;
  }
  t.equal(expected, count);
  t.equal(take(ring), undefined);
});
