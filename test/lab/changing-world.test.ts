/**
 * The host changes under the daemon, while a ping and a TCP connection run.
 *
 *     vm101 ── br-vxlan ── vtep100 │ vtepd │ eth0 ==== eth0 │ vxlan100 ── br-vxlan ── vm105
 *
 * Devices and addresses are deleted, set down, renamed and made again, by the test as by another
 * program. After each change the traffic passes again by itself, or after the operator has put the
 * device back; until then `/readyz` and the status name the fault. Each outage is printed.
 */
import t, { type Test } from 'tap';
import type { Namespace } from '../support/netns.js';
import { SteadyTraffic } from '../support/outage.js';
import { assertPing } from '../support/traffic.js';
import { FAR, FAR_VM, NEAR, twoHosts } from '../support/two-hosts.js';
import { ENGINES, type Vtepd } from '../support/vtepd.js';
import { eventually } from '../support/wait.js';

interface Report {
  code: string;
  detail: string;
}

/** Time within which traffic passes again after the end of its cause, ms. */
const HEALED_MS = 5000;
/** The same on a machine with other load, ms. */
const LIMIT_MS = 20_000;
/** A pool of source ports, and the listening port alone, from which a receiving socket sends. */
const SOURCE_PORTS = ['', '--source-ports 4789-4789'];

t.setTimeout(600_000);

for (const [engine, flags, mode] of [
  ['batch', '', 'mode tap'],
  ['batch', '--workers 2', 'mode tap multi_queue'],
  ['dgram', '', 'mode tap'],
] as const)
  t.test(`TAP and bridge are followed (${engine} ${flags})`, async (t) => {
    const world = await twoHosts(t, engine, flags);
    const { near, vtepd } = world;
    const traffic = await SteadyTraffic.start(world.lab, world.vm101, world.vm105, FAR_VM);
    const step = stepsOf(t, traffic);
    const before = await linkOf(near, 'vtep100');

    await step('TAP deleted', async () => {
      await near.ip('link del vtep100');
      await isReported(t, vtepd, /TAP vtep100 was deleted/);
    });
    const after = await linkOf(near, 'vtep100');
    t.same(
      [after.address, after.mtu, after.ifalias, after.master],
      [before.address, before.mtu, before.ifalias, before.master],
      'the TAP is made again as it was',
    );

    await step('TAP deleted, and made by another program', async () => {
      await near.ip(`link del vtep100
        tuntap add dev vtep100 ${mode}
        link set vtep100 address 02:00:00:00:00:77`);
    });

    await step('bridge deleted, and made by another program', async () => {
      await near.ip('link del br-vxlan');
      await isReported(t, vtepd, /bridge br-vxlan of TAP vtep100 was deleted/);
      await near.ip(`link add br-vxlan type bridge forward_delay 0 mcast_snooping 0
        link set br-vxlan up
        link set to-vm101 master br-vxlan`);
    });

    await step('TAP down, then up', async () => {
      await near.ip('link set vtep100 down');
      await traffic.broken();
      await isReported(t, vtepd, /TAP vtep100 is down/);
      await near.ip('link set vtep100 up');
    });

    await step('TAP taken out of its bridge, then put back', async () => {
      await near.ip('link set vtep100 nomaster');
      await traffic.broken();
      await isReported(t, vtepd, /TAP vtep100 is not in bridge br-vxlan/);
      await near.ip('link set vtep100 master br-vxlan');
    });

    await step('TAP and bridge renamed', async () => {
      await near.ip(`link set vtep100 down
        link set vtep100 name ovl0
        link set ovl0 up
        link set br-vxlan down
        link set br-vxlan name lan0
        link set lan0 up`);
    });
    const { status } = await vtepd.call('PATCH', '/v1/vnis/100', { mtu: 1400 });
    t.equal(status, 200, 'a renamed TAP can be changed');
    t.same(await warnings(vtepd), [], 'nothing is left to report');
    t.equal(await vtepd.stop(), 0);
  });

