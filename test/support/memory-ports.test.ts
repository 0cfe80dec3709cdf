import t from 'tap';
import { Batch } from '../../src/abi/batch.js';
import { BATCH_CAP, PEER_ROW_LEN, VXLAN_HEADROOM } from '../../src/abi/limits.js';
import { sourceRow } from './memory-plane.js';
import { MemoryOverlay, MemoryUnderlay } from './memory-ports.js';

const bytesOf = (value: number, length = 60) => new Uint8Array(length).fill(value);

t.test('the overlay reads frames of one VNI at a time, with headroom and without overlap', async (t) => {
  const port = new MemoryOverlay();
  const batch = new Batch();
  t.equal(port.read(batch, 0), 0, 'no frame is waiting');
  for (const [i, vniIdx] of [0, 1, 0].entries()) port.waiting.push({ vniIdx, bytes: bytesOf(i) });
  t.equal(port.read(batch, 0), 2);
  t.equal(port.read(batch, 1), 1);
  t.equal(batch.count, 3);
  const frames = [0, 1, 2].map((i) => port.arena.slice(batch.off[i], batch.off[i] + batch.len[i]));
  t.same(frames, [bytesOf(0), bytesOf(2), bytesOf(1)]);
  t.same([...batch.vniIdx.slice(0, 3)], [0, 0, 1]);
  let end = 0;
  for (let i = 0; i < 3; i++) {
    t.ok(batch.off[i] - VXLAN_HEADROOM >= end);
    end = batch.off[i] + batch.len[i];
  }
});

t.test('the overlay stops reading when the batch is full and continues in the next batch', async (t) => {
  const port = new MemoryOverlay();
  const batch = new Batch();
  for (let i = 0; i < BATCH_CAP + 5; i++) port.waiting.push({ vniIdx: 0, bytes: bytesOf(i & 255) });
  t.equal(port.read(batch, 0), BATCH_CAP);
  t.equal(port.read(batch, 0), 0);
  port.reset();
  batch.count = 0;
  t.equal(port.read(batch, 0), 5);
  t.equal(port.arena[batch.off[0]], BATCH_CAP);
});

t.test('the overlay writes frames that have no verdict, and sets the configured status', async (t) => {
  const port = new MemoryOverlay();
  const batch = new Batch();
  const arena = bytesOf(7, 100);
  batch.count = 3;
  batch.len.fill(60);
  batch.verdict[1] = 5;
  batch.status.fill(99);
  t.equal(port.write(batch, arena), 0);
  t.equal(port.written.length, 2);
  t.same([...batch.status.slice(0, 3)], [0, 0, 0]);
  port.writeStatus = -5;
  t.equal(port.write(batch, arena), 2);
  t.same([...batch.status.slice(0, 3)], [-5, 0, -5]);
  t.equal(port.written.length, 2);
});

t.test('the underlay delivers bytes, sources and sizes, at most one batch at a time', async (t) => {
  const port = new MemoryUnderlay();
  const batch = new Batch();
  for (let i = 0; i < BATCH_CAP + 1; i++)
    port.waiting.push({ source: sourceRow(`10.0.0.${i}`), bytes: bytesOf(i), gsoSize: i, tos: i });
  t.equal(port.receive(batch), BATCH_CAP);
  t.equal(port.arena[batch.off[127]], 127);
  t.equal(batch.gsoSize[127], 127);
  t.equal(batch.tos[127], 127);
  t.same(port.sources.slice(127 * PEER_ROW_LEN, 128 * PEER_ROW_LEN), sourceRow('10.0.0.127'));
  t.equal(port.receive(batch), 1);
  t.equal(port.receive(batch), 0);
  t.equal(batch.count, 0);
});

t.test('sends of the underlay to a peer fail with the status that was set for the peer', async (t) => {
  const port = new MemoryUnderlay();
  const batch = new Batch();
  batch.count = 3;
  batch.len.fill(10);
  batch.peerIdx.set([4, 5, 4]);
  batch.verdict[2] = 1;
  port.sendStatus.set(4, -113);
  t.equal(port.send(batch, bytesOf(1)), 1);
  t.same([...batch.status.slice(0, 3)], [-113, 0, 0]);
  t.same(
    port.sent.map(({ peerIdx }) => peerIdx),
    [5],
  );
  port.overflow = 3;
  t.equal(port.takeOverflow(), 3);
  t.equal(port.takeOverflow(), 0);
});
