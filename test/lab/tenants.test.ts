/**
 * Isolation of two tenants with hostile frames between two vtepd on the real kernel.
 *
 * A tenant is the user of one VNI. Both tenants write random frames and superframes to the TAPs of
 * one host. Any length field of these frames can have a wrong value. Random trains with datagrams
 * of both VNIs are sent to that host from its peer's address. Every payload consists of marks:
 * bytes that identify the tenant and the frame (`support/tenants/marks.ts`).
 *
 *       frames ─► vtep100, vtep200                    vtep100, vtep200 ─► what arrives
 *                        │                                   │
 *     what arrives ◄── vtepd --io …                        vtepd
 *                        │                                   │
 *              near eth0 192.168.80.10 ==== veth ==== eth0 192.168.80.11 far ◄─ trains of both VNIs
 *
 * No mark arrives in the other VNI, each frame that does not arrive is counted, and the counter
 * identity holds on both sides.
 */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import fc from 'fast-check';
import t, { type Test } from 'tap';
import { createLab, type Lab } from '../support/lab.js';
import { assertIdentity } from '../support/metrics.js';
import type { Namespace } from '../support/netns.js';
import { type Capture, capture } from '../support/pcap.js';
import { compileTool } from '../support/plain-user.js';
import {
  type BuiltFrame,
  buildFrame,
  type FrameSpec,
  frameSpec,
  RAW,
  sourceMac,
} from '../support/tenants/frame.js';
import { type Mark, markOf, marksIn, tenantOf } from '../support/tenants/marks.js';
import { named, TPIDS, VNIS, vxlanHeader } from '../support/tenants/oracle.js';
import { FAR, NEAR } from '../support/two-hosts.js';
import type { Vtepd } from '../support/vtepd.js';
import { eventually } from '../support/wait.js';

const TENANTS = [0, 1];
const FRAMES = 1000;
const TRAINS = 200;
/** Number of consecutive frames with equal length, so that they form trains and runs. */
const ALIKE = 8;
const DEADLINE_MS = 20_000;

const SEED = Number(process.env.PROPERTY_SEED ?? Date.now() & 0x7fffffff);

const runs = [
  { near: '--io batch', far: '--io batch' },
  { near: '--io batch --workers 2', far: '--io batch --workers 2' },
  { near: '--io dgram', far: '--io batch' },
  { near: '--io batch', far: '--io dgram' },
];

t.setTimeout(600_000);

for (const flags of runs)
  t.test(`frames of two tenants stay in their VNIs (${flags.near} and ${flags.far})`, async (t) => {
    t.comment(`seed ${SEED}`);
    const lab = createLab(t);
    const program = await compileTool(lab.dir, 'tenants');
    const { near, far } = await lab.hosts({ near: [`${NEAR}/24`], far: [`${FAR}/24`] });
    const here = await start(lab, near, flags.near, FAR);
    const there = await start(lab, far, flags.far, NEAR);
    const source = new Source();

    const frames = TENANTS.map((tenant) => source.frames(tenant));
    await Promise.all(
      TENANTS.map(async (tenant) => {
        const file = join(lab.dir, `frames-${tenant}`);
        writeFileSync(file, Buffer.concat(frames[tenant].map(({ record }) => record)));
        const refused = await near.run([program, 'frames', file, `vtep${VNIS[tenant]}`]);
        for (const index of refused.split('\n').filter(Boolean).reverse())
          frames[tenant].splice(Number(index), 1);
      }),
    );
    await assertArrival(
      t,
      frames.map((sent) => sent.map(({ mark }) => mark)),
      here,
      there,
    );

    const trains = source.trains();
    const file = join(lab.dir, 'trains');
    writeFileSync(file, Buffer.concat(trains.map(({ record }) => record)));
    const refused = await far.run([program, 'trains', file, NEAR, '4789', FAR]);
    for (const index of refused.split('\n').filter(Boolean).reverse()) trains.splice(Number(index), 1);
    const marks = trains.flatMap((train) => train.marks);
    await assertArrival(
      t,
      TENANTS.map((tenant) => marks.filter((mark) => tenantOf(mark) === tenant)),
      there,
      here,
    );

    for (const [side, name] of [
      [here, 'near'],
      [there, 'far'],
    ] as const) {
      for (const tenant of TENANTS) assertIsolated(t, await side.captures[tenant].stop(), tenant, name);
      const metrics = await side.vtepd.metrics();
      t.comment(`${name}: ${JSON.stringify([metrics.drops('encap'), metrics.drops('decap')])}`);
      assertIdentity(t, metrics, name);
    }
  });