t.test('a TAP and a bridge that vtepd made are made again as they were', async (t) => {
  const { near, far, lab } = await twoHosts(t, 'batch');
  const vtepd = await lab.vtepd(
    near,
    `--vni 200 --peer ${FAR} --port 4790 --bridge br-own --address 10.20.0.1/24`,
  );
  await near.ip(`address add 10.20.1.1/24 dev br-own
    link set vtep200 type bridge_slave isolated on`);
  await eventually('the options to be noticed', async () => (await slave(near)).isolated);
  // The state of a device is kept shortly after its last change.
  await eventually('the daemon to be ready', async () => (await vtepd.get('/readyz')).status === 200);
  const tap = await linkOf(near, 'vtep200');
  const bridge = await linkOf(near, 'br-own');
  await new Promise((resolve) => setTimeout(resolve, 500));
  await near.ip('link del br-own\nlink del vtep200');
  const again = await eventually('both to be made again', async () => {
    const links = await near.show<LinkDetails>('link show');
    const own = links.find(({ ifname }) => ifname === 'vtep200');
    return own?.master === 'br-own' && own.ifindex !== tap.ifindex ? own : undefined;
  });
  t.same([again.address, again.mtu, again.ifalias], [tap.address, tap.mtu, tap.ifalias], 'the TAP');
  await eventually('the port options', async () => (await slave(near)).isolated);
  const newBridge = await linkOf(near, 'br-own');
  t.same([newBridge.address, newBridge.ifalias], [bridge.address, bridge.ifalias], 'the bridge');
  const addresses = await near.show<{ addr_info: { local: string }[] }>('address show dev br-own');
  t.match(JSON.stringify(addresses), /10\.20\.1\.1/, 'the address of the bridge that was added by hand');
  await eventually('no warning', async () => (await warnings(vtepd)).length === 0);
  t.equal(await vtepd.stop(), 0);
  t.notMatch((await near.devices()).join(' '), /vtep200|br-own/, 'nothing is left');
  t.ok(far, 'the far host is not involved');
});

for (const home of ['vtep100', 'br100'])
  t.test(`IPv6 addresses are back when ${home} is up again`, async (t) => {
    const { lab, near } = await twoHosts(t, 'batch', '--tap spare');
    await near.run(['sh', '-c', 'echo 0 > /proc/sys/net/ipv6/conf/default/disable_ipv6']);
    const bridge = home === 'br100' ? '--bridge br100' : '';
    const addresses = '--address fd01::1/64 --address 10.30.0.1/24';
    const vtepd = await lab.vtepd(near, `--vni 100 --peer ${FAR} --port 4790 ${bridge} ${addresses}`);
    const list = () => near.run(`ip -o address show dev ${home}`);
    t.match(await list(), /fd01::1\/64/);
    await near.ip(`link set ${home} down`);
    await isReported(t, vtepd, new RegExp(`${home} is down`));
    await near.ip(`link set ${home} up`);
    await vtepd.ready();
    await eventually('the address', async () => /fd01::1\/64/.test(await list()));
    t.match(await list(), /10\.30\.0\.1\/24/);
    t.equal(await vtepd.stop(), 0);
  });

t.test('an adopted TAP that was deleted is awaited, whatever has its name meanwhile', async (t) => {
  const { lab, near, vm101 } = await twoHosts(t, 'batch', '--tap spare');
  await near.ip('tuntap add dev vtep100 mode tap\nlink set vtep100 address 02:00:00:00:00:55 mtu 1400');
  const vtepd = await lab.vtepd(near, `--vni 100 --peer ${FAR} --port 4790 --bridge br-vxlan`);
  await near.ip('link del vtep100');
  await isReported(t, vtepd, /TAP vtep100 was deleted/);
  await near.ip('link add vtep100 type veth peer name other');
  await isReported(t, vtepd, /vtep100 exists and is a veth device, not a TAP/);
  await near.ip('link del vtep100\ntuntap add dev vtep100 mode tap');
  await vtepd.ready();
  t.equal((await linkOf(near, 'vtep100')).master, 'br-vxlan');
  const before = await tapFrames(vtepd);
  await vm101.outcome('ping -c 1 -W 1 10.10.10.99');
  await eventually('frames to pass', async () => (await tapFrames(vtepd)) > before);
  t.equal(await vtepd.stop(), 0);
  const left = await linkOf(near, 'vtep100');
  t.same([left.master, left.mtu], [undefined, 1500], 'the second TAP is restored too');
});

