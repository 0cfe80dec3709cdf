import { createSocket } from 'node:dgram';
import t, { type Test } from 'tap';
import { DF_CLEAR, DF_CLEAR_TOO_BIG, DF_SET } from '../../../src/abi/batch.js';
import { loadShim } from '../../../src/abi/binding.js';
import { BATCH_CAP, SOURCE_SOCKETS } from '../../../src/abi/limits.js';
import { PathErrors } from '../../../src/abi/path-errors.js';
import { random, sourceRow } from '../../support/memory-plane.js';
import { ENGINES, type EngineName, type Outgoing, portOf, UnderlayEnd } from '../../support/underlay-pair.js';

const next = random(1);
const someBytes = (length: number) => Uint8Array.from({ length }, () => next(256));

/**
 * Two connected ports of one engine. Peers 0 and 1 of the first port are the second port, over IPv4
 * and over IPv6.
 */
async function pair(t: Test, engine: EngineName) {
  const here = new UnderlayEnd(t, engine);
  const there = new UnderlayEnd(t, engine);
  here.setPeer(0, '127.0.0.1', await portOf(there.fds.ipv4[0]));
  here.setPeer(1, '::1', await portOf(there.fds.ipv6[0]));
  return { here, there };
}

function sourceOf(address: string): Uint8Array {
  return sourceRow(address, 0);
}

