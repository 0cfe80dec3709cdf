/**
 * The data plane with its threads and sockets on loopback.
 *
 * VNIs are added and removed while datagrams of another VNI flow. There is no TAP, so every frame
 * that arrives counts as dropped (`overlay_down`); the tests check that each frame is counted once.
 * Requires no root.
 */

import { createSocket, type Socket } from 'node:dgram';
import t, { type Test } from 'tap';
import { loadShim } from '../../src/abi/binding.js';
import type { FdbEvent } from '../../src/controller/fdb-event-reader.js';
import { Handle } from '../../src/controller/handle.js';
import { G_DROPS_DECAP, P_RX_FRAMES, V_DROPS_DECAP, V_TAP_TX_FRAMES } from '../../src/exchange/counters.js';
import { DROP } from '../../src/exchange/drop-reason.js';
import { Offloads } from '../../src/exchange/offloads.js';
import type { MacParts } from '../../src/exchange/protocol.js';
import { openUnderlaySockets } from '../../src/host/underlay-sockets.js';
import { addPeer } from '../support/add-peer.js';
import { arpFrame, BROADCAST, macNumber } from '../support/frames.js';
import { concat } from '../support/hex.js';
import { vxlanHeader } from '../support/memory-plane.js';
import { newPeer, newVni } from '../support/new-vni.js';
import { eventually } from '../support/wait.js';

const LOOPBACK = '127.0.0.1';
/** Number of sockets of the sender. The kernel assigns some of their flows to each worker. */
const SENDERS = 8;
const ROUNDS = 200;
/** Datagrams of each VNI in a round, few enough for any receive buffer. */
const BURST = 32;

interface Fixture {
  handle: Handle;
  events: FdbEvent[];
  /** Log messages. */
  logged: string[];
  /** Sends frames of one MAC, and waits until the kernel has received these frames. */
  send: (vni: number, mac: number, count: number) => Promise<void>;
  /** Begins to forward. */
  forward: () => Promise<void>;
  /** Drops of the kernel at the first worker's sockets. */
  kernelDrops: () => number;
}

/** @returns a running data plane without VNIs that does not forward yet */
async function prepare(t: Test, engine: 'batch' | 'dgram', workers: number): Promise<Fixture> {
  const shim = loadShim();
  const senders = await Promise.all(Array.from({ length: SENDERS }, bound));
  const port = await freePort();
  const sockets = await openUnderlaySockets(shim, {
    local4: LOOPBACK,
    local6: '',
    scopeId: () => 0,
    needed: { ipv4: true, ipv6: false },
    port,
    device: '',
    mark: 0,
    sourcePorts: { min: 50_000, max: 60_000 },
    udpChecksum: true,
    plain: engine === 'dgram',
    df: 'set',
    ttl: 64,
    workers,
  });
  const descriptors = sockets.receiveFds.map((receiveFds) => {
    const wakeFd = shim.eventCreate();
    return {
      waitFd: shim.waitCreate(),
      wakeFd,
      wake: () => void shim.eventFire(wakeFd),
      receiveFds: { ...receiveFds },
    };
  });
  const events: FdbEvent[] = [];
  const logged: string[] = [];
  const handle = new Handle({
    engine,
    underlay: { sendFds: sockets.sendFds },
    offloads: new Offloads().buffer,
    strictHeader: false,
    outer: { df: 'set', tos: 'inherit', mssClamp: true, flowSecret: 0x5ec },
    port,
    workers: descriptors,
    seed: 0x5eed,
    log: (_, message) => logged.push(message),
    peersChanged: () => {},
    probeReplied: () => {},
    fdbEvents: (more) => events.push(...more),
    addressText: ({ bytes }) => bytes.subarray(0, 4).join('.'),
  });
  t.teardown(async () => {
    await handle.stop();
    for (const sender of senders) sender.close();
    for (const { waitFd, wakeFd } of descriptors) for (const fd of [waitFd, wakeFd]) shim.close(fd);
    sockets.close();
  });
  await handle.start();
  const send = async (vni: number, mac: number, count: number) => {
    const datagram = concat(vxlanHeader(vni), arpFrame(BROADCAST, macNumber(mac)));
    const sends = Array.from(
      { length: count },
      (_, i) =>
        new Promise<void>((resolve, reject) => {
          senders[i % SENDERS].send(datagram, port, LOOPBACK, (error) => (error ? reject(error) : resolve()));
        }),
    );
    await Promise.all(sends);
  };
  return {
    handle,
    events,
    logged,
    send,
    forward: () => handle.configured(sockets.admit()),
    kernelDrops: () => sockets.receiveFds[0].ipv4.reduce((sum, fd) => sum + shim.udpDrops(fd), 0),
  };
}

