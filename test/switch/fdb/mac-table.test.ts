import t from 'tap';
import { createMacTableBuffer, MacTable } from '../../../src/switch/fdb/mac-table.js';
import { random } from '../../support/memory-plane.js';

interface Entry {
  tag: number;
  high: number;
  low: number;
  value: number;
  stamp: number;
}

const HASH_END = 2 ** 32;
const keyOf = (tag: number, high: number, low: number) => `${tag}/${high}/${low}`;

function makeTable(seed = 1, capacity = 8): { table: MacTable; memory: () => SharedArrayBuffer[] } {
  let buffers = [createMacTableBuffer(seed, capacity)];
  const table = new MacTable(buffers, (changed) => (buffers = changed));
  return { table, memory: () => buffers };
}

/** Checks that the table contains exactly the entries of the model, and that the counts agree. */
function sameAsModel(table: MacTable, model: Map<string, Entry>): string {
  if (table.size !== model.size) return `size ${table.size}, not ${model.size}`;
  for (const { tag, high, low, value, stamp } of model.values()) {
    const position = table.find(tag, high, low);
    if (position < 0) return `${keyOf(tag, high, low)} is lost`;
    const found = [
      table.tag(position),
      table.macHigh(position),
      table.macLow(position),
      table.value(position),
      table.stamp(position),
    ];
    if (found.join() !== [tag, high, low, value, stamp].join())
      return `${keyOf(tag, high, low)}: ${found.join()}`;
  }
  return '';
}

t.test('stores the extreme values of tag, MAC, value and stamp', async (t) => {
  const { table } = makeTable();
  const rows: Entry[] = [
    { tag: 0, high: 0, low: 0, value: 1, stamp: 0 },
    { tag: 0, high: 0, low: 1, value: 1, stamp: -1 },
    { tag: 0, high: 0xffff, low: -1, value: 1 << 30, stamp: 0x7fffffff },
    { tag: 4095, high: 0xffff, low: -1, value: (1 << 30) | (1 << 20), stamp: -0x80000000 },
    { tag: 4095, high: 0, low: -0x80000000, value: 0x7fffffff, stamp: 1 },
    { tag: 1, high: 0, low: 0, value: 2, stamp: 2 },
  ];
  t.equal(table.find(0, 0, 0), -1, 'an empty slot does not match the all-zero MAC');
  const model = new Map(rows.map((row) => [keyOf(row.tag, row.high, row.low), row]));
  for (const { tag, high, low, value, stamp } of rows) {
    t.equal(table.find(tag, high, low), -1);
    t.equal(table.insert(tag, high, low, value, stamp), table.find(tag, high, low));
  }
  t.equal(sameAsModel(table, model), '');
});

for (const seed of [0, 1, -1, 0x12345678, -0x80000000]) {
  t.test(`random operations match those of a Map, seed ${seed}`, async (t) => {
    const next = random(seed);
    const { table } = makeTable(seed);
    const model = new Map<string, Entry>();
    // Few keys, so that most are present; two tags with the same MACs; phases of growth and of
    // removal.
    for (let step = 0; step < 20_000; step++) {
      const tag = next(2);
      const high = next(3);
      const low = next(600) - 300;
      const key = keyOf(tag, high, low);
      const shrinking = Math.floor(step / 4000) % 2 === 1;
      const position = table.find(tag, high, low);
      if (position >= 0 !== model.has(key)) return void t.fail(`step ${step}: ${key} found at ${position}`);
      if (position < 0) {
        if (shrinking && next(4) > 0) continue;
        const entry = { tag, high, low, value: 1 + next(1 << 30), stamp: next(1000) };
        table.insert(tag, high, low, entry.value, entry.stamp);
        model.set(key, entry);
      } else if (next(3) === 0 || shrinking) {
        table.remove(position);
        model.delete(key);
      } else {
        const entry = model.get(key)!;
        table.setValue(position, (entry.value = 1 + next(1000)));
        table.setStamp(position, (entry.stamp = next(1000)));
      }
      if (next(50) === 0) table.moveSome(next(5));
      if (step % 500 === 0) {
        const wrong = sameAsModel(table, model);
        if (wrong !== '') return void t.fail(`step ${step}: ${wrong}`);
      }
    }
    t.equal(sameAsModel(table, model), '');
    t.ok(table.capacity > 1024, 'the table grew several times');
  });
}

t.test('growth moves a bounded piece with each insertion and loses nothing', async (t) => {
  const { table } = makeTable(7, 1024);
  const model = new Map<string, Entry>();
  let drains = 0;
  let wasDraining = false;
  for (let i = 0; i < 50_000; i++) {
    const entry = { tag: i & 1, high: 0x0200, low: i >> 1, value: i + 1, stamp: i };
    table.insert(entry.tag, entry.high, entry.low, entry.value, entry.stamp);
    model.set(keyOf(entry.tag, entry.high, entry.low), entry);
    if (wasDraining && !table.draining) drains++;
    wasDraining = table.draining;
    if (table.size * 4 > table.capacity * 3)
      return void t.fail(`${table.size} entries in ${table.capacity} slots`);
  }
  t.ok(drains >= 6, `${drains} drains completed`);
  t.equal(sameAsModel(table, model), '');
});

t.test('the old table is drained even if nothing is inserted', async (t) => {
  const { table, memory } = makeTable(7, 8);
  for (let i = 0; i < 7; i++) table.insert(0, 0, i, 1, 0);
  t.equal(table.draining, true);
  t.equal(memory().length, 2, 'both buffers are reported');
  table.moveSome(3);
  t.equal(table.draining, true);
  table.moveSome(100);
  t.equal(table.draining, false);
  t.equal(memory().length, 1, 'the old buffer is released');
  t.equal(table.size, 7);
});

