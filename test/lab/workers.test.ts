/**
 * Two data-plane threads: the topology of two-hosts.test.ts with `vtepd --workers 2`.
 *
 * Each thread has its own queue of the TAP and its own receiving socket. The VMs and the counters
 * must show no difference from a single thread.
 *
 *     vm101 ─┐                ┌─ queue 0 ─ worker 0 ─ socket ─┐
 *          br-vxlan ─ vtep100 ┤                 notes         ├─ near ===== far ─ vxlan100 (kernel)
 *     vm103 ─┘                └─ queue 1 ─ worker 1 ─ socket ─┘
 */
import t, { type Test } from 'tap';
import { assertIdentity } from '../support/metrics.js';
import { assertPing, assertTransfer, iperfUdp, SteadyPing } from '../support/traffic.js';
import { FAR, type TwoHosts, twoHosts } from '../support/two-hosts.js';
import { vtepdCommand } from '../support/vtepd.js';
import { eventually } from '../support/wait.js';

const WORKERS = '--workers 2';
const TRANSFER_BYTES = 100 * 1024 * 1024;
const FLOWS = 200;
/** Number of streams, large enough that one thread never carries all of them. */
const STREAMS = 16;
/**
 * Minimum CPU time of a thread that carries streams, clock ticks. A thread without streams uses
 * almost no CPU time.
 */
const LEAST_SHARE = 8;
/**
 * Duration of the streams, seconds. It exceeds the time for which the kernel remembers the queue of
 * a flow.
 */
const STREAM_S = 5;
/** Address without a host: copies flooded to it have no effect. */
const ABSENT = '192.168.80.99';
const PEERS = '/v1/vnis/100/peers';

t.test('pings and four concurrent TCP transfers, two in each direction, arrive intact', async (t) => {
  const hosts = await twoHosts(t, 'batch', WORKERS);
  const { vm101, vm103, vm105, vm107, vtepd } = hosts;
  await assertPing(t, vm101, '10.10.10.105');
  await assertPing(t, vm107, '10.10.10.103');
  await Promise.all([
    assertTransfer(t, vm101, vm105, '10.10.10.105', TRANSFER_BYTES),
    assertTransfer(t, vm105, vm101, '10.10.10.101', TRANSFER_BYTES, 7001),
    assertTransfer(t, vm103, vm107, '10.10.10.107', TRANSFER_BYTES),
    assertTransfer(t, vm107, vm103, '10.10.10.103', TRANSFER_BYTES, 7001),
  ]);
  assertIdentity(t, await vtepd.metrics());
});

t.test('both threads carry flows, and no flow is reordered', async (t) => {
  const hosts = await twoHosts(t, 'batch', WORKERS);
  const { vm101, vm105, vtepd } = hosts;
  for (const reverse of [false, true]) {
    const before = await cpuTicks(hosts);
    const { datagrams, outOfOrder } = await iperfUdp(vm101, vm105, '10.10.10.105', {
      flows: STREAMS,
      seconds: STREAM_S,
      bitsPerSecond: 10e6,
      reverse,
    });
    t.ok(datagrams > 10_000, `${datagrams} datagrams were ${reverse ? 'received' : 'sent'}`);
    t.equal(outOfOrder, 0, 'no datagram arrived out of order');
    const spent = [...(await cpuTicks(hosts))].map(([thread, ticks]) => ticks - (before.get(thread) ?? 0));
    const [, second] = spent.sort((a, b) => b - a);
    t.ok(
      second >= LEAST_SHARE,
      `both threads used CPU time, in ticks: ${spent.filter((ticks) => ticks > 0).join(', ')}`,
    );
  }
  assertIdentity(t, await vtepd.metrics());
});

t.test('workers share learned entries', async (t) => {
  const hosts = await twoHosts(t, 'batch', WORKERS);
  const { lab, vm101, vm105, vtepd } = hosts;
  await assertPing(t, vm101, '10.10.10.105');
  const flooded = await unknownUnicasts(hosts);
  const listener = lab.keep(vm105.tool('udp.mjs', 'listen', 9000));
  await listener.untilOutput(/listening/);
  // Only vm101 sends. From vm105 only the answers to the ping arrived, and only at one worker.
  t.equal(
    await vm101.tool('udp.mjs', 'flows', '10.10.10.105', 9000, FLOWS, 5).exit(20_000),
    0,
    'all flows were sent',
  );
  await eventually('all datagrams to arrive', () => listener.stdout.match(/flow/g)?.length === FLOWS * 5);
  t.equal(await unknownUnicasts(hosts), flooded, 'no datagram was flooded');

  const metrics = await vtepd.metrics();
  const entries = await vtepd.fdb(100);
  t.ok(entries.length > 0 && entries.every(({ peer, type }) => peer === FAR && type === 'dynamic'));
  t.equal(metrics.sum('vtepd_fdb_entries', { vni: 100, type: 'dynamic' }), entries.length);
  t.equal(
    metrics.sum('vtepd_fdb_learned_total', { vni: 100 }),
    entries.length,
    'each entry was learned once',
  );
  const flush = await vtepd.call<{ removed: number }>('DELETE', '/v1/vnis/100/fdb?type=dynamic');
  t.equal(flush.body.removed, entries.length, 'each entry is removed once');
  assertIdentity(t, metrics);
});

