/**
 * 10,000 hostile datagrams while a ping runs.
 *
 * No ping is lost, each datagram is counted under its own reason, no line is logged, and memory
 * does not grow. Topology of two-hosts.test.ts; the hostile datagrams come from the far host, from
 * the peer's own address and from an address that is no peer:
 *
 *     near  vtepd 192.168.80.10 ====== veth ====== far  kernel vxlan 192.168.80.11 (peer),
 *                                                       192.168.80.66 (stranger)
 */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { assertIdentity, type Metrics } from '../support/metrics.js';
import { SteadyPing } from '../support/traffic.js';
import { FAR, NEAR, type TwoHosts, twoHosts } from '../support/two-hosts.js';
import { ENGINES } from '../support/vtepd.js';
import { eventually } from '../support/wait.js';

const STRANGER = '192.168.80.66';
const VNI = 100;
const PER_KIND = 2_000;
const RSS_GROWTH_LIMIT = 8 << 20;
const VXLAN_LEN = 8;
const ETHERNET_LEN = 14;
const DEADLINE_MS = 15_000;

interface Hostile {
  source: string;
  bytes: Buffer;
}

for (const engine of ENGINES) {
  t.test(`10,000 hostile datagrams are counted and no ping is lost (${engine})`, async (t) => {
    const two = await twoHosts(t, engine);
    const { vm101, far, vtepd } = two;
    await far.ip(`address add ${STRANGER}/24 dev eth0`);
    const [tap] = await two.near.show<{ address: string }>('link show dev vtep100');
    const ownMac = Buffer.from(tap.address.replaceAll(':', ''), 'hex');

    for (let warmUp = 0; warmUp < 2; warmUp++) await bombard(two, hostileDatagrams(1, ownMac));
    const logged = vtepd.log();
    const residentBefore = await vtepd.residentBytes();
    const before = await vtepd.metrics();
    const steady = await SteadyPing.start(vm101, '10.10.10.105');

    const datagrams = hostileDatagrams(2, ownMac);
    const expected = tally(datagrams, ownMac);
    await bombard(two, datagrams);

    const { sent, lost } = await steady.stop();
    t.equal(lost, 0, `none of ${sent} pings was lost`);
    const after = await vtepd.metrics();
    const drops = difference(before, after);
    const { rx_overflow: overflow = 0, ...byReason } = drops;
    t.comment(`${engine}: ${JSON.stringify(drops)}`);
    t.equal(total(byReason) + overflow, total(expected), 'each datagram was received or counted as overflow');
    for (const [reason, count] of Object.entries(byReason)) {
      t.ok(count <= (expected[reason] ?? 0), `${reason}: ${count} counted, ${expected[reason] ?? 0} sent`);
    }
    t.ok(
      overflow < total(expected) / 100,
      `less than 1 % of the datagrams overflowed the receive buffer: ${overflow}`,
    );
    assertIdentity(t, after);
    t.equal(vtepd.log(), logged, 'no datagram caused a log line');

    const growth = (await vtepd.residentBytes()) - residentBefore;
    t.ok(growth <= RSS_GROWTH_LIMIT, `resident memory grew by ${(growth / 1024).toFixed(0)} KiB`);
  });
}

/** Sends all datagrams and waits until all are counted. */
async function bombard({ lab, far, vtepd }: TwoHosts, datagrams: readonly Hostile[]): Promise<void> {
  const before = total((await vtepd.metrics()).drops('decap'));
  for (const source of [FAR, STRANGER]) {
    const file = join(lab.dir, 'datagrams');
    writeFileSync(
      file,
      Buffer.concat(datagrams.filter((datagram) => datagram.source === source).flatMap(framed)),
    );
    const replay = far.tool('udp.mjs', 'replay', file, NEAR, 4789, source);
    if ((await replay.exit(30_000)) !== 0) throw new Error(replay.stderr);
  }
  await eventually(
    `${datagrams.length} datagrams to be counted`,
    async () => total((await vtepd.metrics()).drops('decap')) - before >= datagrams.length,
    DEADLINE_MS,
  );
}

