/**
 * Offloads that the kernel refuses, at start or while frames flow.
 *
 * vtepd stops using the offload, logs the refusal once, and lists the refusal in its status. No
 * flow is disturbed. The topology is that of two-hosts.test.ts. The daemon runs behind a library
 * that fails the system calls that request the offload (test/support/refuse.c); all other calls
 * reach the real kernel. Superframes that leave unsegmented have a lab of their own
 * (tunnel-offload.test.ts).
 *
 *     vm101 ─ br-vxlan ─ vtep100 ─ vtepd ═ refuse.so ═ near ===== far ─ vxlan100 ─ br-vxlan ─ vm105
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
/** Large enough that the transfer is still running when the refusals begin. */
const MANY_BYTES = 400 * 1024 * 1024;
const UNDER_WAY_BYTES = 1024 * 1024;

const TUN = ['TUN_F_CSUM', 'TUN_F_TSO4', 'TUN_F_TSO6', 'TUN_F_TSO_ECN', 'TUN_F_USO4', 'TUN_F_USO6'];
const ALL = ['UDP_GRO', 'UDP_SEGMENT', ...TUN, 'GSO_TCP', 'GSO_UDP_L4'];

/**
 * Offload that the kernel refuses at start, the errno, and the offloads that vtepd therefore does
 * not use. One refusal affects several TAP offloads, because the kernel accepts or refuses a set of
 * TAP offloads as a whole.
 */
const AT_START: [string, ErrorName, readonly string[]][] = [
  ['UDP_GRO', 'ENOPROTOOPT', ['UDP_GRO']],
  ['UDP_SEGMENT', 'ENOPROTOOPT', ['UDP_SEGMENT']],
  ['TUN_F_USO4', 'EINVAL', ['TUN_F_USO4', 'TUN_F_USO6', 'GSO_UDP_L4']],
  ['TUN_F_TSO_ECN', 'EINVAL', ['TUN_F_TSO_ECN', 'TUN_F_USO4', 'TUN_F_USO6', 'GSO_UDP_L4']],
  ['TUN_F_TSO4', 'EINVAL', [...TUN.slice(1), 'GSO_UDP_L4']],
  ['TUN_F_CSUM', 'EINVAL', [...TUN, 'GSO_UDP_L4']],
];

for (const [name, error, unused] of AT_START) {
  t.test(`${name} refused at start is not used`, async (t) => {
    const { hosts } = await refusing(t, { [name]: error });
    await assertUnused(t, hosts, unused, error);
    await assertTraffic(t, hosts);
    await assertUnused(t, hosts, unused, error);
  });
}

t.test('vtepd stops using trains after a refusal during a transfer (EIO)', async (t) => {
  const { hosts, refusal } = await refusing(t, { UDP_SEGMENT: 'EIO' }, { later: true });
  await assertUnused(t, hosts, [], 'EIO');
  await assertTransferDuring(t, hosts, () => refusal.begin());
  t.ok(refusal.count > 0, `${refusal.count} trains were refused during the transfer`);
  await assertUnused(t, hosts, ['UDP_SEGMENT'], 'EIO');
  await assertRemembered(t, hosts, refusal);
});

t.test('vtepd uses trains after a refusal (EINVAL) until small trains are refused, too', async (t) => {
  const { hosts, refusal } = await refusing(t, { UDP_SEGMENT: 'EINVAL' }, { later: true });
  await assertTransferDuring(t, hosts, () => refusal.begin());
  t.ok(refusal.count > 0, `${refusal.count} trains were refused during the transfer`);
  await assertUnused(t, hosts, [], 'EINVAL');
  await assertUdp(t, hosts, { length: 200, bitsPerSecond: 50e6 });
  await assertUnused(t, hosts, ['UDP_SEGMENT'], 'EINVAL');
  await assertRemembered(t, hosts, refusal);
});

t.test('two workers stop using trains after a refusal during a transfer', async (t) => {
  const { hosts, refusal } = await refusing(t, { UDP_SEGMENT: 'EIO' }, { later: true, flags: '--workers 2' });
  await assertTransferDuring(t, hosts, () => refusal.begin());
  await assertUnused(t, hosts, ['UDP_SEGMENT'], 'EIO');
  await assertRemembered(t, hosts, refusal);
});

t.test('vtepd stops using TCP superframes after the TAP has refused one', async (t) => {
  const { hosts, refusal } = await refusing(t, { GSO_TCP: 'EINVAL' });
  await segmentInSoftware(hosts.far, UNDERLAY_DEV);
  await assertTransfer(t, hosts.vm105, hosts.vm101, NEAR_VM, SOME_BYTES);
  await assertUnused(t, hosts, ['GSO_TCP'], 'EINVAL');
  await assertRemembered(t, hosts, refusal);
});

