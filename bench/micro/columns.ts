/**
 * Descriptors: a column each (`abi/batch.ts`), or rows in one Int32Array with a stride. Both are filled as a read
 * fills them, read as a send reads them, and scanned for one field as accounting does. A loop over columns may
 * take them out of the batch once, before it begins: that is the third way.
 */
import { Batch } from '../../src/abi/batch.js';
import { BATCH_CAP } from '../../src/abi/limits.js';
import type { Case } from './suite.js';

/** Fields a row, as many as a batch has columns. */
const STRIDE = 16;
const [OFF, LEN, VNI_IDX, PEER_IDX, SRC_PORT_IDX] = [0, 1, 2, 3, 4];
const [GSO_TYPE, GSO_SIZE, CSUM_START, CSUM_OFF, FLAGS, SEG_COUNT, VERDICT] = [8, 9, 10, 11, 12, 13, 14];

export function columnCases(): Case[] {
  const batch = new Batch();
  const rows = new Int32Array(BATCH_CAP * STRIDE);
  return [
    { name: 'columns: fill twelve fields', ops: BATCH_CAP, run: () => fillColumns(batch) },
    { name: 'columns, taken out first: fill twelve fields', ops: BATCH_CAP, run: () => fillTakenOut(batch) },
    { name: 'rows: fill twelve fields', ops: BATCH_CAP, run: () => fillRows(rows) },
    { name: 'columns: read five fields', ops: BATCH_CAP, run: () => readColumns(batch) },
    { name: 'columns, taken out first: read five fields', ops: BATCH_CAP, run: () => readTakenOut(batch) },
    { name: 'rows: read five fields', ops: BATCH_CAP, run: () => readRows(rows) },
    { name: 'columns: scan one field', ops: BATCH_CAP, run: () => scanColumns(batch) },
    { name: 'rows: scan one field', ops: BATCH_CAP, run: () => scanRows(rows) },
  ];
}

function fillColumns(batch: Batch): number {
  for (let i = 0; i < BATCH_CAP; i++) {
    batch.off[i] = i << 11;
    batch.len[i] = 64 + i;
    batch.vniIdx[i] = 0;
    batch.peerIdx[i] = i & 7;
    batch.srcPortIdx[i] = i & 63;
    batch.gsoType[i] = 0;
    batch.gsoSize[i] = 0;
    batch.csumStart[i] = 34;
    batch.csumOff[i] = 6;
    batch.flags[i] = 1;
    batch.segCount[i] = 1;
    batch.verdict[i] = i === 77 ? 3 : 0;
  }
  return batch.len[5];
}

function fillTakenOut(batch: Batch): number {
  const {
    off,
    len,
    vniIdx,
    peerIdx,
    srcPortIdx,
    gsoType,
    gsoSize,
    csumStart,
    csumOff,
    flags,
    segCount,
    verdict,
  } = batch;
  for (let i = 0; i < BATCH_CAP; i++) {
    off[i] = i << 11;
    len[i] = 64 + i;
    vniIdx[i] = 0;
    peerIdx[i] = i & 7;
    srcPortIdx[i] = i & 63;
    gsoType[i] = 0;
    gsoSize[i] = 0;
    csumStart[i] = 34;
    csumOff[i] = 6;
    flags[i] = 1;
    segCount[i] = 1;
    verdict[i] = i === 77 ? 3 : 0;
  }
  return len[5];
}

function fillRows(rows: Int32Array): number {
  for (let i = 0; i < BATCH_CAP; i++) {
    const row = i * STRIDE;
    rows[row + OFF] = i << 11;
    rows[row + LEN] = 64 + i;
    rows[row + VNI_IDX] = 0;
    rows[row + PEER_IDX] = i & 7;
    rows[row + SRC_PORT_IDX] = i & 63;
    rows[row + GSO_TYPE] = 0;
    rows[row + GSO_SIZE] = 0;
    rows[row + CSUM_START] = 34;
    rows[row + CSUM_OFF] = 6;
    rows[row + FLAGS] = 1;
    rows[row + SEG_COUNT] = 1;
    rows[row + VERDICT] = i === 77 ? 3 : 0;
  }
  return rows[5 * STRIDE + LEN];
}

function readColumns(batch: Batch): number {
  let sum = 0;
  for (let i = 0; i < BATCH_CAP; i++) {
    sum = (sum + batch.off[i] + batch.len[i] + batch.peerIdx[i] + batch.srcPortIdx[i] + batch.verdict[i]) | 0;
  }
  return sum;
}

function readTakenOut(batch: Batch): number {
  const { off, len, peerIdx, srcPortIdx, verdict } = batch;
  let sum = 0;
  for (let i = 0; i < BATCH_CAP; i++) {
    sum = (sum + off[i] + len[i] + peerIdx[i] + srcPortIdx[i] + verdict[i]) | 0;
  }
  return sum;
}

function readRows(rows: Int32Array): number {
  let sum = 0;
  for (let i = 0; i < BATCH_CAP; i++) {
    const row = i * STRIDE;
    sum =
      (sum +
        rows[row + OFF] +
        rows[row + LEN] +
        rows[row + PEER_IDX] +
        rows[row + SRC_PORT_IDX] +
        rows[row + VERDICT]) |
      0;
  }
  return sum;
}

function scanColumns(batch: Batch): number {
  let dropped = 0;
  for (let i = 0; i < BATCH_CAP; i++) if (batch.verdict[i] !== 0) dropped++;
  return dropped;
}

function scanRows(rows: Int32Array): number {
  let dropped = 0;
  for (let i = 0; i < BATCH_CAP; i++) if (rows[i * STRIDE + VERDICT] !== 0) dropped++;
  return dropped;
}
