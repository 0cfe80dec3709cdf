/**
 * CPU time of a frame in the data-plane thread, by system call and by part of the program.
 *
 * vtepd runs on both sides, saturated. `perf` samples its data-plane threads, the scheduler counts
 * their CPU time, and the counters of vtepd count the frames of the same period.
 *
 * Costs are given per frame for UDP. For TCP they are given per 64 KiB of frames, the maximum
 * length of a superframe, because the kernel decides into how many frames it cuts the stream. The
 * figures of a thread contain its work for the opposite
 * direction (acknowledgements).
 */
import { rmSync } from 'node:fs';
import { setTimeout as delay } from 'node:timers/promises';
import type { Vtepd } from '../../test/support/vtepd.js';
import { eventually } from '../../test/support/wait.js';
import { threadCpuNs } from '../cpu.js';
import { type Figures, spreadOf } from '../figures.js';
import { compileTool } from '../lab/blast.js';
import type { Pair } from '../lab/competitors.js';
import { isInstalled } from '../lab/overlays.js';
import { makeSites, removeSites, type Site } from '../lab/site.js';
import { STAGES, type StageId } from '../lab/stages.js';
import { TASKS, type TaskId } from '../lab/tasks.js';
import { startVtepd } from '../lab/vteps.js';
import type { BenchOptions } from '../options.js';
import type { Measured } from '../results.js';
import { type Kind, PARTS } from './parts.js';
import { type Counts, partTotal, sampleThreads, totalOf } from './perf.js';

interface SideProfile {
  name: string;
  unitsPerSecond: number;
  /** CPU time of the data-plane thread. */
  nsPerUnit: number;
  counts: Counts;
}

interface Load {
  title: string;
  stage: StageId;
  task: TaskId;
  /** Bytes of frames that are one unit; 0: each frame is a unit. */
  unitLen: number;
}

const SUPERFRAME_LEN = 64 * 1024;
const LOADS: readonly Load[] = [
  { title: 'UDP 64 B', stage: 'device-whole', task: 'udp64', unitLen: 0 },
  { title: 'UDP 1,400 B', stage: 'device-whole', task: 'udp1400', unitLen: 0 },
  { title: 'TCP ×4, superframes whole', stage: 'device-whole', task: 'tcp4', unitLen: SUPERFRAME_LEN },
  { title: 'TCP ×4, trains', stage: 'device', task: 'tcp4', unitLen: SUPERFRAME_LEN },
];
/** Traffic before and after the sampled period. */
const MARGIN_S = 2;

/** Without perf, the measurement is skipped when all benchmarks run. */
export async function measureProfile({ seconds, only }: BenchOptions): Promise<Measured> {
  if (!isInstalled('perf') && !only) return {};
  if (!isInstalled('perf')) throw new Error('perf is not installed (Debian: linux-perf)');
  await compileTool('blast');
  const profiles: SideProfile[] = [];
  for (const id of new Set(LOADS.map(({ stage }) => stage))) {
    await onStage(id, async (pair) => {
      for (const load of LOADS.filter(({ stage }) => stage === id))
        profiles.push(...(await profile(pair, load, seconds)));
    });
  }
  return { figures: figuresOf(profiles) };
}

/** Runs work on a stage after `MARGIN_S` of traffic, which lets V8 compile its final code. */
async function onStage(id: StageId, work: (pair: Pair) => Promise<void>): Promise<void> {
  const stage = STAGES.find((one) => one.id === id);
  if (!stage) throw new Error(`no stage ${id}`);
  const [a, b] = await makeSites(stage);
  const vtepds: Vtepd[] = [];
  try {
    vtepds.push(await start(a, b), await start(b, a));
    await eventually('a ping', async () => (await a.user.outcome(`ping -c 1 -W 1 ${b.address}`)).code === 0);
    const pair = { name: 'vtepd', a, b, daemons: [], vtepds };
    for (const task of ['tcp4', 'udp64'] as const)
      await TASKS[task](pair, { seconds: MARGIN_S, halfLoad: 0, scraped: [] });
    await work(pair);
  } finally {
    for (const vtepd of vtepds) await vtepd.stop();
    for (const { process } of vtepds) rmSync(`/tmp/perf-${process.pid}.map`, { force: true });
    await removeSites([a, b]);
  }
}

