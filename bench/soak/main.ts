/**
 * Soak test: two daemons at half load for twenty minutes, with random changes of configuration.
 *
 * Prints growth of memory and descriptors, event-loop lag and lost frames. The exit code is 1 if a
 * limit was exceeded. scripts/soak.mjs starts this program.
 */
import { randomInt } from 'node:crypto';
import { parseArgs } from 'node:util';
import { outcome } from '../../test/support/command.js';
import { eventually } from '../../test/support/wait.js';
import { compileTool } from '../lab/blast.js';
import { Churn, type Churned } from './churn.js';
import {
  calibrate,
  grownDrops,
  quiet,
  type TcpReport,
  tcpFlow,
  UdpFlow,
  type UdpReport,
  wireOf,
} from './flows.js';
import { type Host, makePlace, type Place, sizeOf } from './place.js';
import { Watch } from './watch.js';

const MINUTES = 20;
/** Maximum rise of the fitted line of resident memory over the run. */
const GROWN_MAX_MB = 64;
/** Minimum length of a run whose memory is judged; a shorter run is only warm-up. */
const JUDGED_S = 170;
/**
 * Maximum number of frames in flight in a killed thread: counted but not delivered, or delivered
 * but not counted.
 */
const HELD_MAX = 1024;
/** Maximum number of datagrams of a train, which the kernel drops as one. */
const TRAIN_MAX = 64;
const MB = 1 << 20;
const SETTLED_MS = 15_000;
/** Lines of the kernel log that indicate a fault. */
const KERNEL_FAULT =
  /BUG|WARNING|Oops|Call Trace|hung task|lockup|out of memory|oom-kill|segfault|protection fault/i;

const faults: string[] = [];

try {
  await main();
} catch (error) {
  faults.push((error as Error).message);
}
console.log(faults.length === 0 ? '\nsoak: ok' : `\nsoak: failed\n  ${faults.join('\n  ')}`);
process.exit(faults.length === 0 ? 0 : 1);

async function main(): Promise<void> {
  const { minutes, seed, kills } = parseOptions(process.argv.slice(2));
  console.log(`seed ${seed}, ${minutes} minutes`);
  await compileTool('blast');
  const kernelBefore = await kernelLog();
  const place = await makePlace();
  const hosts = [place.near, place.far];
  const rates = await calibrate(place);
  console.log(
    `load: TCP ${gbps(rates.tcp)}, UDP ${Math.round(rates.udp / 1000)} k frames/s in each direction`,
  );
  const descriptors = hosts.map((host) => sizeOf(host).descriptors);
  const run = await soak(place, { seconds: minutes * 60, seed, kills }, rates);

  reportTcp(run.tcp);
  for (const udp of run.udp) reportUdp(udp, run.churned);
  for (const [i, host] of hosts.entries()) {
    reportHost(host, run.watches[i], run.churned[i]);
    await reportDescriptors(host, descriptors[i], run.watches[i]);
  }
  for (const wire of run.wires) reportWire(wire);
  for (const host of hosts) await stop(host);
  reportKernel(kernelBefore, await kernelLog());
}

function parseOptions(args: readonly string[]): { minutes: number; seed: number; kills: boolean } {
  const { values } = parseArgs({
    args: [...args],
    options: {
      minutes: { type: 'string' },
      seed: { type: 'string' },
      'no-kills': { type: 'boolean', default: false },
    },
  });
  const number = (flag: string, text: string | undefined, otherwise: number, max: number) => {
    if (text === undefined) return otherwise;
    if (/^\d+$/.test(text) && Number(text) >= 1 && Number(text) <= max) return Number(text);
    console.error(`soak: ${flag} ${text}: must be a whole number from 1 to ${max}`);
    return process.exit(2);
  };
  return {
    minutes: number('--minutes', values.minutes, MINUTES, 1440),
    seed: number('--seed', values.seed, randomInt(1, 2 ** 31), 2 ** 31),
    kills: !values['no-kills'],
  };
}

interface WireReport {
  name: string;
  sent: number;
  drops: Record<string, number>;
  device: number;
  uncounted: number;
  kills: number;
}

interface Run {
  tcp: TcpReport;
  udp: UdpReport[];
  watches: Watch[];
  churned: Churned[];
  wires: WireReport[];
}