/** @returns a data plane without VNIs that forwards */
async function start(t: Test, engine: 'batch' | 'dgram', workers: number): Promise<Fixture> {
  const fixture = await prepare(t, engine, workers);
  await fixture.forward();
  return fixture;
}

async function bound(): Promise<Socket> {
  const socket = createSocket('udp4');
  await new Promise<void>((resolve) => socket.bind(0, LOOPBACK, resolve));
  return socket;
}

async function freePort(): Promise<number> {
  const socket = await bound();
  const { port } = socket.address();
  await new Promise<void>((resolve) => socket.close(resolve));
  return port;
}

/** Frames of a VNI from its peers; throws when the counter identity does not hold. */
function received(handle: Handle, vni: number): number {
  const { vni: own, peers } = handle.snapshot(vni);
  const rx = peers.reduce((sum, { row }) => sum + row[P_RX_FRAMES], 0);
  const drops = own.subarray(V_DROPS_DECAP).reduce((sum, count) => sum + count, 0);
  if (rx !== own[V_TAP_TX_FRAMES] + drops) throw new Error(`VNI ${vni}: ${rx} received, ${drops} dropped`);
  return rx;
}

t.setTimeout(600_000);

const CRASHES_MAX = 20;
const MANY = 1000;

for (const engine of ['batch', 'dgram'] as const)
  t.test(`datagrams before the start is complete are in no counter (${engine})`, async (t) => {
    const { handle, send, forward, kernelDrops } = await prepare(t, engine, 1);
    await send(100, 1, BURST);
    await handle.addVni(newVni(100), [newPeer(LOOPBACK)]);
    await send(100, 2, BURST);
    await send(200, 3, BURST);
    t.equal(kernelDrops(), 3 * BURST, 'the sockets hold the port and drop the datagrams');
    await forward();
    await send(100, 4, BURST);
    await eventually('the datagrams since', () => received(handle, 100) >= BURST);
    t.equal(received(handle, 100), BURST);
    const drops = () => [...handle.globals().subarray(G_DROPS_DECAP)].filter((count) => count > 0);
    t.same(drops(), []);
    await t.rejects(crash(handle), { code: 'dataplane_down' });
    await eventually('the successor', () => handle.ready, 10_000);
    await send(100, 5, BURST);
    await eventually('the datagrams of the successor', () => received(handle, 100) >= 2 * BURST);
    t.same(drops(), [], 'nor in those of a successor');
  });

for (const [engine, workers] of [
  ['batch', 2],
  ['dgram', 1],
] as const) {
  t.test(`adding and removing VNIs loses no frame of another VNI (${engine})`, async (t) => {
    const { handle, send } = await start(t, engine, workers);
    await handle.addVni(newVni(100));
    await addPeer(handle, 100, newPeer(LOOPBACK));
    let sent = 0;
    let others = 0;
    for (let round = 0; round < ROUNDS; round++) {
      const change = async () => {
        await handle.addVni(newVni(200));
        await addPeer(handle, 200, newPeer(LOOPBACK));
        await handle.setPolicy(200, { learning: false, fdbLimit: 1 });
        await handle.removeVni(200);
      };
      await Promise.all([change(), send(100, round, BURST), send(200, round, BURST)]);
      sent += BURST;
      others += BURST;
      await eventually(`all frames of round ${round}`, () => received(handle, 100) >= sent);
    }
    t.equal(received(handle, 100), sent);
    const dropped = (reason: number) => handle.globals()[G_DROPS_DECAP + reason];
    const before = dropped(DROP.vni_not_found);
    t.ok(before <= others, `${before} of ${others} arrived while their VNI was not configured`);
    await send(200, 1, BURST);
    await eventually('the VNI to be unknown', () => dropped(DROP.vni_not_found) === before + BURST);
    t.equal(dropped(DROP.rx_overflow), 0);
    const { nextCursor, items } = await handle.listFdb(100, { type: 'all', peer: '' }, 1000, 0);
    t.same([items.length, nextCursor], [ROUNDS, -1], 'no entry is lost');
  });
}

