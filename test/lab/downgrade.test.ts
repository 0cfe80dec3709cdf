/**
 * A kernel that refuses an offload, at start or while frames flow: vtepd goes one step down, says so once, shows it in
 * its status, and no flow notices. The topology is that of two-hosts.test.ts; the daemon runs behind a library that
 * answers the system calls in question (test/support/refuse.c), everything else is the real kernel's. Superframes that
 * leave whole have a lab of their own (tunnel-offload.test.ts).
 *
 *     vm101 ── br-vxlan ── vtep100 ── vtepd ══ refuse.so ══ near ========== far ── vxlan100 ── br-vxlan ── vm105
 */
import t, { type Test } from 'tap';
import { UNDERLAY_DEV } from '../support/lab.js';
import { assertNothingLost } from '../support/metrics.js';
import { segmentInSoftware } from '../support/netns.js';
import { type ErrorName, Refusal } from '../support/refusal.js';
import { assertPing, assertTransfer, iperfUdp } from '../support/traffic.js';
import { FAR_VM, NEAR_VM, type TwoHosts, twoHosts, withoutTunnelOffload } from '../support/two-hosts.js';
import { eventually } from '../support/wait.js';

const SOME_BYTES = 20 * 1024 * 1024;
/** So many that it is still under way when the refusals begin. */
const MANY_BYTES = 400 * 1024 * 1024;
const UNDER_WAY_BYTES = 1024 * 1024;

const TUN = ['TUN_F_CSUM', 'TUN_F_TSO4', 'TUN_F_TSO6', 'TUN_F_TSO_ECN', 'TUN_F_USO4', 'TUN_F_USO6'];
const ALL = ['UDP_GRO', 'UDP_SEGMENT', ...TUN, 'GSO_TCP', 'GSO_UDP_L4'];

/** What is refused at start, by which errno, and what goes with it: the kernel takes a set of TAP offloads or nothing. */
const AT_START: [string, ErrorName, readonly string[]][] = [
  ['UDP_GRO', 'ENOPROTOOPT', ['UDP_GRO']],
  ['UDP_SEGMENT', 'ENOPROTOOPT', ['UDP_SEGMENT']],
  ['TUN_F_USO4', 'EINVAL', ['TUN_F_USO4', 'TUN_F_USO6', 'GSO_UDP_L4']],
  ['TUN_F_TSO_ECN', 'EINVAL', ['TUN_F_TSO_ECN', 'TUN_F_USO4', 'TUN_F_USO6', 'GSO_UDP_L4']],
  ['TUN_F_TSO4', 'EINVAL', [...TUN.slice(1), 'GSO_UDP_L4']],
  ['TUN_F_CSUM', 'EINVAL', [...TUN, 'GSO_UDP_L4']],
];

for (const [name, error, gone] of AT_START) {
  t.test(`${name} refused at start`, async (t) => {
    const { hosts } = await refusing(t, { [name]: error });
    await assertDown(t, hosts, gone, error);
    await assertTraffic(t, hosts);
    await assertDown(t, hosts, gone, error);
  });
}

t.test('trains refused under way (EIO)', async (t) => {
  const { hosts, refusal } = await refusing(t, { UDP_SEGMENT: 'EIO' }, { later: true });
  await assertDown(t, hosts, [], 'EIO');
  await assertTransferDuring(t, hosts, () => refusal.begin());
  t.ok(refusal.count > 0, `${refusal.count} trains refused during the transfer`);
  await assertDown(t, hosts, ['UDP_SEGMENT'], 'EIO');
  await assertRemembered(t, hosts, refusal);
});

t.test('trains refused under way (EINVAL): small ones tell, large ones may be about one path', async (t) => {
  const { hosts, refusal } = await refusing(t, { UDP_SEGMENT: 'EINVAL' }, { later: true });
  await assertTransferDuring(t, hosts, () => refusal.begin());
  t.ok(refusal.count > 0, `${refusal.count} trains refused during the transfer`);
  await assertDown(t, hosts, [], 'EINVAL');
  await assertUdp(t, hosts, { length: 200, bitsPerSecond: 50e6 });
  await assertDown(t, hosts, ['UDP_SEGMENT'], 'EINVAL');
  await assertRemembered(t, hosts, refusal);
});

t.test('trains refused under way, two workers', async (t) => {
  const { hosts, refusal } = await refusing(t, { UDP_SEGMENT: 'EIO' }, { later: true, flags: '--workers 2' });
  await assertTransferDuring(t, hosts, () => refusal.begin());
  await assertDown(t, hosts, ['UDP_SEGMENT'], 'EIO');
  await assertRemembered(t, hosts, refusal);
});

t.test('superframes of TCP refused by the TAP', async (t) => {
  const { hosts, refusal } = await refusing(t, { GSO_TCP: 'EINVAL' });
  await segmentInSoftware(hosts.far, UNDERLAY_DEV);
  await assertTransfer(t, hosts.vm105, hosts.vm101, NEAR_VM, SOME_BYTES);
  await assertDown(t, hosts, ['GSO_TCP'], 'EINVAL');
  await assertRemembered(t, hosts, refusal);
});

t.test('superframes of UDP refused by the TAP', async (t) => {
  const { hosts, refusal } = await refusing(t, { GSO_UDP_L4: 'EINVAL' });
  await assertUdp(t, hosts);
  await assertDown(t, hosts, ['GSO_UDP_L4'], 'EINVAL');
  await assertRemembered(t, hosts, refusal);
});

