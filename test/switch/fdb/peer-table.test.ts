import t from 'tap';
import { PEER_ROW_LEN } from '../../../src/abi/limits.js';
import { PeerTable } from '../../../src/switch/fdb/peer-table.js';
import { concat } from '../../support/hex.js';
import { packAddress, random, sourceRow } from '../../support/memory-plane.js';

const LEARNED_ROWS = 8;
const ROWS = 64;
const AF = { 4: 2, 6: 10 };

function makeTable(rows = ROWS, memory = new SharedArrayBuffer(rows * PEER_ROW_LEN)): PeerTable {
  return new PeerTable(memory, LEARNED_ROWS, 0x5eed);
}

function add(table: PeerTable, peerIdx: number, vniIdx: number, text: string, port = 4789): void {
  const { family, bytes, scopeId } = packAddress(text, port);
  table.add(peerIdx, vniIdx, AF[family], bytes, port, scopeId);
}

/** Returns the peer of a source, which is row 1 of three; the other rows contain only ones. */
function find(table: PeerTable, vniIdx: number, text: string): number {
  const noise = new Uint8Array(PEER_ROW_LEN).fill(0xff);
  const rows = concat(noise, sourceRow(text), noise);
  return table.findSource(vniIdx, new Int32Array(rows.buffer), 1);
}

t.test('a source that differs from a peer in any part is no peer', async (t) => {
  const table = makeTable();
  add(table, 0, 0, '192.0.2.1');
  add(table, 1, 0, '2001:db8::1');
  add(table, 2, 0, 'fe80::1%7');
  const strangers = [
    '192.0.2.2', // the last byte differs
    '193.0.2.1', // the first byte differs
    'c000:201::', // the same four bytes, as IPv6
    '2001:db8::2', // the last word differs
    '2001:db9::1', // the first word differs
    '2001:db8::1:0:0:1', // the third word differs
    '2001:db8:0:1::1', // the second word differs
    'fe80::1%8', // another link
    'fe80::1', // no link
    '0.0.0.0',
    '::',
    '255.255.255.255',
  ];
  for (const text of strangers) t.equal(find(table, 0, text), -1, text);
  t.equal(find(table, 0, '192.0.2.1'), 0);
  t.equal(find(table, 0, '2001:db8::1'), 1);
  t.equal(find(table, 0, 'fe80::1%7'), 2);
  t.equal(find(table, 1, '192.0.2.1'), -1, 'a peer of another VNI');
});

t.test('a stranger with an address of this host gets no row, and loses one that it has', async (t) => {
  const table = makeTable();
  const rowsOf = (...texts: string[]) =>
    new Int32Array(concat(...texts.map((text) => sourceRow(text))).buffer);
  const learn = (text: string) => table.learnSource(0, rowsOf(text), 0, 4789, 0);
  table.setOwn(rowsOf('192.0.2.1', '2001:db8::1', 'fe80::1%7'));
  for (const text of ['192.0.2.1', '2001:db8::1', 'fe80::1%7']) t.equal(learn(text), -1, text);
  for (const text of ['192.0.2.2', '2001:db8::2', 'fe80::1%8']) t.not(learn(text), -1, text);
  t.not(find(table, 0, '192.0.2.2'), -1);
  t.notOk(table.strangers.isEvicting);
  table.setOwn(rowsOf('192.0.2.2'));
  t.equal(find(table, 0, '192.0.2.2'), -1, 'the address came to this host');
  t.not(find(table, 0, '2001:db8::2'), -1);
  t.ok(table.strangers.isEvicting, 'its entries are removed by the sweep');
  t.not(learn('192.0.2.1'), -1, 'the address left this host');
  table.setOwn(rowsOf('192.0.2.2'));
  table.setOwn(new Int32Array(0));
});

t.test('the source port is ignored', async (t) => {
  const table = makeTable();
  add(table, 3, 0, '192.0.2.1');
  for (const port of [0, 1, 4789, 65535]) {
    const row = sourceRow('192.0.2.1', port);
    t.equal(table.findSource(0, new Int32Array(row.buffer), 0), 3, `port ${port}`);
  }
});

t.test('a row reads back as written, up to the largest values', async (t) => {
  const table = makeTable();
  add(table, 5, 4095, 'fe80::ffff:ffff:ffff:ffff%4294967', 65535);
  t.equal(table.vniIdx(5), 4095);
  t.equal(table.family(5), 10);
  t.equal(table.port(5), 65535);
  t.equal(table.scopeId(5), 4294967);
  t.same([...table.address(5)], [0xfe, 0x80, 0, 0, 0, 0, 0, 0, ...Array(8).fill(0xff)]);
  t.equal(table.isUsed(5), true);
  t.equal(table.isLearned(5), false);
  t.equal(table.accountIdx(5), 5);
  // struct peer_row: family, port, address, scope id.
  const row = Buffer.from(table.bytes.slice(5 * PEER_ROW_LEN, 6 * PEER_ROW_LEN));
  t.equal(row.readUInt16LE(0), 10);
  t.equal(row.readUInt16LE(2), 65535);
  t.equal(row.readUInt32LE(20), 4294967);
});

t.test('one address in two VNIs is two peers with separate rows', async (t) => {
  const table = makeTable();
  add(table, 0, 0, '192.0.2.1');
  add(table, 1, 1, '192.0.2.1');
  t.equal(find(table, 0, '192.0.2.1'), 0);
  t.equal(find(table, 1, '192.0.2.1'), 1);
  table.remove(0);
  t.equal(find(table, 0, '192.0.2.1'), -1);
  t.equal(find(table, 1, '192.0.2.1'), 1);
  t.equal(table.isUsed(0), false);
  t.ok(
    table.bytes.subarray(0, PEER_ROW_LEN).every((byte) => byte === 0),
    'the row of the removed peer is empty',
  );
  add(table, 0, 0, '192.0.2.1');
  t.equal(find(table, 0, '192.0.2.1'), 0, 'the peer that was added again is found');
});