t.test('events and captures cover all workers (batch)', async (t) => {
  const { handle, events, send } = await start(t, 'batch', 2);
  const { vniIdx } = await handle.addVni(newVni(100));
  const { peerIdx } = await addPeer(handle, 100, newPeer(LOOPBACK));
  await send(100, 1, SENDERS);
  await eventually('the first ones', () => received(handle, 100) === SENDERS);
  const all = { type: 'all', peer: '' } as const;
  await eventually(
    'the first worker to know',
    async () => (await handle.listFdb(100, all, 9, 0)).items.length,
  );
  await handle.watchFdb(true);
  const capture = await handle.startCapture({ vni: 100, point: 'underlay', snapLen: 20 });
  for (let mac = 2; mac < 10; mac++) await send(100, mac, SENDERS);
  await eventually('all datagrams', () => received(handle, 100) === 9 * SENDERS);
  await eventually('eight events', () => events.length >= 8);
  t.same(
    new Set(events.map((event) => JSON.stringify(event))),
    new Set(
      Array.from({ length: 8 }, (_, i) =>
        JSON.stringify({ type: 'learned', vni: 100, mac: macNumber(i + 2), peer: LOOPBACK }),
      ),
    ),
  );
  t.equal(events.length, 8, 'each MAC is reported once');
  await capture.stop();
  let packets = 0;
  for (const ring of capture.rings) {
    for (let packet = ring.first(); packet; packet = ring.first()) {
      t.match(packet, { received: true, vniIdx, peerIdx, bytes: { length: 20 } });
      t.ok(packet.sourcePort > 0 && Math.abs(packet.atMs - Date.now()) < 60_000);
      ring.release();
      packets++;
    }
  }
  t.equal(packets, 8 * SENDERS);
  await handle.watchFdb(false);
  await send(100, 50, SENDERS);
  await handle.removeVni(100);
  t.equal(events.length, 8);
});

for (const engine of ['batch', 'dgram'] as const)
  t.test(`kernel drops while a worker is being replaced are counted (${engine})`, async (t) => {
    const { handle, send, kernelDrops } = await start(t, engine, 1);
    await handle.addVni(newVni(100));
    await addPeer(handle, 100, newPeer(LOOPBACK));
    let sent = 0;
    for (let crashes = 0; kernelDrops() === 0; crashes++) {
      if (crashes === CRASHES_MAX) throw new Error('the receive buffer never overflowed');
      await t.rejects(crash(handle), { code: 'dataplane_down' });
      while (!handle.ready && kernelDrops() === 0) {
        await send(100, 1, MANY);
        sent += MANY;
      }
    }
    await eventually('the successor', () => handle.ready, 10_000);
    const globals = (reason: number) => handle.globals()[G_DROPS_DECAP + reason];
    const overflow = () => globals(DROP.rx_overflow) + globals(DROP.source_not_peer);
    await eventually('the overflow to be counted', () => overflow() === kernelDrops());
    await eventually(`${sent} datagrams to be counted`, () => received(handle, 100) + overflow() === sent);
    t.equal(globals(DROP.vni_not_found), 0, 'the successor reads its sockets when its VNIs are configured');
  });

/** Sends a request that the worker cannot read, so that an exception ends it. */
function crash(handle: Handle): Promise<unknown> {
  return handle.listFdb(100, { type: 'all', peer: '' }, 10, 1n as unknown as number);
}

t.test('replacing a worker while frames wait logs no TAP error', async (t) => {
  const { handle, logged, send } = await start(t, 'batch', 1);
  const shim = loadShim();
  const tap = shim.eventCreate();
  await handle.addVni({ ...newVni(100), tapFds: [tap] });
  await addPeer(handle, 100, newPeer(LOOPBACK));
  // At the first read of the successor, only the predecessor has registered the TAP.
  const crashed = handle.putFdb(100, undefined as unknown as MacParts, LOOPBACK);
  await t.rejects(crashed, { code: 'dataplane_down' });
  shim.eventFire(tap);
  await eventually('a successor', () => handle.ready, 10_000);
  t.same(
    logged.filter((line) => /TAP/.test(line)),
    [],
  );
  await send(100, 1, SENDERS);
  await eventually('frames of the peer', () => received(handle, 100) === SENDERS);
  await handle.removeVni(100);
  shim.close(tap);
});