async function soak(
  place: Place,
  { seconds, seed, kills }: { seconds: number; seed: number; kills: boolean },
  rates: { tcp: number; udp: number },
): Promise<Run> {
  const { near, far } = place;
  const directions = [
    [near, far],
    [far, near],
  ] as const;
  const wiresBefore = await Promise.all(directions.map(([from, to]) => wireOf(from, to)));
  const over = new AbortController();
  const watches = [new Watch(near), new Watch(far)];
  const watching = watches.map((watch) => watch.run(over.signal));
  const flows = [
    await UdpFlow.start(place, false, seconds, rates.udp),
    await UdpFlow.start(place, true, seconds, rates.udp),
  ];
  const untilMs = performance.now() + seconds * 1000;
  const churns = [
    new Churn(near, far, generator(seed), kills),
    new Churn(far, near, generator(seed + 1), kills),
  ];
  const [tcp, udp] = await Promise.all([
    tcpFlow(place, seconds, rates.tcp),
    Promise.all(flows.map((flow) => flow.report(seconds))),
    ...churns.map((churn) => churn.run(untilMs)),
  ]);
  over.abort();
  await Promise.all(watching);
  await quiet(place);
  for (const watch of watches) await watch.scrape();
  const churned = churns.map(({ result }) => result);
  const wiresAfter = await Promise.all(directions.map(([from, to]) => wireOf(from, to)));
  const wires = directions.map(([from, to], i): WireReport => {
    const [before, after] = [wiresBefore[i], wiresAfter[i]];
    // `learn` bypasses the daemon on its host, so that daemon's counters lack these frames.
    const sent = after.sent - before.sent + churned[1 - i].learned;
    const drops = grownDrops(before.drops, after.drops);
    const device = after.device - before.device;
    const dropped = Object.values(drops).reduce((sum, count) => sum + count, device);
    const uncounted = sent - (after.received - before.received) - dropped;
    const ended = churned[0].restored.length + churned[1].restored.length;
    return { name: `${from.name} → ${to.name}`, sent, drops, device, uncounted, kills: ended };
  });
  return { tcp, udp, watches, churned, wires };
}

function reportTcp({ bitsPerSecond, retransmits }: TcpReport): void {
  console.log(`TCP near → far: ${gbps(bitsPerSecond)}, ${retransmits} retransmits`);
  if (bitsPerSecond === 0) faults.push('TCP did not pass');
}

/** Reports a UDP flow. Frames in flight in a killed thread are in no count. */
function reportUdp(udp: UdpReport, churned: readonly Churned[]): void {
  const { name, sent, queueDrops, drops, unread, delivered, undelivered, corrupt } = udp;
  console.log(
    `UDP ${name}: ${sent} sent; lost: ${queueDrops} in the TAP's queue, ${reasonsOf(drops)}, ${udp.socketDrops} by the receiver's socket; ${delivered} delivered, ${corrupt} corrupt; uncounted: ${unread} before and ${undelivered} after the counters of vtepd`,
  );
  const kills = churned.reduce((sum, { restored }) => sum + restored.length, 0);
  judge(`UDP ${name}: frames before the counters of vtepd`, unread, kills);
  judge(`UDP ${name}: frames after the counters of vtepd`, undelivered, kills);
  if (corrupt > 0) faults.push(`UDP ${name}: ${corrupt} frames corrupt`);
  if (delivered === 0) faults.push(`UDP ${name}: nothing was delivered`);
}

function reasonsOf(drops: Record<string, number>): string {
  const reasons = Object.entries(drops).map(([reason, count]) => `${count} ${reason}`);
  return reasons.length === 0 ? 'none by vtepd' : reasons.join(', ');
}

/** @param more allowance for trains: the kernel counts a dropped train as one drop */
function judge(what: string, uncounted: number, kills: number, more = 0): void {
  const most = kills * HELD_MAX + more;
  if (uncounted > most) faults.push(`${what}: ${uncounted} lost without a count, at most ${most} allowed`);
  if (uncounted < -most)
    faults.push(`${what}: ${-uncounted} more counted than sent, at most ${most} allowed`);
}

function reportWire({ name, sent, drops, device, uncounted, kills }: WireReport): void {
  console.log(
    `wire ${name}: ${sent} sent; lost: ${reasonsOf(drops)}, ${device} by devices; uncounted: ${uncounted} (${kills} threads ended)`,
  );
  judge(`wire ${name}`, uncounted, kills, (drops.rx_overflow ?? 0) * (TRAIN_MAX - 1));
}