/**
 * A rule that stands against TCP flows through the kernel, which tcpdump on a TAP misses, but not
 * against superframes that leave whole.
 */
const AGAINST_FLOWS =
  'table ip seen { chain c { type filter hook input priority 0; udp dport 4789 counter; }; }\n';

interface Side {
  host: Namespace;
  vtepd: Vtepd;
  captures: Capture[];
}

async function start(lab: Lab, host: Namespace, flags: string, peer: string): Promise<Side> {
  const config = join(lab.dir, `${host.label}.yaml`);
  const vnis = TENANTS.map(
    (tenant) => `  - {vni: ${VNIS[tenant]}, vlan: ${VLAN[tenant]}, peers: [${peer}]}\n`,
  );
  writeFileSync(config, `vnis:\n${vnis.join('')}`);
  await host.run('nft -f -', { input: AGAINST_FLOWS });
  const vtepd = await lab.vtepd(host, `--config ${config} ${flags}`);
  const captures = [];
  for (const tenant of TENANTS)
    captures.push(await capture(host, `vtep${VNIS[tenant]}`, lab.dir, LARGE_RING));
  return { host, vtepd, captures };
}

/**
 * Options of tcpdump that override those of `capture`. With them, one slot of tcpdump's ring has
 * room for the longest frame, and the ring has room for all frames.
 */
const LARGE_RING = '-Q in -s 65535 -B 163840';

const VLAN = ['pass', 'strip'];

/**
 * Asserts that each frame arrives in its VNI or is counted as dropped, and that the last frame,
 * which is valid, arrives.
 */
async function assertArrival(t: Test, sent: Mark[][], from: Side, to: Side): Promise<void> {
  for (const tenant of TENANTS) {
    const vni = VNIS[tenant];
    let lost = 0;
    let counted = 0;
    let last = false;
    // The assertions below report a failure at the deadline.
    await eventually(
      `VNI ${vni}: every lost frame to be counted`,
      async () => {
        const seen = new Set<Mark>();
        for (const frame of await to.captures[tenant].frames())
          for (const mark of [named(frame, 6), ...marksIn(frame)]) seen.add(mark);
        lost = sent[tenant].filter((mark) => !seen.has(mark)).length;
        counted = (await countedOn(from, vni, 'encap')) + (await countedOn(to, vni, 'decap'));
        last = seen.has(sent[tenant].at(-1)!);
        return lost <= counted && last;
      },
      DEADLINE_MS,
    ).catch(() => {});
    t.ok(
      lost <= counted,
      `VNI ${vni}: ${sent[tenant].length} sent, ${lost} did not arrive, ${counted} are counted`,
    );
    t.ok(last, `VNI ${vni}: the last frame, which is valid, arrives`);
  }
}

/** Frames counted as dropped: by vtepd with a reason, by the kernel for a full queue. */
async function countedOn({ host, vtepd }: Side, vni: number, direction: 'encap' | 'decap'): Promise<number> {
  const metrics = await vtepd.metrics();
  const drops = { ...metrics.drops(direction, vni) };
  if (direction === 'decap') drops.rx_overflow = metrics.drops('decap', '').rx_overflow ?? 0;
  const [{ stats64 }] = await host.show<{ stats64: { tx: { dropped: number } } }>(
    `-statistics link show dev vtep${vni}`,
  );
  const queue = direction === 'encap' ? stats64.tx.dropped : 0;
  return Object.values(drops).reduce((sum, count) => sum + count, queue);
}

/** Asserts that no frame that arrived contains marks of another tenant. */
function assertIsolated(t: Test, frames: Buffer[], tenant: number, where: string): void {
  const foreign = frames.filter((frame) =>
    [named(frame, 6), named(frame, 0), ...marksIn(frame)].some(
      (mark) => mark >= 0 && tenantOf(mark) !== tenant,
    ),
  );
  t.same(
    foreign.map((frame) => frame.toString('hex')),
    [],
    `${where}: none of ${frames.length} frames of VNI ${VNIS[tenant]} contains a mark of another VNI`,
  );
  if (VLAN[tenant] === 'strip')
    t.equal(
      frames.filter((frame) => named(frame, 6) >= 0 && TPIDS.includes(frame.readUInt16BE(12))).length,
      0,
      `${where}: no frame is tagged`,
    );
}