t.test('superframes that the TAP took before: a refusal is about that one alone', async (t) => {
  const { hosts, refusal } = await refusing(t, { GSO_TCP: 'EINVAL' }, { later: true });
  await segmentInSoftware(hosts.far, UNDERLAY_DEV);
  await assertTransfer(t, hosts.vm105, hosts.vm101, NEAR_VM, SOME_BYTES);
  refusal.begin();
  await assertTraffic(t, hosts);
  t.ok(refusal.count > 0, `${refusal.count} superframes refused`);
  await assertDown(t, hosts, [], 'EINVAL');
});

t.test("a peer's superframes refused by the TAP are cut up", async (t) => {
  const { hosts, refusal } = await refusing(t, { GSO_TCP: 'EINVAL' });
  await assertTransfer(t, hosts.vm105, hosts.vm101, NEAR_VM, SOME_BYTES);
  t.ok(refusal.count > 100, `${refusal.count} refused: more than we would have tried on our own`);
  assertNothingLost(t, await hosts.vtepd.metrics());
});

t.test('a device without checksum offload', async (t) => {
  const hosts = await twoHosts(t, 'batch');
  await hosts.near.run(`ethtool -K ${UNDERLAY_DEV} tx off`);
  await assertTraffic(t, hosts);
  // The kernel sums itself by now; older ones refuse trains with EIO.
  const { body } = await hosts.vtepd.get<Status>('/v1/status');
  const isRefused = body.warnings.some(({ detail }) => /UDP_SEGMENT \(EIO\)/.test(detail));
  t.equal(body.underlay.offloads.includes('UDP_SEGMENT'), !isRefused, `trains refused: ${isRefused}`);
});

interface Setting {
  hosts: TwoHosts;
  refusal: Refusal;
}

async function refusing(
  t: Test,
  errors: Record<string, ErrorName>,
  { later = false, flags = '' } = {},
): Promise<Setting> {
  const refusal = await Refusal.of(t, errors, later);
  const hosts = await twoHosts(t, 'batch', flags, refusal.env);
  await withoutTunnelOffload(hosts);
  await assertPing(t, hosts.vm101, FAR_VM);
  return { hosts, refusal };
}

interface Status {
  underlay: { offloads: string[] };
  warnings: { code: string; detail: string }[];
}

/** The status lacks these and no other, its warnings name them with the reason, and the log does so once. */
async function assertDown(
  t: Test,
  { vtepd }: TwoHosts,
  gone: readonly string[],
  error: ErrorName,
): Promise<void> {
  const { body } = await vtepd.get<Status>('/v1/status');
  t.same(
    body.underlay.offloads,
    ALL.filter((name) => !gone.includes(name)),
    'offloads in use',
  );
  const refusals = body.warnings.filter(({ code }) => code === 'offload_refused').map(({ detail }) => detail);
  const named = refusals.flatMap(
    (detail) => /^the kernel refuses (.*) \((\w+)\): /.exec(detail)?.slice(1) ?? [],
  );
  t.same(
    named.filter((_, k) => k % 2 === 0).flatMap((names) => names.split(', ')),
    gone,
    'the warnings name them',
  );
  t.ok(
    named.every((text, k) => k % 2 === 0 || text === error),
    `and ${error}`,
  );
  for (const detail of refusals) t.equal(vtepd.log().split(detail).length - 1, 1, `said once: ${detail}`);
  t.equal(vtepd.log().split('the kernel refuses').length - 1, refusals.length, 'and nothing else');
}

/** A transfer from vm101, with something done while it is under way. */
async function assertTransferDuring(
  t: Test,
  { vm101, vm105, vtepd }: TwoHosts,
  act: () => void,
): Promise<void> {
  let ended = false;
  const transfer = assertTransfer(t, vm101, vm105, FAR_VM, MANY_BYTES).finally(() => (ended = true));
  await eventually('the transfer to be under way', async () => {
    const metrics = await vtepd.metrics();
    return metrics.sum('vtepd_tap_rx_bytes_total', { vni: 100 }) > UNDER_WAY_BYTES;
  });
  t.notOk(ended, 'the transfer is under way');
  act();
  await transfer;
}

/** More traffic of all kinds, and the kernel is not asked again. */
async function assertRemembered(t: Test, hosts: TwoHosts, refusal: Refusal): Promise<void> {
  const before = refusal.count;
  await assertTraffic(t, hosts);
  t.equal(refusal.count, before, 'not asked again');
  t.equal(hosts.vtepd.log().match(/the kernel refuses/g)?.length, 1, 'nor said again');
}

/** TCP both ways, by hash, and UDP; nothing is dropped. */
async function assertTraffic(t: Test, hosts: TwoHosts): Promise<void> {
  const { vm101, vm105 } = hosts;
  await assertTransfer(t, vm101, vm105, FAR_VM, SOME_BYTES);
  await assertTransfer(t, vm105, vm101, NEAR_VM, SOME_BYTES);
  await assertUdp(t, hosts);
}

async function assertUdp(
  t: Test,
  hosts: TwoHosts,
  { length, bitsPerSecond } = { length: 1000, bitsPerSecond: 200e6 },
): Promise<void> {
  const { vm101, vm105 } = hosts;
  for (const reverse of [false, true]) {
    const load = { flows: 1, seconds: 1, bitsPerSecond, length, reverse };
    const { datagrams, outOfOrder } = await iperfUdp(vm101, vm105, FAR_VM, load);
    t.ok(datagrams > 1000, `${datagrams} datagrams ${reverse ? 'received' : 'sent'}`);
    t.equal(outOfOrder, 0, 'none out of order');
  }
  assertNothingLost(t, await hosts.vtepd.metrics());
}