t.test('adding and removing a peer under load disturbs no flow', async (t) => {
  const { lab, vm101, vm103, vm105, vm107, vtepd } = await twoHosts(t, 'batch', WORKERS);
  const steady = await SteadyPing.start(vm101, '10.10.10.105');
  lab.keep(vm103.tool('udp.mjs', 'stream', '10.10.10.255', 9000, 1));
  const transfer = assertTransfer(t, vm107, vm103, '10.10.10.103', TRANSFER_BYTES);
  for (let round = 0; round < 5; round++) {
    t.equal((await vtepd.call('POST', PEERS, { address: ABSENT })).status, 201, 'the peer is added');
    assertIdentity(t, await vtepd.metrics());
    t.equal((await vtepd.call('DELETE', `${PEERS}/${ABSENT}`)).status, 204, 'the peer is removed');
    assertIdentity(t, await vtepd.metrics());
  }
  await transfer;
  const { sent, lost } = await steady.stop();
  t.equal(lost, 0, `none of ${sent} pings was lost`);
  await assertPing(t, vm105, '10.10.10.101');
  assertIdentity(t, await vtepd.metrics());
});

t.test('a second daemon can use neither port nor TAP, and a stop leaves nothing behind', async (t) => {
  const { near, vm101, vtepd } = await twoHosts(t, 'batch', WORKERS);
  const second = `--vni 200 --peer ${FAR} --api off`;
  for (const workers of [1, 2])
    await refused(
      t,
      near,
      `${second} --workers ${workers}`,
      /UDP port 4789 is taken: process \d+ \(node\) holds it/,
    );
  await refused(
    t,
    near,
    `${second} --tap vtep100 --port 4790 ${WORKERS}`,
    /vtep100 is in use by another program \(another vtepd\)/,
  );
  await assertPing(t, vm101, '10.10.10.105');
  const [tap] = await near.show<{ linkinfo: { info_data: unknown } }>('link show dev vtep100');
  t.match(tap.linkinfo.info_data, { multi_queue: true, numqueues: 2 });
  t.equal(await vtepd.stop(), 0, 'the daemon exits with 0');
  t.notOk((await near.devices()).includes('vtep100'), 'the TAP is removed');
  const sockets = await near.run('cat /proc/net/udp /proc/net/udp6');
  t.notMatch(sockets, /:12B5 /, 'no socket is bound to the port');
});

async function refused(t: Test, near: TwoHosts['near'], flags: string, message: RegExp): Promise<void> {
  const { code, stderr } = await near.outcome(vtepdCommand(flags), { limitMs: 10_000 });
  t.equal(code, 1, `${flags}: vtepd exits with 1`);
  t.match(stderr, message, stderr.trim().split('\n').at(-1) ?? '');
}

async function unknownUnicasts({ vtepd }: TwoHosts): Promise<number> {
  return (await vtepd.metrics()).sum('vtepd_flooded_frames_total', { vni: 100, class: 'unknown_unicast' });
}

/**
 * CPU time of each thread of the daemon except the main thread, in clock ticks of 10 ms
 * (proc_pid_stat(5)).
 */
async function cpuTicks({ near, vtepd }: TwoHosts): Promise<Map<string, number>> {
  const { pid } = vtepd.process;
  const text = await near.run(['sh', '-c', `cat /proc/${pid}/task/*/stat`]);
  const threads = text
    .trim()
    .split('\n')
    .map((line) => {
      const [utime, stime] = line.slice(line.lastIndexOf(')')).split(' ').slice(12, 14);
      return [line.split(' ', 1)[0], Number(utime) + Number(stime)] as const;
    });
  return new Map(threads.filter(([thread]) => thread !== String(pid)));
}