t.test('pages in hash order are complete and without duplicates under changes', async (t) => {
  for (const seed of [3, 4, 5]) {
    const next = random(seed);
    const { table } = makeTable(seed, 64);
    for (let i = 0; i < 40; i++) table.insert(1, 0x0200, i, 1, 0);
    const seen = new Map<number, number>();
    let lastHash = -1;
    let added = 40;
    for (let from = 0; from < HASH_END; ) {
      const to = Math.min(HASH_END, from + 1 + next(HASH_END / 8));
      for (const position of table.collect(from, to)) {
        const hash = table.hashAt(position);
        if (hash < from || hash >= to || hash < lastHash) t.fail(`hash ${hash} in [${from}, ${to})`);
        lastHash = hash;
        seen.set(table.macLow(position), (seen.get(table.macLow(position)) ?? 0) + 1);
      }
      from = to;
      // Between two pages the table grows and drains a little. All entries that existed before the
      // first page stay.
      for (let i = 0; i < 30; i++) table.insert(1, 0x0200, added++, 1, 0);
      table.moveSome(next(10));
    }
    for (let i = 0; i < 40; i++) t.equal(seen.get(i), 1, `seed ${seed}, entry ${i} came exactly once`);
    t.ok(table.capacity >= 256, 'the table grew while it was read');
  }
});

t.test('collect works at the ends of the hash range', async (t) => {
  const { table } = makeTable(9, 16);
  for (let i = 0; i < 11; i++) table.insert(0, 0, i, 1, 0);
  t.equal(table.collect(0, HASH_END).length, 11, 'the whole range contains all entries');
  t.same(table.collect(0, 0), []);
  t.same(table.collect(HASH_END - 1, HASH_END).length <= 1, true);
  const hashes = table.collect(0, HASH_END).map((position) => table.hashAt(position));
  t.same(
    hashes,
    hashes.slice().sort((a, b) => a - b),
  );
  for (const hash of hashes) t.equal(table.collect(hash, hash + 1).length, 1, `one entry has hash ${hash}`);
});

t.test('a successor finds all entries in the memory, also during growth', async (t) => {
  for (const inserted of [0, 5, 7, 8, 9, 30, 97, 1000, 3073, 3100]) {
    const { table, memory } = makeTable(11, 8);
    const model = new Map<string, Entry>();
    for (let i = 0; i < inserted; i++) {
      const entry = { tag: 3, high: 0x0200, low: i * 7919, value: i + 1, stamp: i };
      table.insert(entry.tag, entry.high, entry.low, entry.value, entry.stamp);
      model.set(keyOf(entry.tag, entry.high, entry.low), entry);
    }
    let buffers = memory();
    const successor = new MacTable(buffers, (changed) => (buffers = changed));
    t.equal(
      successor.draining,
      buffers.length === 2,
      `${inserted} entries: the successor continues the growth`,
    );
    t.equal(sameAsModel(successor, model), '', `${inserted} entries are all found`);
    for (let i = 0; i < 500; i++) {
      const entry = { tag: 4, high: 1, low: i, value: 1, stamp: 0 };
      successor.insert(entry.tag, entry.high, entry.low, entry.value, entry.stamp);
      model.set(keyOf(entry.tag, entry.high, entry.low), entry);
    }
    t.equal(sameAsModel(successor, model), '', `${inserted} entries and later ones are found`);
  }
});

t.test('another seed gives another order and other collisions', async (t) => {
  const homes = (seed: number) => {
    const { table } = makeTable(seed, 1024);
    for (let i = 0; i < 64; i++) table.insert(0, 0x0200, i, 1, 0);
    return table.collect(0, HASH_END).map((position) => table.macLow(position));
  };
  t.not(homes(1).join(), homes(2).join());
  t.equal(homes(1).join(), homes(1).join());
});

t.test('consecutive MACs spread evenly', async (t) => {
  const { table } = makeTable(0x5eed, 65536);
  for (let i = 0; i < 32768; i++) table.insert(0, 0x0200, i, 1, 0);
  let longest = 0;
  let run = 0;
  for (let position = 0; position < table.capacity; position++) {
    run = table.value(position) === 0 ? 0 : run + 1;
    longest = Math.max(longest, run);
  }
  t.ok(longest < 100, `half full, the longest run of full slots is ${longest}`);
});

t.test('a hashed and touched batch finds the same as a lookup, also during growth', async (t) => {
  const table = new MacTable([createMacTableBuffer(0x5eed)], () => {});
  const count = 120_000;
  const kept = table.hash(5, 0x0200, 7);
  for (let low = 0; low < count; low++) table.insert(5, 0x0200, low, low + 1, 1);
  t.ok(table.capacity > 131_072, 'the table is too large for the cache');
  t.equal(
    table.value(table.findHashed(kept, 5, 0x0200, 7)),
    8,
    'a hash that was computed before the growth finds its entry',
  );
  const hashes = Int32Array.from([-1, 0, 1, 0x7fffffff, -0x80000000]);
  table.touch(hashes, hashes.length);
  let wrong = 0;
  for (let low = 0; low < count + 1000; low++) {
    hashes[0] = table.hash(5, 0x0200, low);
    table.touch(hashes, 1);
    if (table.findHashed(hashes[0], 5, 0x0200, low) !== table.find(5, 0x0200, low)) wrong++;
  }
  t.equal(wrong, 0);
  t.equal(table.size, count);
});
