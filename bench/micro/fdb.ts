/**
 * FDB: lookups among few and many entries; each kind of learning.
 */

import { BATCH_CAP } from '../../src/abi/limits.js';
import type { Fdb } from '../../src/switch/fdb/fdb.js';
import { SLOT_WORDS } from '../../src/switch/fdb/mac-table.js';
import type { Tables } from '../../src/switch/fdb/tables.js';
import type { Case } from './suite.js';
import { MAC_HIGH, makeTables, VNI_IDX } from './world.js';

/** Bytes per entry: memory of all slots, including unused slots, divided by the entries. */
export function bytesPerEntry(entries: number): number {
  const { table } = filled(entries).fdb;
  return (table.capacity * SLOT_WORDS * 4) / table.size;
}

const OPS = 1024;
const ORDER_LEN = 1 << 20;
const LIMIT = 1 << 16;

/**
 * Lookups in random order, in batches as in encap and one by one as in decap.
 *
 * Each pass looks up every entry before any entry again, so a cache that cannot hold all entries
 * misses. Encap hashes the whole batch first.
 */
export function lookupCases(entries: number): Case[] {
  const { fdb } = makeTables(1);
  for (let low = 0; low < entries; low++) fdb.learn(VNI_IDX, MAC_HIGH, low, 0, 1);
  const order = lookupOrder(entries);
  return [
    { name: `${entries} entries, found`, ops: OPS, run: inBatches(fdb, order, MAC_HIGH) },
    { name: `${entries} entries, unknown`, ops: OPS, run: inBatches(fdb, order, MAC_HIGH + 1) },
    { name: `${entries} entries, found one by one`, ops: OPS, run: oneByOne(fdb, order) },
  ];
}

/**
 * Order of ORDER_LEN lookups, with another order in each pass over a small table.
 *
 * The branch predictor would learn a repeated order of a thousand entries. Real traffic has no such
 * order.
 */
function lookupOrder(entries: number): Int32Array {
  const order = new Int32Array(ORDER_LEN);
  for (let from = 0; from < ORDER_LEN; from += entries) order.set(shuffled(entries, from), from);
  return order;
}

/** @param order entries to look up; its length is a power of two */
function inBatches(fdb: Fdb, order: Int32Array, high: number): () => number {
  const hashes = new Int32Array(BATCH_CAP);
  let cursor = 0;
  return () => {
    let sum = 0;
    for (let batch = 0; batch < OPS; batch += BATCH_CAP) {
      for (let i = 0; i < BATCH_CAP; i++) hashes[i] = fdb.table.hash(VNI_IDX, high, order[cursor + i]);
      fdb.table.touch(hashes, BATCH_CAP);
      for (let i = 0; i < BATCH_CAP; i++)
        sum += fdb.lookupHashed(hashes[i], VNI_IDX, high, order[cursor + i]);
      cursor = (cursor + BATCH_CAP) & (order.length - 1);
    }
    return sum;
  };
}

function oneByOne(fdb: Fdb, order: Int32Array): () => number {
  let cursor = 0;
  return () => {
    let sum = 0;
    for (let i = 0; i < OPS; i++) {
      sum += fdb.lookup(VNI_IDX, MAC_HIGH, order[cursor]);
      cursor = (cursor + 1) & (order.length - 1);
    }
    return sum;
  };
}

export function learnCases(): Case[] {
  return [refresh(), move(), learnAndDelete(), learnAtLimit()];
}

function refresh(): Case {
  const { fdb } = filled(LIMIT);
  const order = shuffled(LIMIT);
  let cursor = 0;
  let tick = 1;
  return {
    name: `refresh one of ${LIMIT}`,
    ops: OPS,
    run() {
      tick++;
      for (let i = 0; i < OPS; i++) {
        fdb.learn(VNI_IDX, MAC_HIGH, order[cursor], 0, tick);
        cursor = (cursor + 1) & (LIMIT - 1);
      }
      return tick;
    },
  };
}

function move(): Case {
  const { fdb } = filled(OPS);
  let peerIdx = 0;
  return {
    name: 'move to another peer',
    ops: OPS,
    run() {
      peerIdx ^= 1;
      for (let low = 0; low < OPS; low++) fdb.learn(VNI_IDX, MAC_HIGH, low, peerIdx, 1);
      return peerIdx;
    },
  };
}

function learnAndDelete(): Case {
  const { fdb } = filled(LIMIT / 2);
  return {
    name: 'learn an entry, and delete it',
    ops: OPS,
    run() {
      for (let low = LIMIT; low < LIMIT + OPS; low++) fdb.learn(VNI_IDX, MAC_HIGH, low, 0, 1);
      for (let low = LIMIT; low < LIMIT + OPS; low++) fdb.delete(VNI_IDX, MAC_HIGH, low);
      return fdb.table.size;
    },
  };
}

/** A flood of unknown addresses: each evicts an entry. */
function learnAtLimit(): Case {
  const tables = filled(LIMIT);
  tables.vnis.fdbLimit[VNI_IDX] = LIMIT;
  let low = LIMIT;
  return {
    name: `learn an entry at the limit of ${LIMIT}`,
    ops: OPS,
    run() {
      for (let i = 0; i < OPS; i++) tables.fdb.learn(VNI_IDX, MAC_HIGH, low++ | 0, 1, 1);
      return tables.fdb.table.size;
    },
  };
}

function filled(entries: number): Tables {
  const tables = makeTables(2);
  for (let low = 0; low < entries; low++) tables.fdb.learn(VNI_IDX, MAC_HIGH, low, 0, 1);
  return tables;
}

/**
 * 0 … count − 1 in an order that no prefetcher predicts, the same in every run.
 *
 * @param seed selects the order
 */
function shuffled(count: number, seed = 0): Int32Array {
  const order = Int32Array.from({ length: count }, (_, i) => i);
  let state = (0x9e3779b9 + seed) >>> 0;
  for (let i = count - 1; i > 0; i--) {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    const other = state % (i + 1);
    [order[i], order[other]] = [order[other], order[i]];
  }
  return order;
}