t.test("a TAP in another network namespace is the operator's", async (t) => {
  const { lab, near, vm105 } = await twoHosts(t, 'batch', '--tap spare');
  const vtepd = await lab.vtepd(near, `--vni 100 --peer ${FAR} --port 4790`);
  t.ok(vm105);
  const pod = await lab.namespace('pod');
  await near.ip(`link set vtep100 netns ${pod.name}`);
  await pod.ip('link set vtep100 up\naddress add 10.30.0.1/24 dev vtep100');
  const { notices } = await eventually('the notice', async () => {
    const status = await statusOf(vtepd);
    return status.notices.some(({ code }) => code === 'tap_elsewhere') ? status : undefined;
  });
  t.match(notices.find(({ code }) => code === 'tap_elsewhere')?.detail, /vtep100.*another network namespace/);
  t.equal((await vtepd.get('/readyz')).status, 200, 'it is ready');
  t.notOk((await near.devices()).includes('vtep100'), 'nothing is made again');
  const before = await tapFrames(vtepd);
  await pod.outcome('ping -c 1 -W 1 10.30.0.2');
  await eventually('its frames to arrive', async () => (await tapFrames(vtepd)) > before);
  await pod.ip('link del vtep100');
  await eventually('the TAP to be made again', async () => (await near.devices()).includes('vtep100'));
  await vtepd.ready();
  t.same((await statusOf(vtepd)).notices, [], 'the notice is withdrawn');
  const again = await tapFrames(vtepd);
  await near.ip('address add 10.30.0.1/24 dev vtep100');
  await near.outcome('ping -c 1 -W 1 10.30.0.2');
  await eventually('frames of the new TAP to arrive', async () => (await tapFrames(vtepd)) > again);
  t.equal(await vtepd.stop(), 0);
});

for (const ports of SOURCE_PORTS)
  t.test(`the device of the underlay is followed ${ports}`, async (t) => {
    const world = await twoHosts(t, 'batch', `--underlay-dev eth0 ${ports}`);
    const { near, far, vtepd } = world;
    const traffic = await SteadyTraffic.start(world.lab, world.vm101, world.vm105, FAR_VM);
    await stepsOf(t, traffic)('device of the underlay deleted, and made again', async () => {
      await near.ip('link del eth0');
      await isReported(t, vtepd, /network device eth0.*was deleted/);
      await near.ip(`link add eth0 type veth peer name eth0 netns ${far.name}
          address add ${NEAR}/24 dev eth0
          link set eth0 up`);
      await far.ip(`address add ${FAR}/24 dev eth0\nlink set eth0 up`);
      // The kernel deleted its vxlan device with the device below.
      await far.ip(`link add vxlan100 type vxlan id 100 local ${FAR} remote ${NEAR} dstport 4789 dev eth0
          link set vxlan100 mtu 1450 master br-vxlan up`);
    });
    t.same(await warnings(vtepd), []);
  });

for (const engine of ENGINES)
  for (const ports of SOURCE_PORTS)
    t.test(`a local address that comes and goes is followed (${engine}) ${ports}`, async (t) => {
      const world = await twoHosts(t, engine);
      const { near, far, lab } = world;
      const standby = '192.168.80.20';
      await world.vtepd.stop();
      await far.ip(`link del vxlan100
        link add vxlan100 type vxlan id 100 local ${FAR} remote ${standby} dstport 4789 dev eth0
        link set vxlan100 mtu 1450 master br-vxlan up`);
      const flags = `--vni 100 --peer ${FAR} --bridge br-vxlan --local ${standby} --io ${engine} ${ports}`;
      const vtepd = await lab.standby(near, flags);
      await isReported(t, vtepd, /--local 192\.168\.80\.20 is not an address of this host/);
      await near.ip(`address add ${standby}/24 dev eth0`);
      await vtepd.ready();
      const traffic = await SteadyTraffic.start(lab, world.vm101, world.vm105, FAR_VM);
      await stepsOf(t, traffic)('local address gone, then back', async () => {
        await near.ip(`address del ${standby}/24 dev eth0`);
        await traffic.broken();
        await isReported(t, vtepd, /--local 192\.168\.80\.20 is not an address/);
        await near.ip(`address add ${standby}/24 dev eth0`);
      });
      t.same(await warnings(vtepd), []);
    });