async function start({ host, address }: Site, peer: Site): Promise<Vtepd> {
  const flags = `--peer ${peer.underlay} --address ${address}/24`;
  const vtepd = startVtepd(host, { flags, nodeFlags: ['--perf-basic-prof'] });
  await vtepd.ready();
  return vtepd;
}

async function profile(pair: Pair, { title, task, unitLen }: Load, seconds: number): Promise<SideProfile[]> {
  const traffic = TASKS[task](pair, { seconds: seconds + 2 * MARGIN_S, halfLoad: 0, scraped: [] });
  await delay(MARGIN_S * 1000);
  const sides = pair.vtepds.map((vtepd) => new Side(vtepd, unitLen));
  for (const side of sides) await side.read();
  const pids = pair.vtepds.map(({ process }) => process.pid);
  const [threads] = await Promise.all([sampleThreads(pids, seconds), readLater(sides, seconds)]);
  await traffic;
  const unit = unitLen === 0 ? 'a frame' : '64 KiB of frames';
  return sides.map((side, i) => side.profile(`${title}, ${['sending', 'receiving'][i]}, ${unit}`, threads));
}

/**
 * Reads the counters when sampling ends and not later, because the traffic possibly ends while perf
 * still writes its file.
 */
async function readLater(sides: readonly Side[], seconds: number): Promise<void> {
  await delay(seconds * 1000);
  for (const side of sides) await side.read();
}

/** A daemon and the readings of its counters. */
class Side {
  readonly #vtepd: Vtepd;
  readonly #unitLen: number;
  readonly #readings: { units: number; cpuNs: Map<number, number>; atMs: number }[] = [];

  constructor(vtepd: Vtepd, unitLen: number) {
    this.#vtepd = vtepd;
    this.#unitLen = unitLen;
  }

  async read(): Promise<void> {
    const metrics = await this.#vtepd.metrics();
    const what = this.#unitLen === 0 ? 'frames' : 'bytes';
    const sum = metrics.sum(`vtepd_tap_rx_${what}_total`) + metrics.sum(`vtepd_tap_tx_${what}_total`);
    const units = this.#unitLen === 0 ? sum : sum / this.#unitLen;
    this.#readings.push({ units, cpuNs: threadCpuNs(this.#vtepd.process.pid), atMs: performance.now() });
  }

  /** Profile of the data-plane thread: the thread of the daemon with the most samples. */
  profile(name: string, threads: ReadonlyMap<number, Counts>): SideProfile {
    const [first, last] = this.#readings;
    const own = [...threads].filter(([thread]) => last.cpuNs.has(thread));
    const [thread, counts] = own.sort(([, one], [, other]) => totalOf(other) - totalOf(one))[0];
    const units = last.units - first.units;
    const cpuNs = (last.cpuNs.get(thread) ?? 0) - (first.cpuNs.get(thread) ?? 0);
    const seconds = (last.atMs - first.atMs) / 1000;
    return { name, unitsPerSecond: units / seconds, nsPerUnit: cpuNs / units, counts };
  }
}

/**
 * Two tables: the share of each part; and the cost of a unit, with the shares of copying and of the
 * receiving stack.
 */
function figuresOf(profiles: readonly SideProfile[]): Figures[] {
  const one = (value: number) => spreadOf([value]);
  const rows = (valuesOf: (profile: SideProfile) => number[]) =>
    profiles.map((profile) => ({ label: profile.name, values: valuesOf(profile).map(one) }));
  const share = ({ counts }: SideProfile, count: number) => (100 * count) / totalOf(counts);
  const kind = (profile: SideProfile, which: Kind) =>
    share(
      profile,
      PARTS.reduce((sum, part) => sum + profile.counts[part][which], 0),
    );
  return [
    {
      name: 'profile',
      title: 'CPU time of the data-plane thread, per cent',
      columns: PARTS,
      rows: rows((profile) => PARTS.map((part) => share(profile, partTotal(profile.counts, part)))),
      scale: 'stacked',
    },
    {
      name: 'profile-units',
      title: 'CPU time of the data-plane thread for a frame, or 64 KiB of frames',
      columns: ['ns', 'thousand/s', 'copies, %', 'receiving stack, %', 'samples'],
      rows: rows((profile) => [
        profile.nsPerUnit,
        profile.unitsPerSecond / 1000,
        kind(profile, 'copy'),
        kind(profile, 'deliver'),
        totalOf(profile.counts),
      ]),
    },
  ];
}
