/**
 * Captures by vtepd compared with tcpdump on the TAP and on the wire, for the same ICMP packets.
 *
 * A capture whose reader does not keep up must not disturb the data plane. Topology of
 * two-hosts.test.ts.
 */
import { existsSync, statSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import type { Running } from '../support/command.js';
import { UNDERLAY_DEV } from '../support/lab.js';
import { assertIdentity } from '../support/metrics.js';
import { capture, ipOf, readPcap, type VxlanDatagram, vxlanOf } from '../support/pcap.js';
import { assertPing, iperf, SteadyPing } from '../support/traffic.js';
import { type TwoHosts, twoHosts } from '../support/two-hosts.js';
import { ENGINES } from '../support/vtepd.js';
import { eventually } from '../support/wait.js';

const FAR_VM = '10.10.10.105';

for (const engine of ENGINES) {
  t.test(`captures of overlay and underlay match tcpdump (${engine})`, async (t) => {
    const hosts = await twoHosts(t, engine);
    const { lab, near, vm101, vtepd } = hosts;
    await assertPing(t, vm101, FAR_VM);

    await t.test('a capture of the overlay matches tcpdump on the TAP', async (t) => {
      const tap = await capture(near, 'vtep100', lab.dir, 'icmp');
      const ours = await open(hosts, 'vni=100');
      await vm101.run(`ping -n -c 5 -i 0.05 ${FAR_VM}`);
      const frames = await pings(ours.file);
      t.equal(frames.length, 10, 'five requests and five replies were captured');
      await ours.stop();
      t.same(frames, await tap.stop(), 'frames equal those on the TAP');
      const read = await near.outcome(`tcpdump -n -r ${ours.file} icmp`);
      t.equal(read.stdout.match(/ICMP echo re(quest|ply)/g)?.length, 10, 'tcpdump reads the file');
    });

    await t.test('a capture of the underlay matches tcpdump on the wire', async (t) => {
      const wire = await capture(near, UNDERLAY_DEV, lab.dir, 'udp port 4789');
      const ours = await open(hosts, 'point=underlay');
      await vm101.run(`ping -n -c 5 -i 0.05 ${FAR_VM}`);
      const onWire = async () => pingsIn(await wire.frames());
      await eventually('ten datagrams on the wire', async () => (await onWire()).length === 10);
      const captured = async () => pingsIn(await packetsOf(ours.file));
      await eventually('ten datagrams captured', async () => (await captured()).length === 10);
      t.same(await captured(), await onWire(), 'addresses, ports, VNI and inner frames match');
      await ours.stop();
      await wire.stop();
    });

    await t.test('a second capture is refused until the first one ends', async (t) => {
      const first = await open(hosts, '');
      const second = await vtepd.get<{ code: string }>('/v1/capture');
      t.equal(second.status, 409);
      t.equal(second.body.code, 'capture_busy');
      t.equal((await vtepd.get('/v1/capture?vni=7')).status, 404);
      await first.stop();
      const limited = await open(hosts, 'limit=3&snaplen=64');
      await vm101.run(`ping -n -c 3 -i 0.05 ${FAR_VM}`);
      t.equal(await limited.process.exit(5_000), 0, 'the capture ends at its limit');
      const frames = await packetsOf(limited.file);
      t.equal(frames.length, 3);
      t.ok(frames.every(({ length }) => length <= 64));
    });
    assertIdentity(t, await vtepd.metrics());
  });
}

t.test('a stopped reader does not disturb the data plane', async (t) => {
  const hosts = await twoHosts(t, 'batch');
  const { vm101, vm105, vtepd } = hosts;
  await assertPing(t, vm101, FAR_VM);
  const ours = await open(hosts, '');
  ours.process.signal('SIGSTOP');
  const steady = await SteadyPing.start(vm101, FAR_VM);
  t.ok((await iperf(vm101, vm105, FAR_VM)) > 0, 'TCP runs');
  const { sent, lost } = await steady.stop();
  t.equal(lost, 0, `none of ${sent} pings was lost`);
  ours.process.signal('SIGCONT');
  await ours.stop();
  const ended = await eventually('the log to contain the lost packets', () =>
    /"packets":\d+,"lost":([1-9]\d*),"msg":"capture ends"/.exec(vtepd.log()),
  );
  t.comment(`only the capture lost packets: ${ended[1]}`);
  assertIdentity(t, await vtepd.metrics());
});

interface OpenCapture {
  file: string;
  process: Running;
  stop(): Promise<void>;
}

let files = 0;

/** Packets of a file that is still being written. */
async function packetsOf(file: string): Promise<Buffer[]> {
  return existsSync(file) && statSync(file).size > 0 ? readPcap(file) : [];
}

/** Starts a capture through the API into a file. Resolves when the capture has begun. */
async function open({ lab, near, vtepd }: TwoHosts, query: string): Promise<OpenCapture> {
  const file = join(lab.dir, `vtepd-${files++}.pcap`);
  const url = `http://localhost/v1/capture?${query}`;
  const begun = () => vtepd.log().split('capture begins').length;
  const before = begun();
  const process = lab.keep(near.start(['curl', '-sSfN', '--unix-socket', vtepd.socket, '-o', file, url]));
  await eventually('the capture to begin', () => begun() > before);
  const stop = async () => {
    const ends = () => vtepd.log().split('capture ends').length;
    const running = ends();
    await process.stop();
    await eventually('the capture to end', () => ends() > running || !process.alive);
  };
  return { file, process, stop };
}

/** Waits until a capture file contains ten ICMP packets. Returns all ICMP packets of the file. */
function pings(file: string): Promise<Buffer[]> {
  return eventually('ten ICMP packets captured', async () => {
    const frames = (await packetsOf(file)).filter(isIcmp);
    return frames.length >= 10 ? frames : undefined;
  });
}

function isIcmp(frame: Buffer): boolean {
  return ipOf(frame)?.protocol === 1;
}

function pingsIn(frames: readonly Buffer[]): VxlanDatagram[] {
  return frames.flatMap((frame) => vxlanOf(frame) ?? []).filter(({ inner }) => isIcmp(inner));
}
