import t from 'tap';
import { VniTable } from '../../../src/switch/fdb/vni-table.js';
import { random } from '../../support/memory-plane.js';

const MAX_VNI = 2 ** 24 - 1;

/** Adds a VNI that frames find. */
function add(table: VniTable, row: number, vni: number): void {
  table.add(row, vni);
  table.publish(row);
}

t.test('finds VNIs at the ends of the range, and does not find the adjacent unconfigured VNIs', async (t) => {
  const table = new VniTable(4);
  for (const vni of [0, 1, 2, MAX_VNI]) t.equal(table.find(vni), -1, `${vni} before`);
  [0, 1, MAX_VNI].forEach((vni, row) => {
    add(table, row, vni);
  });
  t.equal(table.find(0), 0);
  t.equal(table.find(1), 1);
  t.equal(table.find(MAX_VNI), 2);
  for (const vni of [2, MAX_VNI - 1, 0x010000, 0x000100]) t.equal(table.find(vni), -1, `${vni}`);
});

t.test('a full table finds all its VNIs, and a search for any other VNI ends', async (t) => {
  const table = new VniTable(4096);
  for (let row = 0; row < 4096; row++) add(table, row, (row * 4099) & MAX_VNI);
  for (let row = 0; row < 4096; row++)
    if (table.find((row * 4099) & MAX_VNI) !== row) return void t.fail(`row ${row}`);
  const own = new Set(Array.from({ length: 4096 }, (_, row) => (row * 4099) & MAX_VNI));
  for (let vni = 0; vni < 100_000; vni++)
    if (!own.has(vni) && table.find(vni) !== -1) return void t.fail(`VNI ${vni} is not configured`);
  t.pass('4,096 VNIs are found, and 100,000 other VNIs are not');
});

t.test('rows may be used in any order', async (t) => {
  const table = new VniTable(8);
  add(table, 5, 100);
  add(table, 2, 200);
  t.equal(table.find(100), 5);
  t.equal(table.find(200), 2);
  t.same([...table.vni], [-1, -1, 200, -1, -1, 100, -1, -1]);
});

t.test('random additions and removals: each VNI is found in its row, removed ones are not', async (t) => {
  const below = random(0x5eed);
  const table = new VniTable(64);
  const rows = new Map<number, number>();
  for (let step = 0; step < 20_000; step++) {
    // Few VNIs with the same few home cells: if a gap is closed wrongly, a VNI is no longer found.
    const vni = below(256) << 14;
    const row = rows.get(vni);
    if (row !== undefined) {
      table.remove(row);
      rows.delete(vni);
    } else if (rows.size < 64) {
      const free = table.vni.indexOf(-1);
      add(table, free, vni);
      rows.set(vni, free);
    }
    if (step % 50 !== 0) continue;
    for (let other = 0; other < 256; other++)
      if (table.find(other << 14) !== (rows.get(other << 14) ?? -1)) return void t.fail(`step ${step}`);
  }
  t.pass('20,000 steps');
});

t.test('a VNI is found from its publication on, and removed also before it', async (t) => {
  const table = new VniTable(64);
  table.add(3, 100);
  t.equal(table.find(100), -1);
  table.remove(3);
  table.add(3, 200);
  table.publish(3);
  t.equal(table.find(200), 3);
  t.equal(table.find(100), -1);
});
