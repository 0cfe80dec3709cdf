/** Scrapes of many peers: bounded in number and memory. No assertion depends on the clock. */
import { setTimeout as delay, setImmediate as nextTurn } from 'node:timers/promises';
import t from 'tap';
import { countersText } from '../../src/api/counters.js';
import { createMetrics } from '../../src/api/metrics.js';
import { textStream } from '../../src/api/text-stream.js';
import { P_TX_BYTES, PEER_ROW } from '../../src/exchange/counters.js';
import { ManyPeers, STATUS_OF_MANY } from '../support/many-peers.js';

const SIZE = { vnis: 16, peers: 1000 };

async function textOf(stream: AsyncIterable<unknown>): Promise<string> {
  let text = '';
  for await (const chunk of stream) text += String(chunk);
  return text;
}

const manyOf = (size = SIZE) => {
  const dataPlane = new ManyPeers(size);
  return { dataPlane, metrics: createMetrics({ dataPlane, status: () => STATUS_OF_MANY }) };
};

t.test('a scrape lists 16,000 (VNI, peer) pairs, and the event loop runs meanwhile', async (t) => {
  const { dataPlane, metrics } = manyOf();
  let turns = 0;
  let reading = true;
  const turning = (async () => {
    for (; reading; turns++) await nextTurn();
  })();
  const text = await textOf(metrics.scrape('a'));
  reading = false;
  await turning;
  t.equal(
    text.match(/^vtepd_peer_tx_bytes_total\{/gm)?.length,
    16_016,
    'each VNI has one series per peer and one for others',
  );
  t.match(text, `vtepd_peer_tx_bytes_total{vni="15",peer="10.0.3.231"} ${15_999 * PEER_ROW + P_TX_BYTES}\n`);
  t.same(dataPlane.read, [...Array(16).keys()], 'each VNI is copied once');
  t.ok(turns > text.length / 200_000, `the event loop ran ${turns} times for ${text.length} characters`);
});

t.test(
  'two scrapes of a client run while a third waits, and a stalled scrape blocks no other scrape',
  async (t) => {
    const { dataPlane, metrics } = manyOf();
    const [stalled, second, third] = [metrics.scrape('a'), metrics.scrape('a'), metrics.scrape('a')];
    const [first, read] = [stalled[Symbol.asyncIterator](), second[Symbol.asyncIterator]()];
    await first.next();
    await read.next();
    let waited = true;
    const last = textOf(third).then((text) => {
      waited = false;
      return text;
    });
    for (let turn = 0; turn < 100; turn++) await nextTurn();
    t.equal(dataPlane.read.length, 2 * SIZE.vnis, 'nothing is copied for the third scrape');
    t.ok(waited);
    while (!(await read.next()).done);
    t.match(
      await last,
      /^vtepd_dataplane_busy_ratio /m,
      'the third scrape is served while the first is stalled',
    );
    t.match(
      await textOf(metrics.scrape('a')),
      /^vtepd_dataplane_busy_ratio /m,
      'a fourth scrape is served as well',
    );
    stalled.destroy();
  },
);

t.test('a slow scrape over its time limit is ended while another scrape waits', async (t) => {
  const dataPlane = new ManyPeers(SIZE);
  const metrics = createMetrics({ dataPlane, status: () => STATUS_OF_MANY }, 20);
  let served = false;
  const slow = [metrics.scrape('a'), metrics.scrape('a')].map(async (stream) => {
    for await (const _ of stream) if (!served) await delay(5);
  });
  await nextTurn();
  const third = textOf(metrics.scrape('a')).then((text) => {
    served = true;
    return text;
  });
  const [first, second] = await Promise.allSettled(slow);
  t.match(first, {
    status: 'rejected',
    reason: { message: 'ended: the client is slow and another client is waiting' },
  });
  t.equal(second.status, 'fulfilled', 'the second scrape is not ended, because one place is enough');
  t.match(await third, /^vtepd_dataplane_busy_ratio /m);
});

t.test('a client that disconnects while queued holds no place', async (t) => {
  const { metrics } = manyOf({ vnis: 1, peers: 10 });
  for (let round = 0; round < 5; round++) {
    const streams = Array.from({ length: 4 }, () => metrics.scrape('a'));
    for (const stream of streams) stream.resume();
    for (const stream of streams) stream.destroy();
  }
  t.match(await textOf(metrics.scrape('a')), /^vtepd_dataplane_busy_ratio /m);
});

t.test(
  'a client has two places and four queue entries, and another client is served meanwhile',
  async (t) => {
    const { dataPlane, metrics } = manyOf();
    const theirs = Array.from({ length: 6 }, () => metrics.scrape('a'));
    for (const stream of theirs.slice(0, 2)) await stream[Symbol.asyncIterator]().next();
    t.throws(() => metrics.scrape('a'), { code: 'overloaded', status: 503 });
    t.match(await textOf(metrics.scrape('b')), /^vtepd_dataplane_busy_ratio /m);
    t.equal(dataPlane.read.length, 3 * SIZE.vnis, 'queued scrapes copy nothing');
    theirs[5].destroy();
    t.doesNotThrow(() => theirs.push(metrics.scrape('a')), 'a destroyed scrape leaves the queue at once');
    for (const stream of theirs) stream.destroy();
  },
);

t.test('the queue is bounded over all clients', async (t) => {
  const { metrics } = manyOf();
  const clients = ['a', 'b', 'c', 'd', 'e', 'f'];
  const theirs = clients.flatMap((client) => [0, 1, 2, 3].map(() => () => metrics.scrape(client)));
  const open = theirs.slice(0, 19).map((scrape) => scrape());
  for (const scrape of theirs.slice(19)) t.throws(scrape, { code: 'overloaded' });
  for (const stream of open) stream.destroy();
  t.match(await textOf(metrics.scrape('a')), /^vtepd_dataplane_busy_ratio /m);
});

t.test('a VNI that is removed during a scrape is omitted', async (t) => {
  const { dataPlane } = manyOf({ vnis: 3, peers: 10 });
  const rows = dataPlane.rows.bind(dataPlane);
  dataPlane.rows = (vni) => (vni === 1 ? dataPlane.notFound(vni) : rows(vni));
  const { scrape } = createMetrics({ dataPlane, status: () => STATUS_OF_MANY });
  t.same((await textOf(scrape('a'))).match(/^vtepd_tap_rx_frames_total.*$/gm), [
    'vtepd_tap_rx_frames_total{vni="0"} 0',
    'vtepd_tap_rx_frames_total{vni="2"} 0',
  ]);
  const { vnis } = JSON.parse(await textOf(countersText(dataPlane, STATUS_OF_MANY)));
  t.same(
    vnis.map(({ vni }: { vni: number }) => vni),
    [0, 2],
  );
});

t.test('/v1/counters streams JSON one VNI at a time', async (t) => {
  const { dataPlane } = manyOf();
  const stream = textStream(countersText(dataPlane, STATUS_OF_MANY))[Symbol.asyncIterator]();
  let text = String((await stream.next()).value);
  t.ok(dataPlane.read.length < 5, `the first chunk needs only ${dataPlane.read.length} of 16 VNIs`);
  for (let part = await stream.next(); !part.done; part = await stream.next()) text += String(part.value);
  const { vnis } = JSON.parse(text);
  t.equal(vnis.length, 16);
  t.equal(vnis[15].peers.length, 1000);
  t.match(vnis[15].peers[999], { address: '10.0.3.231', tx: { bytes: 15_999 * PEER_ROW + P_TX_BYTES } });
});