t.test('vtepd stops using UDP superframes after the TAP has refused one', async (t) => {
  const { hosts, refusal } = await refusing(t, { GSO_UDP_L4: 'EINVAL' });
  await assertUdp(t, hosts);
  await assertUnused(t, hosts, ['GSO_UDP_L4'], 'EINVAL');
  await assertRemembered(t, hosts, refusal);
});

t.test('a superframe that is refused after others were accepted does not disable superframes', async (t) => {
  const { hosts, refusal } = await refusing(t, { GSO_TCP: 'EINVAL' }, { later: true });
  await segmentInSoftware(hosts.far, UNDERLAY_DEV);
  await assertTransfer(t, hosts.vm105, hosts.vm101, NEAR_VM, SOME_BYTES);
  refusal.begin();
  await assertTraffic(t, hosts);
  t.ok(refusal.count > 0, `${refusal.count} superframes were refused`);
  await assertUnused(t, hosts, [], 'EINVAL');
});

t.test("a peer's superframes that the TAP refuses are segmented", async (t) => {
  const { hosts, refusal } = await refusing(t, { GSO_TCP: 'EINVAL' });
  await assertTransfer(t, hosts.vm105, hosts.vm101, NEAR_VM, SOME_BYTES);
  t.ok(
    refusal.count > 100,
    `${refusal.count} superframes were refused, more than vtepd would form by itself`,
  );
  assertNothingLost(t, await hosts.vtepd.metrics());
});

t.test('a device without checksum offload carries all traffic', async (t) => {
  const hosts = await twoHosts(t, 'batch');
  await hosts.near.run(`ethtool -K ${UNDERLAY_DEV} tx off`);
  await assertTraffic(t, hosts);
  // Recent kernels compute the checksums themselves; older ones refuse trains with EIO.
  const { body } = await hosts.vtepd.get<Status>('/v1/status');
  const isRefused = body.warnings.some(({ detail }) => /UDP_SEGMENT \(EIO\)/.test(detail));
  t.equal(
    body.underlay.offloads.includes('UDP_SEGMENT'),
    !isRefused,
    `trains are ${isRefused ? 'not used' : 'used'}, as the kernel ${isRefused ? 'refuses' : 'accepts'} them`,
  );
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

/**
 * Asserts three conditions: exactly these offloads are missing in the status, the warnings of the
 * status name these offloads and the error, and the log contains each warning once.
 */
async function assertUnused(
  t: Test,
  { vtepd }: TwoHosts,
  unused: readonly string[],
  error: ErrorName,
): Promise<void> {
  const { body } = await vtepd.get<Status>('/v1/status');
  t.same(
    body.underlay.offloads,
    ALL.filter((name) => !unused.includes(name)),
    'all other offloads are in use',
  );
  const refusals = body.warnings.filter(({ code }) => code === 'offload_refused').map(({ detail }) => detail);
  const named = refusals.flatMap(
    (detail) => /^the kernel refuses (.*) \((\w+)\)$/.exec(detail)?.slice(1) ?? [],
  );
  t.same(
    named.filter((_, k) => k % 2 === 0).flatMap((names) => names.split(', ')),
    unused,
    'the warnings list the unused offloads',
  );
  t.ok(
    named.every((text, k) => k % 2 === 0 || text === error),
    `the warnings contain ${error}`,
  );
  for (const detail of refusals)
    t.equal(vtepd.log().split(detail).length - 1, 1, `the warning is logged once: ${detail}`);
  t.equal(vtepd.log().split('the kernel refuses').length - 1, refusals.length, 'no other refusal is logged');
}

/** Runs `act` during a transfer from vm101, and asserts that the transfer succeeds. */
async function assertTransferDuring(
  t: Test,
  { vm101, vm105, vtepd }: TwoHosts,
  act: () => void,
): Promise<void> {
  let ended = false;
  const transfer = assertTransfer(t, vm101, vm105, FAR_VM, MANY_BYTES).finally(() => (ended = true));
  await eventually('the transfer to be running', async () => {
    const metrics = await vtepd.metrics();
    return metrics.sum('vtepd_tap_rx_bytes_total', { vni: 100 }) > UNDER_WAY_BYTES;
  });
  t.notOk(ended, 'the transfer is running');
  act();
  await transfer;
}

/** Asserts that further traffic of all kinds causes no further refusal. */
async function assertRemembered(t: Test, hosts: TwoHosts, refusal: Refusal): Promise<void> {
  const before = refusal.count;
  await assertTraffic(t, hosts);
  t.equal(refusal.count, before, 'no further request is refused');
  t.equal(hosts.vtepd.log().match(/the kernel refuses/g)?.length, 1, 'the refusal is not logged again');
}

/** Asserts that TCP arrives intact in both directions, and UDP in order, without drops. */
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
    t.ok(datagrams > 1000, `${datagrams} datagrams were ${reverse ? 'received' : 'sent'}`);
    t.equal(outOfOrder, 0, 'no datagram arrived out of order');
  }
  assertNothingLost(t, await hosts.vtepd.metrics());
}