for (const engine of ENGINES) {
  t.test(`${engine}: a failed send reports its error and does not affect adjacent sends`, async (t) => {
    const { here, there } = await pair(t, engine);
    const closed = new UnderlayEnd(t, engine, { ipv6: '' });
    here.setPeer(3, '255.255.255.255', 4789); // EACCES: broadcast is not permitted
    const closedPort = await portOf(closed.fds.ipv4[0]);
    loadShim().close(closed.fds.ipv4[0]);
    here.setPeer(4, '127.0.0.1', closedPort); // rejected by ICMP later
    const bytes = someBytes(60);
    const out: Outgoing[] = [
      { peerIdx: 2, srcPortIdx: 0, bytes }, // the peer row is empty
      { peerIdx: 0, srcPortIdx: 5, bytes }, // the pool has no socket 5
      { peerIdx: 3, srcPortIdx: 0, bytes },
      { peerIdx: 0, srcPortIdx: 0, bytes, verdict: 7 }, // not to be sent
      { peerIdx: 0, srcPortIdx: 0, bytes },
      { peerIdx: 1, srcPortIdx: 1, bytes },
    ];
    const statuses = here.send(out);
    t.ok(statuses[0] < 0 && statuses[1] < 0);
    t.equal(statuses[3], 0, 'skipped');
    await here.untilDecided(5);
    t.equal(here.statuses.filter((status) => status === 0).length, 2);
    t.ok(here.statuses.includes(-13), 'EACCES is reported with its datagram');
    await there.untilReceived(2);
    for (let round = 0; round < 50; round++) {
      here.send([
        { peerIdx: 4, srcPortIdx: 0, bytes },
        { peerIdx: 0, srcPortIdx: 0, bytes },
      ]);
      if (round % 10 === 0) await here.untilDecided(5 + 2 * round);
    }
    await here.untilDecided(105);
    await there.untilReceived(52);
    t.equal(there.received.length, 52, 'a peer that rejects datagrams does not affect other peers');
    const report = new PathErrors();
    report.words.fill(7);
    t.equal(here.port.takePathErrors(report), 0, 'no path error is reported');
    t.equal(report.count, 0);
  });

  t.test(`${engine}: datagrams of all lengths arrive whole, with their source`, async (t) => {
    const { here, there } = await pair(t, engine);
    const lengths = [0, 1, 7, 8, 21, 22, 63, 64, 65, 1472, 1473, 9000, 65_507];
    for (const peerIdx of [0, 1]) {
      const sent = lengths.map((length) => someBytes(length));
      here.send(sent.map((bytes) => ({ peerIdx, srcPortIdx: 0, df: DF_CLEAR, bytes })));
      await there.untilReceived(lengths.length);
      t.same(
        there.received.map(({ bytes }) => bytes),
        sent,
      );
      for (const { source } of there.received) t.same(source, sourceOf(peerIdx === 0 ? '127.0.0.1' : '::1'));
      there.received.length = 0;
    }
    await here.untilDecided(2 * lengths.length);
    t.ok(here.statuses.every((status) => status === 0));
  });

  t.test(`${engine}: the columns select the source socket by family, DF and index`, async (t) => {
    const { here } = await pair(t, engine);
    const portsOf = (pool: number) =>
      Promise.all([0, 1].map((index) => portOf(here.fds.send[pool * SOURCE_SOCKETS + index])));
    const ports = await portsOf(1);
    const clearPorts = await portsOf(3);
    t.equal(new Set([...ports, ...clearPorts]).size, 4);
    const seen: number[] = [];
    const plain = createSocket('udp6');
    t.teardown(() => plain.close());
    await new Promise<void>((resolve) => plain.bind(0, '::1', resolve));
    plain.on('message', (_, { port }) => seen.push(port));
    here.setPeer(1, '::1', plain.address().port);
    here.send([
      ...[0, 1, 0].map((srcPortIdx) => ({ peerIdx: 1, srcPortIdx, df: DF_SET, bytes: someBytes(30) })),
      { peerIdx: 1, srcPortIdx: 0, df: DF_CLEAR, bytes: someBytes(30) },
      { peerIdx: 1, srcPortIdx: 1, df: DF_CLEAR_TOO_BIG, bytes: someBytes(30) },
    ]);
    await here.untilDecided(5);
    for (let tries = 0; seen.length < 5 && tries < 500; tries++)
      await new Promise((resolve) => setTimeout(resolve, 2));
    t.same(seen.sort(), [ports[0], ports[0], ports[1], clearPorts[0], clearPorts[1]].sort());
  });

  t.test(`${engine}: a changed peer row takes effect at once`, async (t) => {
    const { here, there } = await pair(t, engine);
    const elsewhere = new UnderlayEnd(t, engine);
    here.send([{ peerIdx: 0, srcPortIdx: 0, bytes: someBytes(10) }]);
    await there.untilReceived(1);
    here.setPeer(0, '::1', await portOf(elsewhere.fds.ipv6[0]));
    here.send([{ peerIdx: 0, srcPortIdx: 0, bytes: someBytes(10) }]);
    await elsewhere.untilReceived(1);
    t.equal(there.received.length, 1);
  });

  t.test(`${engine}: full batches of both families keep the order within each family`, async (t) => {
    const { here, there } = await pair(t, engine);
    for (let round = 0; round < 4; round++)
      here.send(
        Array.from({ length: BATCH_CAP }, (_, i) => ({
          peerIdx: i & 1,
          srcPortIdx: 0,
          bytes: Uint8Array.of(round, i),
        })),
      );
    await there.untilReceived(4 * BATCH_CAP);
    for (const family of [2, 10]) {
      const own = there.received
        .filter(({ source }) => source[0] === family)
        .map(({ bytes }) => bytes[0] * 256 + bytes[1]);
      t.equal(own.length, 2 * BATCH_CAP);
      t.same(
        own,
        own.slice().sort((a, b) => a - b),
      );
    }
  });

  t.test(`${engine}: datagrams dropped for lack of buffer space are counted once`, async (t) => {
    const here = new UnderlayEnd(t, engine);
    const there = new UnderlayEnd(t, engine, { receiveLen: 4096 });
    here.setPeer(0, '127.0.0.1', await portOf(there.fds.ipv4[0]));
    here.setPeer(1, '::1', await portOf(there.fds.ipv6[0]));
    t.equal(there.port.takeOverflow(), 0);
    const count = 300;
    for (const [type, address, fd] of [
      ['udp4', '127.0.0.1', there.fds.ipv4[0]],
      ['udp6', '::1', there.fds.ipv6[0]],
    ] as const) {
      const flood = createSocket(type);
      const port = await portOf(fd);
      // All datagrams are sent in one turn of this event loop, so both engines read only after the
      // last datagram was sent.
      const sends = Array.from(
        { length: count },
        () => new Promise((resolve) => flood.send(someBytes(100), port, address, resolve)),
      );
      await Promise.all(sends);
      flood.close();
    }
    await new Promise((resolve) => setTimeout(resolve, 50));
    there.take();
    const overflow = there.port.takeOverflow();
    there.take();
    t.equal(
      there.received.length + overflow,
      2 * count,
      `${there.received.length} received, ${overflow} dropped`,
    );
    t.ok(engine === 'dgram' || overflow > 0);
    t.equal(there.port.takeOverflow(), 0, 'the drops are reported once');
  });
}

