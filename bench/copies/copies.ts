/**
 * Head-end replication with the kernel in it: what does one copy of a broadcast frame cost when there are 1 … 512 peers?
 *
 *     host: 192.168.0.1/16 on a device that throws away ── peers 192.168.64.0 … 192.168.65.255
 *
 * Broadcast frames of 64 bytes are sent to the VTEP at such a rate that nothing is overloaded and every copy is made: as
 * many copies whatever the number of peers. What works for them is counted by the scheduler, in nanoseconds: the sender,
 * all threads of the daemon if there is one, and the kernel's ksoftirqd. Kernel vxlan works inside the sender. What a frame
 * costs itself is in the figure, shared by its copies. Nothing works elsewhere: a receiver there is none, and the device
 * is `dummy`, or `ifb` where the kernel has no dummy, which both take a datagram and forget it within the call that sends it.
 */
import { outcome } from '../../test/support/command.js';
import { createNamespace, type Namespace } from '../../test/support/netns.js';
import type { Vtepd } from '../../test/support/vtepd.js';
import { compileBlast, send } from '../lab/blast.js';
import { UNDERLAY_DEV } from '../lab/site.js';
import { startVtepd, VNI } from '../lab/vteps.js';
import { progress, reportFailure } from '../progress.js';
import { processCpuNs, processesCalled } from './task-cpu.js';

export const PEER_COUNTS = [1, 2, 8, 64, 512] as const;
const PEER_COUNTS_SHORT = [1, 8];

export interface CopiesResult {
  counts: number[];
  /** Nanoseconds of CPU a copy: competitor → by number of peers → one for each round. */
  nsPerCopy: Record<string, number[][]>;
  failures: string[];
}

export interface CopiesOptions {
  rounds: number;
  seconds: number;
  short: boolean;
}

/** Of few peers that many frames, which a machine of two cores takes. */
const COPIES_PER_SECOND = 200_000;
const FRAME_LEN = 64;
const UNDERLAY = '192.168.0.1';
const ADDRESS = '10.10.10.1';
const BROADCAST = '10.10.10.255';
/** Least share of the copies wanted that must have been made: else something else was measured. */
const SHARE_MIN = 0.9;
const SOFTIRQ_THREADS = /^ksoftirqd\//;

export async function measureCopies({ rounds, seconds, short }: CopiesOptions): Promise<CopiesResult> {
  const counts = short ? PEER_COUNTS_SHORT : [...PEER_COUNTS];
  const empty = () => counts.map((): number[] => []);
  const result: CopiesResult = { counts, nsPerCopy: { kernel: empty(), vtepd: empty() }, failures: [] };
  const flooders: Flooder[] = [];
  await compileBlast();
  try {
    for (const count of counts) {
      flooders.push(await KernelFlooder.start(count), await VtepdFlooder.start(count));
    }
    for (let round = 0; round < rounds; round++) {
      progress(`head-end replication: round ${round + 1} of ${rounds}`);
      for (const flooder of round % 2 === 0 ? flooders : [...flooders].reverse()) {
        await measureInto(result, flooder, seconds);
      }
    }
    return result;
  } finally {
    for (const flooder of flooders) await flooder.remove();
  }
}

async function measureInto(result: CopiesResult, flooder: Flooder, seconds: number): Promise<void> {
  try {
    const figure = await nsPerCopy(flooder, seconds);
    result.nsPerCopy[flooder.name][result.counts.indexOf(flooder.peers)].push(figure);
  } catch (error) {
    const line = `replication to ${flooder.peers} peers: ${flooder.name}: ${(error as Error).message}`;
    result.failures.push(line);
    reportFailure(line);
  }
}

