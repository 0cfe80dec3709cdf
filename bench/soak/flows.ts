/**
 * Load of the soak test, with an account of every frame.
 *
 * Three flows, each at a sixth of the throughput that it has alone; together half of the capacity
 * of the machine. TCP runs from near to far; UDP, in frames of 1,400 bytes, in both directions,
 * each in its own VNI. Every sent UDP frame is then in one of three counts: drops of the TAP's
 * queue (counted by the kernel), the counters of the VNI, or the receiving socket.
 */
import { setTimeout as delay } from 'node:timers/promises';
import type { Running } from '../../test/support/command.js';
import type { Metrics } from '../../test/support/metrics.js';
import { eventually } from '../../test/support/wait.js';
import { BLAST, type Delivered } from '../lab/blast.js';
import { halfLoadOf, TASKS } from '../lab/tasks.js';
import {
  FIXED_VNIS,
  type Host,
  overlayAddress,
  type Place,
  siteOf,
  socketDrops,
  TCP_VNI,
  tapQueueDrops,
  UDP_BACK_VNI,
  UDP_VNI,
} from './place.js';

const CALIBRATION_S = 2;
const SHARE = 1 / 6;
const UDP_PORT = 9;
const FRAME_LEN = 1400;
/** Longer than the replacement of a data-plane thread. */
const SILENCE_MS = 10_000;
const MARGIN_MS = 30_000;
const QUIET_MS = 200;

export interface Rates {
  /** TCP, bits per second. */
  tcp: number;
  /** UDP in each direction, frames per second. */
  udp: number;
}

export async function calibrate({ near, far }: Place): Promise<Rates> {
  const pair = (vni: number) => {
    const ends = { a: siteOf(near, vni, 1), b: siteOf(far, vni, 2) };
    return { name: 'soak', ...ends, daemons: [], vtepds: [] };
  };
  const context = { seconds: CALIBRATION_S, halfLoad: 0, scraped: [] };
  const tcp = (await TASKS.tcp1(pair(TCP_VNI), context)).figures[0] * 1e9;
  const udp = 2 * (await halfLoadOf(pair(UDP_VNI)));
  return { tcp: Math.round(tcp * SHARE), udp: Math.round(udp * SHARE) };
}

export interface TcpReport {
  bitsPerSecond: number;
  retransmits: number;
}

/** @param seconds at least the length of the run */
export async function tcpFlow({ near, far }: Place, seconds: number, rate: number): Promise<TcpReport> {
  const server = far.space.start('iperf3 --server --one-off --forceflush');
  await server.untilOutput(/listening/i);
  const client = `iperf3 --client ${overlayAddress(TCP_VNI, 2)} --time ${seconds} --bitrate ${rate} --json`;
  const { end } = JSON.parse(await near.space.run(client, { limitMs: seconds * 1000 + MARGIN_MS }));
  await server.stop('SIGKILL');
  return { bitsPerSecond: end.sum_received.bits_per_second, retransmits: end.sum_sent.retransmits };
}

export interface UdpReport {
  name: string;
  sent: number;
  /** Drops of the queue of the sender's TAP, counted by the kernel. */
  queueDrops: number;
  /** Drops of vtepd on both sides, by reason. */
  drops: Record<string, number>;
  /** Sent, but neither read by vtepd nor counted as drops of the queue. */
  unread: number;
  /** Drops of the receiving socket, counted by the kernel. */
  socketDrops: number;
  delivered: number;
  /** Written to the TAP, but neither delivered nor counted as drops of the socket. */
  undelivered: number;
  corrupt: number;
}

/** A UDP flow from one host to the other. */
export class UdpFlow {
  readonly #from: Host;
  readonly #to: Host;
  readonly #vni: number;
  readonly #counter: Running;
  readonly #sender: Running;
  readonly #before: Counted;

  private constructor(from: Host, to: Host, vni: number, before: Counted, counter: Running, sender: Running) {
    this.#from = from;
    this.#to = to;
    this.#vni = vni;
    this.#before = before;
    this.#counter = counter;
    this.#sender = sender;
  }