t.test('batch: the outer TOS of each datagram is sent and reported', async (t) => {
  const { here, there } = await pair(t, 'batch');
  for (const peerIdx of [0, 1]) {
    const tos = [0, 0xb8, 0xb9, 1, 3, 0xff, 0];
    here.send(tos.map((tos) => ({ peerIdx, srcPortIdx: 0, tos, bytes: someBytes(40) })));
    await there.untilReceived(tos.length);
    t.same(
      there.received.splice(0).map((datagram) => datagram.tos),
      tos,
    );
  }
});

t.test('batch: fewer slots are offered while large datagrams arrive, and more afterwards', async (t) => {
  const { here, there } = await pair(t, 'batch');
  for (const length of [60_000, 60, 60_000, 60]) {
    here.received.length = there.received.length = 0;
    const inOne = length > 1000 ? 2 : 40;
    for (let round = 1; round <= 3; round++) {
      here.send(
        Array.from({ length: inOne }, () => ({ peerIdx: 0, srcPortIdx: 0, bytes: someBytes(length) })),
      );
      await there.untilReceived(round * inOne);
    }
    t.ok(there.received.every(({ bytes }) => bytes.length === length));
  }
});

t.test('dgram: pending sends are limited, and the limit is reported as ENOMEM', async (t) => {
  const { here } = await pair(t, 'dgram');
  const batch = Array.from({ length: BATCH_CAP }, () => ({ peerIdx: 0, srcPortIdx: 0, bytes: someBytes(8) }));
  const statuses = Array.from({ length: 10 }, () => here.send(batch)).flat();
  const ENOMEM = -12;
  t.ok(
    statuses.slice(0, 1024).every((status) => status === 1),
    '1,024 sends are pending',
  );
  t.ok(
    statuses.slice(1024).every((status) => status === ENOMEM),
    'further sends fail',
  );
  await here.untilDecided(statuses.length);
  t.equal(here.send(batch.slice(0, 1))[0], 1, 'a further send is accepted after completions');
});

t.test('dgram: sends of a removed VNI are not reported, later sends are', async (t) => {
  const { here, there } = await pair(t, 'dgram');
  const send = (count: number) =>
    here.send(Array.from({ length: count }, () => ({ peerIdx: 0, srcPortIdx: 0, bytes: someBytes(8) })));
  send(10);
  here.port.vniRemoved(1);
  await there.untilReceived(10);
  await here.untilDecided(10);
  send(20);
  here.port.vniRemoved(0);
  send(5);
  await there.untilReceived(35);
  await here.untilDecided(15);
  t.equal(here.statuses.length, 15);
});

t.test('dgram: datagrams of many sources carry their own addresses', async (t) => {
  const { here } = await pair(t, 'dgram');
  const port = await portOf(here.fds.ipv4[0]);
  const sockets = await Promise.all(
    Array.from({ length: 40 }, async (_, i) => {
      const socket = createSocket('udp4');
      await new Promise<void>((resolve) => socket.bind(0, `127.0.1.${i + 1}`, resolve));
      return socket;
    }),
  );
  for (const [i, socket] of sockets.entries()) socket.send(Uint8Array.of(i), port, '127.0.0.1');
  await here.untilReceived(40);
  for (const { source, bytes } of here.received) t.same(source, sourceOf(`127.0.1.${bytes[0] + 1}`));
  for (const socket of sockets) socket.close();
});
