/**
 * Program that fills forwarding tables of the worker's size and prints their memory in bytes.
 *
 * Usage: `tables.js VNIS PEERS`. memory.ts runs it as a process, because resident memory is a
 * figure of a process.
 */

import { LEARNED_ROWS, MAX_PEERS, MAX_VNIS, PEER_ROW_LEN } from '../../src/abi/limits.js';
import { Counters } from '../../src/exchange/counters.js';
import { Tables } from '../../src/switch/fdb/tables.js';
import { ACCEPT_PEERS, VLAN_PASS } from '../../src/switch/fdb/vni-table.js';

const AF_INET = 2;

const [vnis, peers] = process.argv.slice(2).map(Number);
const before = residentBytes();
const tables = makeTables();
for (let vniIdx = 0; vniIdx < vnis; vniIdx++) addVni(tables, vniIdx);
console.log(residentBytes() - before);
// Keeps the tables reachable, so that they cannot have been collected before the measurement.
if (tables.fdb.table.size !== 0) throw new Error('the FDB is not empty');

function makeTables(): Tables {
  return new Tables({
    maxVnis: MAX_VNIS,
    counters: new Counters(MAX_VNIS, MAX_PEERS),
    peers: new SharedArrayBuffer(MAX_PEERS * PEER_ROW_LEN),
    learnedRows: LEARNED_ROWS,
    fdb: [],
    seed: 1,
    onFdbGrown: () => {},
  });
}

/** Fills the same rows as `vni.add` and its `peer.add`s. Rows of counters are already zero. */
function addVni({ vnis: table, peers: rows, flood, members }: Tables, vniIdx: number): void {
  table.add(vniIdx, vniIdx);
  table.accept[vniIdx] = ACCEPT_PEERS;
  table.vlan[vniIdx] = VLAN_PASS;
  const address = new Uint8Array(16);
  const first = vniIdx * peers;
  for (let i = 0; i < peers; i++) {
    address.set([10, 1, i >> 8, i & 0xff]);
    rows.add(first + i, vniIdx, AF_INET, address, 4789, 0);
  }
  flood.add(vniIdx, first, peers, false);
  members.add(vniIdx, first, peers, false);
}

function residentBytes(): number {
  globalThis.gc?.();
  return process.memoryUsage().rss;
}