function reportHost({ name }: Host, watch: Watch, { calls, wrong, restored }: Churned): void {
  const { min, max, slope, grown } = watch.memory();
  const total = Object.values(calls).reduce((sum, count) => sum + count, 0);
  console.log(
    `${name}: RSS ${mb(min)} to ${mb(max)} MB, slope ${((slope * 3600) / MB).toFixed(1)} MB/h (${mb(grown)} MB over the run)${watch.lengthS >= JUDGED_S ? '' : ': too short to judge'}`,
  );
  console.log(
    `${name}: ${total} calls, ${restored.length} threads ended, ready again within ${ms(restored)} ms`,
  );
  console.log(
    `${name}: ${Object.entries(calls)
      .map((call) => call.reverse().join(' × '))
      .join(', ')}`,
  );
  console.log(
    `${name}: identity compared ${watch.compared} times in ${watch.scrapes} scrapes (${watch.failedScrapes} failed): ${watch.wrong.length} wrong`,
  );
  if (watch.lengthS >= JUDGED_S && grown / MB > GROWN_MAX_MB)
    faults.push(`${name}: memory grew by ${mb(grown)} MB`);
  for (const line of watch.wrong.slice(0, 5)) faults.push(`${name}: identity: ${line}`);
  for (const line of wrong.slice(0, 5)) faults.push(`${name}: ${line}`);
  if (wrong.length > 5) faults.push(`${name}: … ${wrong.length - 5} more wrong answers`);
}

function ms(values: readonly number[]): string {
  return values.length === 0 ? '–' : Math.max(...values).toFixed(0);
}

/** Compares the number of descriptors with the start; the churn has removed everything it added. */
async function reportDescriptors(host: Host, before: number, { samples }: Watch): Promise<void> {
  const counts = samples.map(({ descriptors }) => descriptors);
  const after = () => sizeOf(host).descriptors;
  await eventually('descriptors to be closed', () => after() <= before, SETTLED_MS).catch(() => undefined);
  console.log(
    `${host.name}: descriptors ${before} before, ${Math.min(...counts)} to ${Math.max(...counts)}, ${after()} after`,
  );
  if (after() > before) faults.push(`${host.name}: ${after() - before} descriptors were left open`);
}

async function stop(host: Host): Promise<void> {
  const { name, vtepd, space } = host;
  const code = await vtepd.process.stop('SIGTERM', SETTLED_MS);
  const devices = (await space.devices()).filter((device) => device !== 'eth0');
  const sockets = (await space.run('cat /proc/net/udp /proc/net/udp6')).match(/:12B5 /g) ?? [];
  const { p50, p99, max } = host.lag();
  console.log(
    `${name}: event-loop lag p50 ${p50.toFixed(1)}, p99 ${p99.toFixed(1)}, max ${max.toFixed(1)} ms; exit ${code}, left: ${devices.join(', ') || 'nothing'}`,
  );
  if (code !== 0) faults.push(`${name}: exit ${code}: ${vtepd.process.stderr.trim().split('\n').at(-1)}`);
  if (devices.length > 0) faults.push(`${name}: left ${devices.join(', ')}`);
  if (sockets.length > 0) faults.push(`${name}: left ${sockets.length} sockets on port 4789`);
}

/** Lines of the kernel log; undefined if it may not be read. */
async function kernelLog(): Promise<string[] | undefined> {
  const { code, stdout } = await outcome('dmesg');
  return code === 0 ? stdout.split('\n').filter(Boolean) : undefined;
}

function reportKernel(before: string[] | undefined, after: string[] | undefined): void {
  if (!before || !after) {
    console.log('kernel log: cannot be read');
    return;
  }
  const known = new Set(before);
  const fresh = after.filter((line) => !known.has(line));
  const bad = fresh.filter((line) => KERNEL_FAULT.test(line));
  console.log(`kernel log: ${fresh.length} new lines, ${bad.length} of them faults`);
  for (const line of bad.slice(0, 5)) faults.push(`kernel: ${line}`);
}

/** mulberry32: numbers from 0 to below 1, the same sequence for the same seed. */
function generator(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

function gbps(bits: number): string {
  return `${(bits / 1e9).toFixed(2)} Gb/s`;
}

function mb(bytes: number): string {
  return (bytes / MB).toFixed(0);
}
