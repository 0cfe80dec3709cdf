import t from 'tap';
import { BATCH_LEN, Batch, COLUMN_LEN, COLUMNS } from '../../src/abi/batch.js';
import { BATCH_CAP } from '../../src/abi/limits.js';

t.test('columns lie in the order of the shim, without gaps or overlaps', async (t) => {
  const batch = new Batch();
  COLUMNS.forEach((name, i) => {
    const column = batch[name];
    t.equal(column.byteOffset, i * COLUMN_LEN, `${name} begins at the end of the previous column`);
    t.equal(column.length, BATCH_CAP, `${name} has one entry per descriptor`);
    t.equal(column.buffer, batch.bytes.buffer, `${name} shares the memory passed to the shim`);
  });
  t.equal(BATCH_LEN, COLUMNS.length * BATCH_CAP * 4);
  t.equal(batch.bytes.length, BATCH_LEN);
});

t.test('writing one column does not change another', async (t) => {
  const batch = new Batch();
  for (const [i, name] of COLUMNS.entries()) batch[name].fill(i + 1);
  COLUMNS.forEach((name, i) => {
    t.ok(
      batch[name].every((value) => value === i + 1),
      `${name} keeps its values`,
    );
  });
  t.equal(Buffer.from(batch.bytes.buffer).readInt32LE(COLUMN_LEN), 2, 'the second column has its own values');
});

t.test('two batches in one shared buffer do not overlap', async (t) => {
  const memory = new SharedArrayBuffer(2 * BATCH_LEN);
  const first = new Batch(memory);
  const second = new Batch(memory, BATCH_LEN);
  second.bytes.fill(0xff);
  t.ok(first.bytes.every((byte) => byte === 0));
  t.equal(second.off[0], -1);
  t.equal(second.status[BATCH_CAP - 1], -1);
});

t.test('a buffer that cannot hold a batch is rejected', async (t) => {
  t.throws(() => new Batch(new ArrayBuffer(BATCH_LEN - 4)), RangeError);
  t.throws(() => new Batch(new ArrayBuffer(BATCH_LEN + 2), 2), RangeError, 'an unaligned offset is rejected');
});
