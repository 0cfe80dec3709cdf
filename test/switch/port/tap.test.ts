/**
 * Real TAPs in a separate network namespace.
 *
 * Frames sent by the kernel are read from the TAP; frames written to it are received by the kernel.
 * Requires root.
 */
import { spawnSync } from 'node:child_process';
import { createSocket, type Socket } from 'node:dgram';
import { setTimeout as delay } from 'node:timers/promises';
import t, { type Test } from 'tap';
import { Batch, FRAME_NEEDS_CSUM } from '../../../src/abi/batch.js';
import { loadShim } from '../../../src/abi/binding.js';
import { BATCH_CAP, OVERLAY_ROUND_LEN, VXLAN_HEADROOM } from '../../../src/abi/limits.js';
import { MERGE_TCP, MERGE_UDP, TapPort } from '../../../src/switch/port/tap.js';
import { ipv4Frame, macNumber } from '../../support/frames.js';
import { insideNamespace } from '../../support/inside-namespace.js';

const EBADF = -9;
const EIO = -5;
const TAPS = ['tapa', 'tapb'];
const MERGE = MERGE_TCP | MERGE_UDP;

t.test('reading and writing a VNI without a TAP fails with EBADF', async (t) => {
  const port = new TapPort(loadShim(), 4, MERGE);
  const batch = new Batch();
  t.equal(port.read(batch, 2), EBADF);
  t.equal(batch.count, 0);
  batch.count = 2;
  batch.len.fill(60);
  batch.vniIdx.set([2, 3]);
  batch.verdict[1] = 1;
  t.equal(port.write(batch, new Uint8Array(100)), 1);
  t.same([...batch.status.slice(0, 2)], [EBADF, 0]);
});

await insideNamespace(t, import.meta.url, 'link set lo up', async () => {
  const shim = loadShim();
  const port = new TapPort(shim, 2, MERGE);
  TAPS.forEach((name, vniIdx) => {
    port.fds[vniIdx] = shim.tapOpen(name, false);
  });
  t.test('writing to a device that is down fails with EIO', async (t) => {
    const batch = new Batch();
    batch.count = 1;
    batch.len[0] = 60;
    t.equal(port.write(batch, new Uint8Array(100)), 1);
    t.equal(batch.status[0], EIO);
  });

  t.test('devices that are up, with static neighbour entries', async (t) => {
    const commands = TAPS.flatMap((name, i) => [
      `link set ${name} address 02:00:00:00:00:0${i + 1} mtu 9000 up`,
      `addr add 10.9.${i}.1/24 dev ${name}`,
      `neigh add 10.9.${i}.2 lladdr 02:00:00:00:01:0${i} dev ${name} nud permanent`,
    ]);
    t.equal(spawnSync('ip', ['-batch', '-'], { input: commands.join('\n'), encoding: 'utf8' }).stderr, '');
    const socket = createSocket('udp4');
    t.teardown(() => socket.close());
    await new Promise<void>((resolve) => socket.bind(7000, resolve));

    await t.test('frames of two TAPs lie back to back', (t) => readsInto(t, port, socket));
    await t.test('frames of one TAP can fill the arena of a round', (t) => fillsTheRound(t, port, socket));
    await t.test('the kernel receives written frames', (t) => writes(t, port, socket));
  });
});

/**
 * Reads the waiting frames and returns those with UDP. The kernel also sends frames of its own
 * (neighbour discovery, MLD), which are ignored.
 */
function readUdp(port: TapPort, batch: Batch, vniIdx: number): number[] {
  const start = batch.count;
  port.read(batch, vniIdx);
  const isOurs = (i: number) => port.arena[batch.off[i] + 12] === 8 && port.arena[batch.off[i] + 23] === 17;
  return Array.from({ length: batch.count - start }, (_, k) => start + k).filter(isOurs);
}