/** Random frames and trains; the same seed gives the same frames and trains. */
class Source {
  #number = 1;
  readonly #random = fc.sample(
    fc.record({
      spec: frameSpec(TENANTS.length),
      len: fc.oneof(fc.integer({ min: 60, max: 1500 }), fc.integer({ min: 1500, max: 9000 })),
      isSuper: fc.nat(3).map((n) => n === 0),
      gsoSize: fc.oneof(fc.integer({ min: 300, max: 1400 }), fc.integer({ min: 1400, max: 4000 })),
      csumStartBy: fc.constantFrom(0, 0, 0, 0, 4, 30_000),
      count: fc.integer({ min: 2, max: 40 }),
    }),
    { numRuns: 4 * FRAMES, seed: SEED },
  );
  #next = 0;

  frames(tenant: number) {
    const made = Array.from({ length: FRAMES }, (_, index) => {
      const alike = this.#input(Math.floor(index / ALIKE));
      const { spec, isSuper, gsoSize, csumStartBy } = this.#input(this.#next++);
      const len = isSuper ? Math.min(10 * alike.len, 60_000) : Math.min(alike.len, 1464);
      const { mark, frame } = this.#make({ ...spec, tenant }, len, gsoSize, 0);
      const vnet =
        isSuper && frame.isIp ? superframeHeader(frame, spec, gsoSize, csumStartBy) : Buffer.alloc(10);
      return { mark, record: framed(Buffer.concat([vnet, frame.bytes])) };
    });
    const { mark, frame } = this.#make(valid(tenant), 200, 1000, 0);
    return [...made, { mark, record: framed(Buffer.concat([Buffer.alloc(10), frame.bytes])) }];
  }

  trains() {
    const made = Array.from({ length: TRAINS }, () => {
      const { len, count } = this.#input(this.#next++);
      const size = 22 + (len % 1428);
      return this.#train(
        size,
        Array.from(
          { length: Math.min(count, Math.floor(65_000 / size)) },
          () => this.#input(this.#next++).spec,
        ),
      );
    });
    return [...made, this.#train(200, TENANTS.map(valid))];
  }

  #train(size: number, specs: FrameSpec[]) {
    const built = specs.map((spec, index) => {
      const { mark, frame } = this.#make(spec, size - 8, size, (specs.length - 1 - index) * size);
      return { mark, bytes: Buffer.concat([vxlanHeader(spec.tenant, 0x08), frame.bytes]) };
    });
    const bytes = Buffer.concat(built.map((one) => one.bytes));
    const segment = Buffer.alloc(4);
    segment.writeUInt32LE(size);
    return { marks: built.map((one) => one.mark), record: framed(bytes, segment) };
  }

  #make(spec: FrameSpec, len: number, segment: number, rest: number): { mark: Mark; frame: BuiltFrame } {
    const number = this.#number++;
    const mark = markOf(spec.tenant, number);
    const mac = sourceMac(spec.tenant, number);
    return { mark, frame: buildFrame(spec, len, mac, mark, { segment, rest }, VNIS[1 - spec.tenant]) };
  }

  #input(index: number) {
    return this.#random[index % this.#random.length];
  }
}

function valid(tenant: number): FrameSpec {
  const rest = {
    tos: 0,
    syn: false,
    nested: false,
    dontFragment: false,
    tags: [],
    lies: [],
    postponed: false,
  };
  return { tenant, kind: RAW, to: 0, ...rest };
}

/** struct virtio_net_hdr of a superframe with partial checksum. */
function superframeHeader(
  frame: BuiltFrame,
  { kind }: FrameSpec,
  gsoSize: number,
  csumStartBy: number,
): Buffer {
  const header = Buffer.alloc(10);
  header[0] = 1;
  header[1] = !frame.isTcp ? 5 : kind === 1 ? 1 : 4;
  header.writeUInt16LE(frame.payload, 2);
  header.writeUInt16LE(gsoSize, 4);
  header.writeUInt16LE(frame.transport + csumStartBy, 6);
  header.writeUInt16LE(frame.isTcp ? 16 : 6, 8);
  return header;
}

function framed(bytes: Buffer, between = Buffer.alloc(0)): Buffer {
  const length = Buffer.alloc(4);
  length.writeUInt32LE(bytes.length);
  return Buffer.concat([length, between, bytes]);
}