t.test('nothing is sent from an IPv6 address that is absent or tentative', async (t) => {
  const world = await twoHosts(t, 'batch');
  const { near, far, lab } = world;
  await world.vtepd.stop();
  for (const host of [near, far])
    await host.run(['sh', '-c', 'echo 0 > /proc/sys/net/ipv6/conf/eth0/disable_ipv6']);
  await near.ip('address add fd00:80::10/64 dev eth0 nodad');
  await far.ip('address add fd00:80::11/64 dev eth0 nodad');
  const capture = lab.keep(far.start('tcpdump -lnni eth0 udp port 4789'));
  await capture.untilOutput(/listening/);
  const vtepd = await lab.standby(near, '--vni 100 --peer fd00:80::11 --bridge br-vxlan --local fd00:80::20');
  await isReported(t, vtepd, /--local fd00:80::20 is not an address/);
  await world.vm101.outcome('ping -c 3 -i 0.2 -W 1 10.10.10.99');
  await near.run([
    'sh',
    '-c',
    'echo 1 > /proc/sys/net/ipv6/conf/eth0/accept_dad; echo 20 > /proc/sys/net/ipv6/conf/eth0/dad_transmits',
  ]);
  await near.ip('address add fd00:80::20/64 dev eth0');
  await isReported(t, vtepd, /--local fd00:80::20 is not usable yet/);
  await world.vm101.outcome('ping -c 3 -i 0.2 -W 1 10.10.10.99');
  const counts = await vtepd.get<{ vnis: { drops: { encap: Record<string, number> } }[] }>('/v1/counters');
  t.ok(counts.body.vnis[0].drops.encap.no_route > 0, 'the frames are counted as no_route');
  await near.ip('address del fd00:80::20/64 dev eth0\naddress add fd00:80::20/64 dev eth0 nodad');
  t.notMatch(capture.stdout, /fd00:80::20/, 'nothing was sent');
  await vtepd.ready();
  await world.vm101.outcome('ping -c 1 -W 1 10.10.10.99');
  await eventually('the first datagram', () => /fd00:80::20/.test(capture.stdout));
});

t.test('a device of the underlay that is down is reported', async (t) => {
  const { near, vm101, vtepd } = await twoHosts(t, 'batch', '--underlay-dev eth0');
  await near.ip('link set eth0 down');
  await isReported(t, vtepd, /network device eth0.* is down/);
  await near.ip('link set eth0 up');
  await vtepd.ready();
  await assertPing(t, vm101, FAR_VM);
});

for (const engine of ENGINES)
  t.test(`a link-local peer is followed when its device is made again (${engine})`, async (t) => {
    const world = await twoHosts(t, engine);
    const { near, far, lab } = world;
    await world.vtepd.stop();
    await far.ip('link del vxlan100');
    const wire = async () => {
      for (const host of [near, far])
        await host.run(['sh', '-c', 'echo 0 > /proc/sys/net/ipv6/conf/eth0/disable_ipv6']);
      await near.ip('address add fe80::a/64 dev eth0 nodad');
      await far.ip('address add fe80::b/64 dev eth0 nodad');
    };
    await wire();
    const one = await lab.vtepd(near, `--vni 100 --peer fe80::b%eth0 --bridge br-vxlan --io ${engine}`);
    const other = await lab.vtepd(far, `--vni 100 --peer fe80::a%eth0 --bridge br-vxlan --io ${engine}`);
    const traffic = await SteadyTraffic.start(lab, world.vm101, world.vm105, FAR_VM);
    await stepsOf(t, traffic)('device of link-local peers deleted, and made again', async () => {
      await near.ip('link del eth0');
      await traffic.broken();
      await near.ip(`link add eth0 type veth peer name eth0 netns ${far.name}\nlink set eth0 up`);
      await far.ip('link set eth0 up');
      await wire();
    });
    for (const vtepd of [one, other]) t.same(await warnings(vtepd), []);
  });