function framed({ bytes }: Hostile): Buffer[] {
  const length = Buffer.alloc(2);
  length.writeUInt16BE(bytes.length);
  return [length, bytes];
}

/** Five kinds of datagrams, mixed. The same seed gives the same datagrams. */
function hostileDatagrams(seed: number, ownMac: Buffer): Hostile[] {
  const random = generator(seed);
  const kinds = [
    // Random bytes of random length, made invalid by a clear I flag.
    () =>
      from(
        FAR,
        randomBytes(random, random() % 1400, (bytes) => (bytes[0] &= ~0x08)),
      ),
    // A valid frame. The flags byte is random, except that the I flag is clear.
    () => from(FAR, datagram(random, { flags: random() & 0xff & ~0x08 })),
    () => from(FAR, datagram(random, { vni: VNI + 1 + (random() % 1000) })),
    () => from(STRANGER, datagram(random, {})),
    // An invalid source MAC: a group address, zero, or the TAP's own.
    () => from(FAR, datagram(random, { mac: [MULTICAST, ZERO, ownMac][random() % 3] })),
  ];
  return Array.from({ length: kinds.length * PER_KIND }, (_, index) => kinds[index % kinds.length]());
}

const MULTICAST = Buffer.from([0x01, 0x00, 0x5e, 0x00, 0x00, 0x01]);
const ZERO = Buffer.alloc(6);

function from(source: string, bytes: Buffer): Hostile {
  return { source, bytes };
}

/** A VXLAN datagram with a random payload, valid except for the given fields. */
function datagram(random: () => number, wrong: { flags?: number; vni?: number; mac?: Buffer }): Buffer {
  const { flags = 0x08, vni = VNI, mac = Buffer.from([2, 0, 0, 0, 1, random() & 0xff]) } = wrong;
  return randomBytes(random, VXLAN_LEN + ETHERNET_LEN + (random() % 200), (bytes) => {
    bytes.fill(0, 0, VXLAN_LEN);
    bytes[0] = flags;
    bytes.writeUIntBE(vni, 4, 3);
    mac.copy(bytes, VXLAN_LEN + 6);
  });
}

function randomBytes(random: () => number, length: number, change: (bytes: Buffer) => void): Buffer {
  const bytes = Buffer.alloc(length);
  for (let i = 0; i < length; i++) bytes[i] = random();
  change(bytes);
  return bytes;
}

/** Number of datagrams by expected drop reason, in the documented order of checks. */
function tally(datagrams: readonly Hostile[], ownMac: Buffer): Record<string, number> {
  const counts: Record<string, number> = {};
  for (const { source, bytes } of datagrams) {
    const reason = reasonFor(source, bytes, ownMac);
    counts[reason] = (counts[reason] ?? 0) + 1;
  }
  return counts;
}

function reasonFor(source: string, bytes: Buffer, ownMac: Buffer): string {
  if (bytes.length < VXLAN_LEN + ETHERNET_LEN) return 'truncated';
  if ((bytes[0] & 0x08) === 0) return 'invalid_hdr';
  if (bytes.readUIntBE(4, 3) !== VNI) return 'vni_not_found';
  if (source !== FAR) return 'source_not_peer';
  return bytes.subarray(14, 20).equals(ownMac) ? 'local_mac' : 'mac_invalid_source';
}

function difference(before: Metrics, after: Metrics): Record<string, number> {
  const old = before.drops('decap');
  const drops = Object.entries(after.drops('decap')).map(([reason, n]) => [reason, n - (old[reason] ?? 0)]);
  return Object.fromEntries(drops.filter(([, n]) => n !== 0));
}

function total(counts: Record<string, number>): number {
  return Object.values(counts).reduce((sum, n) => sum + n, 0);
}

/** xorshift32: reproducible, and random enough for this purpose. */
function generator(seed: number): () => number {
  let state = seed;
  return () => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return state >>> 0;
  };
}