  static async start(place: Place, isBack: boolean, seconds: number, rate: number): Promise<UdpFlow> {
    const [from, to] = isBack ? [place.far, place.near] : [place.near, place.far];
    const vni = isBack ? UDP_BACK_VNI : UDP_VNI;
    const before = await countedOf(from, to, vni);
    const counter = to.space.start([BLAST, 'count', `${UDP_PORT}`, `${SILENCE_MS}`]);
    await counter.untilOutput(/listening/);
    const args = [overlayAddress(vni, isBack ? 1 : 2), UDP_PORT, seconds, FRAME_LEN, 1, rate].map(String);
    return new UdpFlow(from, to, vni, before, counter, from.space.start([BLAST, 'send', ...args]));
  }

  /** Waits for the end of the sender and adds up. @param seconds remaining time of the sender */
  async report(seconds: number): Promise<UdpReport> {
    await this.#sender.exit(seconds * 1000 + MARGIN_MS);
    await delay(QUIET_MS);
    // Read before the socket is closed, because its count disappears with it.
    const lostBySocket = await socketDrops(this.#to, UDP_PORT);
    await this.#counter.exit(SILENCE_MS + MARGIN_MS);
    const { sent } = JSON.parse(this.#sender.stdout) as { sent: number };
    const { frames, corrupt } = JSON.parse(this.#counter.stdout.trim().split('\n').at(-1) ?? '') as Delivered;
    const after = await countedOf(this.#from, this.#to, this.#vni);
    const grown = (key: 'tapRx' | 'tapTx' | 'queueDrops') => after[key] - this.#before[key];
    return {
      name: `${this.#from.name} → ${this.#to.name}`,
      sent,
      queueDrops: grown('queueDrops'),
      drops: grownDrops(this.#before.drops, after.drops),
      unread: sent - grown('tapRx') - grown('queueDrops'),
      socketDrops: lostBySocket,
      delivered: frames,
      undelivered: grown('tapTx') - frames - lostBySocket,
      corrupt,
    };
  }
}

interface Counted {
  tapRx: number;
  tapTx: number;
  queueDrops: number;
  drops: Record<string, number>;
}

async function countedOf(from: Host, to: Host, vni: number): Promise<Counted> {
  const [sending, receiving] = [await from.vtepd.metrics(), await to.vtepd.metrics()];
  return {
    tapRx: sending.sum('vtepd_tap_rx_frames_total', { vni }),
    tapTx: receiving.sum('vtepd_tap_tx_frames_total', { vni }),
    queueDrops: await tapQueueDrops(from, vni),
    drops: { ...sending.drops('encap', vni), ...receiving.drops('decap', vni) },
  };
}

export function grownDrops(
  before: Record<string, number>,
  after: Record<string, number>,
): Record<string, number> {
  const grown = Object.entries(after).map(([reason, count]) => [reason, count - (before[reason] ?? 0)]);
  return Object.fromEntries(grown.filter(([, count]) => count !== 0));
}

/** Datagrams of the fixed VNIs, from one host to the other. */
export interface Wire {
  sent: number;
  /** Received datagrams, including those of sources that were no peers at that moment. */
  received: number;
  /** Drops without VNI: `rx_overflow`, and `vni_not_found` while a new thread gets its VNIs. */
  drops: Record<string, number>;
  /** Drops of the underlay's devices. */
  device: number;
}

export async function wireOf(from: Host, to: Host): Promise<Wire> {
  const [sending, receiving] = [await from.vtepd.metrics(), await to.vtepd.metrics()];
  const sum = (metrics: Metrics, name: string, labels: Record<string, string>) =>
    FIXED_VNIS.reduce(
      (total, vni) => total + metrics.sum(`vtepd_peer_${name}_frames_total`, { vni, ...labels }),
      0,
    );
  const statistic = async ({ space }: Host, name: string) =>
    Number(await space.run(['cat', `/sys/class/net/eth0/statistics/${name}`]));
  return {
    sent: sum(sending, 'tx', { peer: to.address }),
    received: sum(receiving, 'rx', {}),
    drops: receiving.drops('decap', ''),
    device: (await statistic(from, 'tx_dropped')) + (await statistic(to, 'rx_dropped')),
  };
}

/** Waits until no datagram is sent or received. */
export async function quiet({ near, far }: Place): Promise<void> {
  const moved = async () => {
    const wires = [await wireOf(near, far), await wireOf(far, near)];
    return wires.map(({ sent, received }) => `${sent} ${received}`).join();
  };
  await eventually('the flows to end', async () => {
    const before = await moved();
    await delay(QUIET_MS);
    return (await moved()) === before;
  });
}