for (const engine of ENGINES)
  t.test(`MTUs of the underlay and of the bridge's ports are followed (${engine})`, async (t) => {
    const { near, far, vtepd, vm101, vm105 } = await twoHosts(t, engine);
    const overlayMtu = async () => (await vtepd.get<{ overlayMtu: number }>('/v1/vnis/100')).body.overlayMtu;
    for (const [mtu, expected] of [
      [1400, 1350],
      [9000, 8950],
      [1500, 1450],
    ]) {
      for (const host of [near, far]) await host.ip(`link set eth0 mtu ${mtu}`);
      await eventually(
        `the overlay MTU to be ${expected}`,
        async () => (await overlayMtu()) === expected,
        LIMIT_MS,
      );
    }
    const tapMtu = async () => (await linkOf(near, 'vtep100')).mtu;
    for (const mtu of [8950, 4000, 1450]) {
      await near.ip(`link set to-vm101 mtu ${mtu}`);
      const expected = Math.max(1500, mtu);
      await eventually(
        `the TAP's MTU to be ${expected}`,
        async () => (await tapMtu()) === expected,
        LIMIT_MS,
      );
    }
    await near.ip('link add jumbo0 type veth peer name jumbo1\nlink set jumbo0 mtu 7000 master br-vxlan');
    await eventually('the TAP to follow a port that joins', async () => (await tapMtu()) === 7000, LIMIT_MS);
    await near.ip('link del jumbo0');
    await eventually('the TAP to follow a port that leaves', async () => (await tapMtu()) === 1500, LIMIT_MS);
    await assertPing(t, vm101, FAR_VM);
    t.ok(vm105);
  });

interface LinkDetails {
  ifindex: number;
  ifname: string;
  mtu: number;
  address: string;
  ifalias?: string;
  master?: string;
  linkinfo?: { info_slave_data?: { isolated: boolean } };
}

async function linkOf(host: Namespace, name: string): Promise<LinkDetails> {
  const [link] = await host.show<LinkDetails>(`link show dev ${name}`);
  return link;
}

async function slave(host: Namespace): Promise<{ isolated: boolean }> {
  return (await linkOf(host, 'vtep200')).linkinfo?.info_slave_data ?? { isolated: false };
}

interface Status {
  warnings: Report[];
  notices: Report[];
}

async function statusOf(vtepd: Vtepd): Promise<Status> {
  return (await vtepd.get<Status>('/v1/status')).body;
}

async function warnings(vtepd: Vtepd): Promise<Report[]> {
  return (await statusOf(vtepd)).warnings;
}

async function tapFrames(vtepd: Vtepd): Promise<number> {
  const { body } = await vtepd.get<{ vnis: { tap: { rx: { frames: number } } }[] }>('/v1/counters');
  return body.vnis[0].tap.rx.frames;
}

/** Asserts that `/readyz` and the status name a fault. */
async function isReported(t: Test, vtepd: Vtepd, detail: RegExp): Promise<void> {
  const answer = await eventually(`/readyz to report ${detail}`, async () => {
    const { status, body } = await vtepd.get<{ detail: string }>('/readyz');
    return status === 503 && detail.test(body.detail) ? body : undefined;
  });
  t.match(answer.detail, detail);
  t.ok(
    (await warnings(vtepd)).some((report) => detail.test(report.detail)),
    'the status has the warning',
  );
}

/** Runs a change, and prints how long the traffic took to pass again after it. */
function stepsOf(t: Test, traffic: SteadyTraffic) {
  return async (what: string, change: () => Promise<void>): Promise<void> => {
    const beganMs = Date.now();
    await change();
    const endMs = Date.now();
    const { ping, tcp } = await traffic.passes(endMs);
    const late = Math.max(ping, tcp) > HEALED_MS ? ' (more than 5 s)' : '';
    t.comment(
      `${what}: ping passes ${ping} ms, TCP ${tcp} ms after it${late}; outage ${traffic.longestGap(beganMs)} ms`,
    );
    t.ok(ping < LIMIT_MS, `${what}: the ping passes again`);
  };
}
