import t from 'tap';
import {
  CAPTURED_DECAP,
  CAPTURED_UNDERLAY,
  type CaptureNote,
  CaptureRing,
  createCaptureRing,
} from '../../src/exchange/capture-ring.js';
import { random } from '../support/memory-plane.js';

const NOTE: CaptureNote = {
  flags: CAPTURED_DECAP | CAPTURED_UNDERLAY,
  atMs: 1_700_000_000_123.5,
  peerIdx: 7,
  vniIdx: 3,
  sourcePort: 65535,
  tos: 0xff,
};

/** Reader and writer of the same memory, as in two threads. */
function makeRing(units: number): { writer: CaptureRing; reader: CaptureRing } {
  const buffer = new SharedArrayBuffer(128 + units * 8);
  return { writer: new CaptureRing(buffer), reader: new CaptureRing(buffer) };
}

t.test('reads back every field of a packet', async (t) => {
  const { writer, reader } = makeRing(64);
  t.equal(reader.first(), undefined);
  reader.release();
  const arena = Uint8Array.from({ length: 100 }, (_, i) => i);
  writer.put(NOTE, arena, 10, 21, 1000);
  writer.put({ ...NOTE, flags: 0, peerIdx: -1, vniIdx: -1, sourcePort: 0, tos: 0 }, arena, 0, 21, 4);
  const { flags, ...fields } = NOTE;
  t.same(reader.first(), { ...fields, received: true, len: 21, bytes: arena.slice(10, 31) });
  t.match(reader.first(), { vniIdx: 3 }, 'the packet stays until it is released');
  reader.release();
  t.match(reader.first(), { received: false, peerIdx: -1, vniIdx: -1, len: 21, bytes: arena.slice(0, 4) });
  reader.release();
  t.equal(reader.first(), undefined);
  t.equal(reader.lost, 0);
});

t.test('a full ring keeps its packets, and new packets are lost and counted', async (t) => {
  const { writer, reader } = makeRing(32);
  const arena = Uint8Array.of(1, 2, 3, 4);
  for (let i = 0; i < 10; i++) writer.put({ ...NOTE, peerIdx: i }, arena, 0, 4, 4);
  t.equal(reader.lost, 5, 'a ring of 32 units holds five packets of six units');
  writer.put(NOTE, new Uint8Array(1000), 0, 1000, 1000);
  t.equal(reader.lost, 6, 'a packet larger than the whole ring is lost');
  for (let i = 0; i < 5; i++) {
    t.equal(reader.first()?.peerIdx, i);
    reader.release();
  }
  t.equal(reader.first(), undefined);
  writer.put({ ...NOTE, peerIdx: 99 }, arena, 0, 4, 4);
  t.equal(reader.first()?.peerIdx, 99);
});

t.test('packets of any length are read complete and in order', async (t) => {
  const below = random(0x5eed);
  const { writer, reader } = makeRing(512);
  const arena = Uint8Array.from({ length: 700 }, (_, i) => i & 0xff);
  const expected: { n: number; off: number; len: number }[] = [];
  let lost = 0;
  let read = 0;
  for (let n = 0; n < 200_000; n++) {
    const [off, len] = [below(256), below(400)];
    writer.put({ ...NOTE, peerIdx: n }, arena, off, len, 300);
    if (reader.lost === lost) expected.push({ n, off, len });
    lost = reader.lost;
    for (let turns = below(3); turns > 0; turns--) {
      const packet = reader.first();
      const wanted = expected.shift();
      if (packet === undefined && wanted === undefined) break;
      const { off = 0, len = 0, n: which } = wanted ?? {};
      const captured = Math.min(len, 300);
      const isRight =
        packet?.peerIdx === which &&
        packet?.len === len &&
        packet.bytes.length === captured &&
        (captured === 0 ||
          (packet.bytes[0] === arena[off] && packet.bytes.at(-1) === arena[off + captured - 1]));
      if (!isRight) return void t.fail(`packet ${which}`);
      reader.release();
      read++;
    }
  }
  t.ok(read > 100_000 && lost > 0, `${read} packets are read, ${lost} are lost`);
});

t.test('the counts wrap at 32 bits', async (t) => {
  const buffer = new SharedArrayBuffer(128 + 64 * 8);
  const counts = new Int32Array(buffer);
  counts[0] = counts[16] = 2 ** 31 - 8;
  const ring = new CaptureRing(buffer);
  for (let n = 0; n < 100; n++) {
    ring.put({ ...NOTE, peerIdx: n }, new Uint8Array(50), 0, 50, 50);
    if (ring.first()?.peerIdx !== n) return void t.fail(`packet ${n}`);
    ring.release();
  }
  t.ok(counts[0] < 0, 'the count has wrapped beyond the largest int32');
  t.equal(ring.lost, 0);
});

t.test('a ring of the default size holds 2600 frames of 1514 bytes', async (t) => {
  const ring = new CaptureRing(createCaptureRing());
  for (let n = 0; n < 2600; n++) ring.put(NOTE, new Uint8Array(1514), 0, 1514, 1514);
  t.equal(ring.lost, 0);
});
