/**
 * CPU cost of one copy in head-end replication, kernel included, for 1 to 512 peers.
 *
 *     host: 192.168.0.1/16 on a device that discards ── peers 192.168.64.0 … 192.168.65.255
 *
 * Broadcast frames of 64 bytes enter the VTEP at a rate below overload, with the same number of
 * copies per second for every number of peers. The figure is the CPU time (schedstat) of the
 * sender, of all threads of the daemon and of ksoftirqd. Kernel vxlan runs in the context of the
 * sender. The figure includes the cost of the broadcast frame itself, divided by the number of
 * copies. There is no receiver: the device is `dummy`, or `ifb` if the kernel has no dummy. Either
 * device discards a datagram within the call that sends the datagram.
 */
import { outcome } from '../../test/support/command.js';
import { createNamespace, type Namespace } from '../../test/support/netns.js';
import { processCpuNs, processesCalled } from '../cpu.js';
import { type Rounds, ratiosOf, spreadOf } from '../figures.js';
import { compileTool, send } from '../lab/blast.js';
import { UNDERLAY_DEV } from '../lab/site.js';
import { startVtepd, VNI } from '../lab/vteps.js';
import type { BenchOptions } from '../options.js';
import type { Measured } from '../results.js';

const PEER_COUNTS = [1, 2, 8, 64, 512];
const PEER_COUNTS_SHORT = [1, 8];
/** Copies per second: what two cores can send with few peers. */
const COPIES_PER_SECOND = 200_000;
/** Length of a measurement. It can be short, because CPU time is counted, not elapsed time. */
const SECONDS = 1;
const UNDERLAY = '192.168.0.1';
const ADDRESS = '10.10.10.1';
const BROADCAST = '10.10.10.255';
/** Minimum share of the intended copies that must have been sent. */
const SHARE_MIN = 0.9;
const NAMES = ['kernel', 'vtepd'] as const;

/** A host that floods to a number of peers. */
interface Flooder {
  readonly name: (typeof NAMES)[number];
  readonly peers: number;
  readonly host: Namespace;
  /** Processes whose CPU time counts, besides the sender. */
  readonly pids: readonly number[];
  /** Copies sent since the start of the flooder. */
  copies(): Promise<number>;
  readonly stop?: () => Promise<unknown>;
  /** CPU time per copy in each round, ns. */
  readonly rounds: (number | null)[];
}

export async function measureCopies(
  { rounds, short }: BenchOptions,
  fail: (line: string) => void,
): Promise<Measured> {
  const counts = short ? PEER_COUNTS_SHORT : PEER_COUNTS;
  const flooders: Flooder[] = [];
  await compileTool('blast');
  try {
    for (const count of counts) flooders.push(await startKernel(count), await startVtepdFlooder(count));
    for (let round = 0; round < rounds; round++) {
      for (const flooder of round % 2 === 0 ? flooders : [...flooders].reverse()) {
        const figure = await nsPerCopy(flooder).catch((error: Error) => {
          fail(`${flooder.name}, ${flooder.peers} peers: ${error.message}`);
          return null;
        });
        flooder.rounds.push(figure);
      }
    }
  } finally {
    for (const { host, stop } of flooders) {
      await stop?.();
      await host.remove();
    }
  }
  return measuredOf(
    counts,
    (name, peers) => flooders.find((one) => one.name === name && one.peers === peers)!.rounds,
  );
}

function measuredOf(
  counts: readonly number[],
  roundsOf: (name: Flooder['name'], peers: number) => Rounds,
): Measured {
  const most = counts[counts.length - 1];
  const vtepd = counts.map((count) => roundsOf('vtepd', count));
  const steps = vtepd.slice(1).map((next, i) => ratiosOf(next, vtepd[i])?.median ?? null);
  const worst = steps.includes(null) ? null : Math.max(...steps.map(Number));
  const rows = counts.map((count) => ({
    label: `${count} peer${count === 1 ? '' : 's'}`,
    values: NAMES.map((name) => spreadOf(roundsOf(name, count))),
  }));
  const title = 'Head-end replication, ns of CPU a copy; less is better';
  return {
    rows: [
      {
        id: 'copies',
        title: `head-end replication to ${most} peers, per copy`,
        unit: 'ns',
        kernel: roundsOf('kernel', most),
        vtepd: roundsOf('vtepd', most),
        must: 1.8,
        aim: 1,
      },
      {
        id: 'copies-flat',
        title: `largest cost step per copy, ${counts.join(' → ')}`,
        unit: '×',
        vtepd: [worst],
        must: 1.1,
      },
    ],
    figures: [{ name: 'copies', title, columns: NAMES, rows, scale: 'linear' }],
  };
}

async function nsPerCopy(flooder: Flooder): Promise<number> {
  const rate = COPIES_PER_SECOND / flooder.peers;
  const pids = [...flooder.pids, ...processesCalled(/^ksoftirqd\//)];
  const copiesBefore = await flooder.copies();
  const before = processCpuNs(pids);
  const { sent, cpuNs } = await send(flooder.host, BROADCAST, { size: 64, rate, seconds: SECONDS });
  const cpu = cpuNs + processCpuNs(pids) - before;
  const copies = (await flooder.copies()) - copiesBefore;
  const share = copies / (sent * flooder.peers);
  if (share < SHARE_MIN) throw new Error(`sent only ${(share * 100).toFixed(0)} % of the copies`);
  return cpu / copies;
}

async function startKernel(peers: number): Promise<Flooder> {
  const host = await makeHost();
  const device = `vxlan${VNI}`;
  await host.ip(`link add ${device} type vxlan id ${VNI} local ${UNDERLAY} dstport 4789 dev ${UNDERLAY_DEV}
    link set ${device} up
    address add ${ADDRESS}/24 dev ${device}`);
  const lines = addresses(peers).map((peer) => `fdb append 00:00:00:00:00:00 dev ${device} dst ${peer}`);
  await host.run('bridge -batch -', { input: lines.join('\n') });
  const copies = async () => {
    const show = `-statistics link show ${device}`;
    const [link] = await host.show<{ stats64: { tx: { packets: number } } }>(show);
    return link.stats64.tx.packets;
  };
  return { name: 'kernel', peers, host, pids: [], copies, rounds: [] };
}

async function startVtepdFlooder(peers: number): Promise<Flooder> {
  const host = await makeHost();
  const flags = addresses(peers).map((peer) => `--peer ${peer}`);
  const vtepd = startVtepd(host, { flags: `--address ${ADDRESS}/24 ${flags.join(' ')}` });
  await vtepd.ready();
  const copies = async () => (await vtepd.metrics()).sum('vtepd_peer_tx_frames_total');
  const stop = () => vtepd.stop();
  return { name: 'vtepd', peers, host, pids: [vtepd.process.pid], copies, stop, rounds: [] };
}

/** @throws Error when the kernel has neither device */
async function makeHost(): Promise<Namespace> {
  const host = await createNamespace('copies');
  const add = (type: string) => outcome(`ip -n ${host.name} link add ${UNDERLAY_DEV} type ${type}`);
  if ((await add('dummy')).code !== 0 && (await add('ifb')).code !== 0)
    throw new Error('this kernel has neither the dummy nor the ifb device, which discard datagrams');
  await host.ip(`link set ${UNDERLAY_DEV} up
    address add ${UNDERLAY}/16 dev ${UNDERLAY_DEV}`);
  return host;
}

function addresses(count: number): string[] {
  return Array.from({ length: count }, (_, i) => `192.168.${64 + (i >> 8)}.${i & 0xff}`);
}