async function nsPerCopy(flooder: Flooder, seconds: number): Promise<number> {
  const rate = COPIES_PER_SECOND / flooder.peers;
  const pids = [...flooder.pids, ...processesCalled(SOFTIRQ_THREADS)];
  const copiesBefore = await flooder.copies();
  const before = processCpuNs(pids);
  const { sent, cpuNs } = await send(flooder.host, BROADCAST, { size: FRAME_LEN, rate, seconds });
  const cpu = cpuNs + processCpuNs(pids) - before;
  const copies = (await flooder.copies()) - copiesBefore;
  const share = copies / (sent * flooder.peers);
  if (share < SHARE_MIN) throw new Error(`made ${(share * 100).toFixed(0)} % of the copies`);
  return cpu / copies;
}

/** A host that floods to so many peers. */
interface Flooder {
  readonly name: 'kernel' | 'vtepd';
  readonly peers: number;
  readonly host: Namespace;
  /** Processes that work for it, beside the sender. */
  readonly pids: readonly number[];
  /** Sent since it was made. */
  copies(): Promise<number>;
  remove(): Promise<void>;
}

class KernelFlooder implements Flooder {
  readonly name = 'kernel';
  readonly peers: number;
  readonly host: Namespace;
  readonly pids = [];

  private constructor(peers: number, host: Namespace) {
    this.peers = peers;
    this.host = host;
  }

  static async start(peers: number): Promise<KernelFlooder> {
    const host = await makeHost();
    const device = `vxlan${VNI}`;
    await host.ip(`link add ${device} type vxlan id ${VNI} local ${UNDERLAY} dstport 4789 dev ${UNDERLAY_DEV}
      link set ${device} up
      address add ${ADDRESS}/24 dev ${device}`);
    const lines = peerAddresses(peers).map(
      (peer) => `fdb append 00:00:00:00:00:00 dev ${device} dst ${peer}`,
    );
    await host.run('bridge -batch -', { input: lines.join('\n') });
    return new KernelFlooder(peers, host);
  }

  async copies(): Promise<number> {
    const [link] = await this.host.show<{ stats64: { tx: { packets: number } } }>(
      `-statistics link show vxlan${VNI}`,
    );
    return link.stats64.tx.packets;
  }

  remove(): Promise<void> {
    return this.host.remove();
  }
}

class VtepdFlooder implements Flooder {
  readonly name = 'vtepd';
  readonly peers: number;
  readonly host: Namespace;
  readonly pids: readonly number[];
  readonly #vtepd: Vtepd;

  private constructor(peers: number, host: Namespace, vtepd: Vtepd) {
    this.peers = peers;
    this.host = host;
    this.pids = [vtepd.process.pid];
    this.#vtepd = vtepd;
  }

  static async start(peers: number): Promise<VtepdFlooder> {
    const host = await makeHost();
    const flags = peerAddresses(peers).map((peer) => `--peer ${peer}`);
    const vtepd = startVtepd(host, { flags: `--address ${ADDRESS}/24 ${flags.join(' ')}` });
    await vtepd.ready();
    return new VtepdFlooder(peers, host, vtepd);
  }

  async copies(): Promise<number> {
    return (await this.#vtepd.metrics()).sum('vtepd_peer_tx_frames_total');
  }

  async remove(): Promise<void> {
    await this.#vtepd.stop();
    await this.host.remove();
  }
}

async function makeHost(): Promise<Namespace> {
  const host = await createNamespace('copies');
  await addSink(host);
  await host.ip(`link set ${UNDERLAY_DEV} up
    address add ${UNDERLAY}/16 dev ${UNDERLAY_DEV}`);
  return host;
}

/** @throws Error when the kernel has neither */
async function addSink(host: Namespace): Promise<void> {
  for (const type of ['dummy', 'ifb']) {
    const add = `ip -n ${host.name} link add ${UNDERLAY_DEV} type ${type}`;
    if ((await outcome(add)).code === 0) return;
  }
  throw new Error('this kernel has neither dummy nor ifb: nothing that takes datagrams and forgets them');
}

function peerAddresses(count: number): string[] {
  return Array.from({ length: count }, (_, i) => `192.168.${64 + (i >> 8)}.${i & 0xff}`);
}