t.test('removing a row that holds no peer does nothing', async (t) => {
  const table = makeTable();
  add(table, 0, 0, '192.0.2.1');
  table.remove(1);
  table.remove(0);
  table.remove(0);
  t.equal(find(table, 0, '192.0.2.1'), -1);
});

t.test('random additions and removals match those of a Map; tombstones do not accumulate', async (t) => {
  const rows = 1024;
  const table = makeTable(rows);
  const next = random(42);
  const model = new Map<number, string>();
  const text = (n: number) => (n & 1 ? `10.0.${n >> 8}.${n & 255}` : `fd00::${n.toString(16)}`);
  for (let step = 0; step < 20_000; step++) {
    const peerIdx = next(rows - LEARNED_ROWS);
    if (model.has(peerIdx)) {
      table.remove(peerIdx);
      model.delete(peerIdx);
    } else if (next(3) > 0) {
      add(table, peerIdx, peerIdx & 1, text(peerIdx));
      model.set(peerIdx, text(peerIdx));
    }
    const asked = next(rows - LEARNED_ROWS);
    const found = find(table, asked & 1, text(asked));
    if (found !== (model.has(asked) ? asked : -1))
      return void t.fail(`step ${step}: row ${asked} is ${found}`);
  }
  t.pass('20,000 steps');
});

t.test('each stranger gets a row while rows are free, and a released row is used again', async (t) => {
  const table = makeTable();
  const learn = (text: string, vniIdx = 0) =>
    table.learnSource(vniIdx, new Int32Array(sourceRow(text).buffer), 0, 4789, 60 + vniIdx);
  const rows = Array.from({ length: LEARNED_ROWS }, (_, i) => learn(`198.51.100.${i}`));
  t.equal(new Set(rows).size, LEARNED_ROWS);
  t.ok(
    rows.every((row) => row >= ROWS - LEARNED_ROWS && row < ROWS),
    'rows of strangers are at the end of the table',
  );
  t.equal(learn('198.51.100.99'), -1, 'no row is free');
  t.equal(find(table, 0, '198.51.100.3'), rows[3]);
  t.equal(table.isLearned(rows[3]), true);
  t.equal(table.port(rows[3]), 4789, 'replies go to our port, not to the source port');
  t.equal(table.accountIdx(rows[3]), 60, 'a stranger is counted in the `other` row of its VNI');
  table.releaseLearned(rows[3]);
  t.equal(find(table, 0, '198.51.100.3'), -1);
  t.equal(learn('2001:db8::9', 1), rows[3], 'the released row is used again');
  t.equal(find(table, 1, '2001:db8::9'), rows[3]);
  t.equal(table.accountIdx(rows[3]), 61);
});

t.test('a successor knows no strangers, and only the peers that are added again', async (t) => {
  const memory = new SharedArrayBuffer(ROWS * PEER_ROW_LEN);
  const before = makeTable(ROWS, memory);
  add(before, 0, 0, '192.0.2.1');
  add(before, 1, 0, '192.0.2.2');
  const learned = before.learnSource(0, new Int32Array(sourceRow('192.0.2.9').buffer), 0, 4789, 2);
  const after = makeTable(ROWS, memory);
  add(after, 0, 0, '192.0.2.1');
  t.equal(after.isUsed(learned), false);
  t.equal(find(after, 0, '192.0.2.9'), -1);
  t.equal(find(after, 0, '192.0.2.1'), 0);
  t.equal(find(after, 0, '192.0.2.2'), -1);
  t.equal(after.isKnown(0), true);
  t.equal(
    after.isKnown(1),
    false,
    'a peer that was not added again is unknown, although its row is in memory',
  );
});

t.test('setTunnelled marks only the configured peers of its last call', async (t) => {
  const memory = new SharedArrayBuffer(ROWS * PEER_ROW_LEN);
  const table = makeTable(ROWS, memory);
  for (const [row, text] of ['192.0.2.1', '192.0.2.2', '192.0.2.3'].entries()) add(table, row, 0, text);
  const source = new Int32Array(sourceRow('192.0.2.9').buffer);
  const learned = table.learnSource(0, source, 0, 4789, 63);
  const words = new Int32Array(memory);
  const tunnelled = () =>
    Array.from({ length: ROWS }, (_, row) => row).filter((row) => words[row * 8 + 7] & 4);
  t.same(tunnelled(), []);
  table.setTunnelled(Int32Array.of(0, 2, learned, 40));
  t.same(tunnelled(), [0, 2], 'neither the stranger nor the empty row is marked');
  t.ok(table.isLearned(learned));
  t.ok(table.isConfigured(0, 0));
  t.equal(find(table, 0, '192.0.2.1'), 0, 'a marked peer is found by its address');

  table.remove(2);
  t.equal(table.isUsed(2), false);
  add(table, 2, 0, '192.0.2.4');
  t.same(tunnelled(), [0], 'a new peer in the row is not marked');
  table.remove(0);
  table.setTunnelled(Int32Array.of(1));
  t.same(tunnelled(), [1]);
  t.equal(table.isUsed(0), false, 'a removed row stays empty');
  table.setTunnelled(new Int32Array(0));
  t.same(tunnelled(), []);
});