async function send(socket: Socket, network: number, ...payloads: Uint8Array[]): Promise<void> {
  for (const bytes of payloads)
    await new Promise<void>((resolve, reject) =>
      socket.send(bytes, 7001, `10.9.${network}.2`, (error) => (error ? reject(error) : resolve())),
    );
}

async function drained(port: TapPort): Promise<void> {
  await delay(50);
  const batch = new Batch();
  for (const vniIdx of [0, 1, 0, 1]) {
    port.reset();
    batch.count = 0;
    port.read(batch, vniIdx);
  }
  port.reset();
}

async function readsInto(t: Test, port: TapPort, socket: Socket): Promise<void> {
  await drained(port);
  const batch = new Batch();
  await send(socket, 0, Uint8Array.of(1, 2, 3), new Uint8Array(8000).fill(4));
  await send(socket, 1, Uint8Array.of(5));
  const frames = [...readUdp(port, batch, 0), ...readUdp(port, batch, 1)];
  t.same(
    frames.map((i) => batch.vniIdx[i]),
    [0, 0, 1],
  );
  const payloads = frames.map((i) => port.arena.slice(batch.off[i] + 42, batch.off[i] + batch.len[i]));
  t.same(payloads, [Uint8Array.of(1, 2, 3), new Uint8Array(8000).fill(4), Uint8Array.of(5)]);
  let end = 0;
  for (let i = 0; i < batch.count; i++) {
    if (batch.off[i] - VXLAN_HEADROOM < end)
      t.fail(`frame ${i} begins at ${batch.off[i]} and overlaps the one ending at ${end}`);
    end = batch.off[i] + batch.len[i];
  }
  const [first] = batch.off;
  port.reset();
  batch.count = 0;
  await send(socket, 0, Uint8Array.of(9));
  readUdp(port, batch, 0);
  t.equal(batch.off[0], first, 'the memory is reused after a reset');
}

async function fillsTheRound(t: Test, port: TapPort, socket: Socket): Promise<void> {
  await drained(port);
  const batch = new Batch();
  const payload = new Uint8Array(8900);
  for (let i = 0; i < 45; i++) await send(socket, 0, payload);
  await send(socket, 1, Uint8Array.of(1));
  const read = readUdp(port, batch, 0).length;
  t.ok(read >= OVERLAY_ROUND_LEN / 9100 && read < 45, `${read} of 45 frames of 9 KB`);
  t.ok(batch.count < BATCH_CAP);
  t.equal(port.read(batch, 1), 0, 'a read without room in the arena is not an error');
  port.reset();
  batch.count = 0;
  t.equal(readUdp(port, batch, 1).length, 1, 'a reset makes room in the arena');
  t.equal(readUdp(port, batch, 0).length, 45 - read, 'no frame was lost');
}

async function writes(t: Test, port: TapPort, socket: Socket): Promise<void> {
  const received: number[] = [];
  socket.on('message', (bytes) => received.push(bytes.length));
  const batch = new Batch();
  const arena = new Uint8Array(10_000);
  const rows: [length: number, postponed: boolean][] = [
    [20, false],
    [1000, true],
    [0, false],
  ];
  for (const [i, [payloadLen, postponed]] of rows.entries()) {
    // The frame has the addresses of this device instead of the default 10.0.0.1 → 10.0.0.2.
    const frame = ipv4Frame('02:00:00:00:00:01', macNumber(9), {
      payloadLen,
      postponed,
      from: [10, 9, 0, 2],
      to: [10, 9, 0, 1],
      destinationPort: 7000,
    });
    const off = 100 + i * 2000;
    arena.set(frame, off);
    batch.off[i] = off;
    batch.len[i] = frame.length;
    batch.flags[i] = postponed ? FRAME_NEEDS_CSUM : 0;
    batch.csumStart[i] = 34;
    batch.csumOff[i] = 6;
  }
  batch.count = 3;
  t.equal(port.write(batch, arena), 0);
  for (let tries = 0; received.length < 3 && tries < 500; tries++) await delay(2);
  t.same(received, [20, 1000, 0]);
}
