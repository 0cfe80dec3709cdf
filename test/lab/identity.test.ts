/**
 * Identity of hosts: own addresses, names of one host, routes into the overlay, and twins.
 *
 *     vm101 10.10.10.101                              vm105 10.10.10.105
 *         |                                               |
 *     [br-vxlan]                                      [br-vxlan]
 *         |                                               |
 *       vtepd                                           kernel vxlan, or vtepd
 *         |                                               |
 *     near eth0 192.168.80.10 ======= veth ======= eth0 192.168.80.11 far
 *               fd00:80::10                             fd00:80::11
 */
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { createLab, type Lab } from '../support/lab.js';
import { assertIdentity } from '../support/metrics.js';
import { type Namespace, ownEtc } from '../support/netns.js';
import { assertPing, SteadyPing } from '../support/traffic.js';
import { FAR, FAR_VM, NEAR, NEAR_VM } from '../support/two-hosts.js';
import { ENGINES, type Vtepd } from '../support/vtepd.js';
import { eventually } from '../support/wait.js';

const NEAR6 = 'fd00:80::10';
const FAR6 = 'fd00:80::11';
const SPARE = '192.168.80.77';
/**
 * Time within which vtepd follows a change of its host, ms: 5 s, and a margin for a loaded machine,
 * because refreshes of routes take at most a tenth of the time.
 */
const FOLLOWED_MS = 15_000;
const PEERS = '/v1/vnis/100/peers';

interface Report {
  readonly code: string;
  readonly detail: string;
}

for (const engine of ENGINES) {
  t.test(`an address is a peer while it is not an own address (${engine})`, async (t) => {
    const { lab, near, vm101 } = await bridgedHosts(t);
    await near.ip('address add 9.9.9.1/32 dev lo');
    useHosts(near, { 'all.lab': [NEAR, FAR], 'near.lab': [NEAR] });
    const file = join(lab.dir, 'vtepd.yaml');
    const write = (peers: readonly string[]) =>
      writeFileSync(
        file,
        `peers: [${peers.map((peer) => `"${peer}"`).join(', ')}]\nvnis: [{vni: 100, bridge: br-vxlan}]`,
      );
    write([NEAR, NEAR6, '9.9.9.1', 'near.lab', 'all.lab,all=on']);
    const flags = `--config ${file} --state ${join(lab.dir, 'state.json')} --io ${engine}`;
    const vtepd = await lab.vtepd(near, flags);
    t.same(await addressesOf(vtepd), [FAR]);
    await assertPing(t, vm101, FAR_VM);
    const left = (await reportsOf(vtepd, 'own_address_is_peer')).map(({ detail }) => detail).sort();
    t.match(left, [
      /^192\.168\.80\.10, which near\.lab, all\.lab resolves to, is .* VNI 100$/,
      /^9\.9\.9\.1 is an address of this host; it is left out of the peers of VNI 100$/,
      /^fd00:80::10 is an address of this host/,
    ]);
    t.match((await vtepd.ctl('doctor')).code, 0, 'a notice is no finding');
    const refused = await vtepd.call<{ detail: string }>('POST', PEERS, { address: NEAR6 });
    t.match(refused, { status: 400, body: { detail: /must be another host/ } });

    // A peer whose address comes to this host, and leaves it.
    t.equal((await vtepd.call('POST', PEERS, { address: SPARE })).status, 201);
    const mac = '02:00:00:00:00:77';
    t.equal((await vtepd.call('PUT', `/v1/vnis/100/fdb/${mac}`, { peer: SPARE })).status, 204);
    const pings = await SteadyPing.start(vm101, FAR_VM);
    await near.ip(`address add ${SPARE}/24 dev eth0`);
    await untilAddresses(vtepd, [FAR]);
    t.notOk((await vtepd.fdb(100)).some((entry) => entry.mac === mac));
    t.match(await listed(vtepd, SPARE), { resolved: null }, 'a left-out peer stays in the list');
    await near.ip(`address del ${SPARE}/24 dev eth0`);
    await untilAddresses(vtepd, [FAR, SPARE]);
    t.match(await vtepd.fdb(100).then((entries) => entries.find((entry) => entry.mac === mac)), {
      peer: SPARE,
      type: 'static',
    });
    t.equal((await pings.stop()).lost, 0, 'the other peer does not notice');

    // A VNI by REST, a reload, and a restart from the state file while the address is own.
    await near.ip(`address add ${SPARE}/24 dev eth0`);
    await untilAddresses(vtepd, [FAR]);
    const body = { vni: 200, peers: [NEAR, FAR, SPARE] };
    t.equal((await vtepd.call('POST', '/v1/vnis', body)).status, 201);
    t.same(await addressesOf(vtepd, 200), [FAR]);
    t.match(
      (await reportsOf(vtepd, 'own_address_is_peer')).map(({ detail }) => detail).join(),
      /VNI 100, 200/,
    );
    write([NEAR, 'all.lab,all=on', SPARE]);
    t.equal((await vtepd.call('POST', '/v1/reload')).status, 200);
    t.same(await addressesOf(vtepd), [FAR]);
    assertIdentity(t, await vtepd.metrics());
    await vtepd.stop();
    const second = await lab.vtepd(near, flags);
    t.same([await addressesOf(second), await addressesOf(second, 200)], [[FAR], [FAR]]);

    // Another address by DHCP: the old one is a peer now, as it belongs to another host.
    await near.ip(`address add 192.168.80.20/24 dev eth0
      address del ${SPARE}/24 dev eth0
      address del ${NEAR}/24 dev eth0`);
    await untilAddresses(second, [NEAR, FAR, SPARE]);
    await eventually(
      'the notices of the old address to end',
      async () => {
        const left = await reportsOf(second, 'own_address_is_peer');
        return left.every(({ detail }) => !detail.startsWith(NEAR) && !detail.startsWith(SPARE));
      },
      FOLLOWED_MS,
    );
  });
}

t.test('with --accept any, no frame from an own address is learned', async (t) => {
  const lab = createLab(t);
  const { near } = await lab.hosts({ near: [`${NEAR}/24`], far: [`${FAR}/24`] });
  const vtepd = await lab.vtepd(near, '--vni 100 --accept any');
  const frame = 'ffffffffffff02000000000188b5'.padEnd(120, '0');
  const send = (local: string) =>
    near.run([
      process.execPath,
      '-e',
      `const s = require('node:dgram').createSocket('udp4').bind(0, '${local}', () =>
        s.send(Buffer.from('0800000000006400${frame}', 'hex'), 4789, '${NEAR}', () => s.close()))`,
    ]);
  await send(NEAR);
  const received = async (frames: number) =>
    (await vtepd.metrics()).sum('vtepd_peer_rx_frames_total', { vni: 100 }) === frames;
  await eventually('the frame to be received', () => received(1));
  t.same(await vtepd.fdb(100), [], 'not learned');
  await near.ip(`address add ${SPARE}/24 dev eth0`);
  await near.ip(`address del ${SPARE}/24 dev eth0`);
  t.same(await vtepd.fdb(100), []);
  assertIdentity(t, await vtepd.metrics());
});

for (const engine of ENGINES) {
  t.test(`a name of one host gets one copy of a broadcast (${engine})`, async (t) => {
    const { lab, near, far } = await plainHosts(t);
    useHosts(near, { 'far.lab': [FAR, FAR6] });
    useHosts(far, { 'near.lab': [NEAR, NEAR6] });
    const vtepd = await lab.vtepd(near, `--vni 100 --address 10.10.10.1/24 --peer far.lab --io ${engine}`);
    const other = await lab.vtepd(far, `--vni 100 --address 10.10.10.2/24 --peer near.lab --io ${engine}`);
    await assertPing(t, near, '10.10.10.2');
    t.same(await addressesOf(vtepd), [FAR6], 'the address that RFC 6724 prefers');
    t.match(await listed(vtepd, 'far.lab'), { all: false, resolved: FAR6 });
    const metrics = await vtepd.metrics();
    t.equal(metrics.sum('vtepd_replicated_frames_total'), 0, 'no frame was sent twice');
    assertIdentity(t, metrics, 'near');
    assertIdentity(t, await other.metrics(), 'far');

    const many = { address: 'far.lab', all: true };
    t.equal((await vtepd.call('POST', '/v1/vnis', { vni: 200, peers: [many] })).status, 201);
    t.same(await addressesOf(vtepd, 200), [FAR, FAR6], 'a name of many hosts');
    const literal = await vtepd.call<{ detail: string }>('POST', PEERS, { address: SPARE, all: 'on' });
    t.match(literal, { status: 400, body: { detail: /all=on, which is for a DNS name/ } });

    await near.ip(`route add unreachable ${FAR6}/128 metric 1`);
    await untilAddresses(vtepd, [FAR]);
    await near.ip(`route del unreachable ${FAR6}/128 metric 1`);
    await untilAddresses(vtepd, [FAR6]);
    await assertPing(t, near, '10.10.10.2');
  });

  t.test(`a route through the overlay is named and not followed (${engine})`, async (t) => {
    const { lab, near, vm101 } = await bridgedHosts(t);
    const vtepd = await lab.vtepd(near, `--vni 100 --bridge br-vxlan --peer ${FAR} --io ${engine}`);
    await near.ip('address add 10.10.10.1/24 dev br-vxlan');
    await near.ip(`link add over link br-vxlan type macvlan mode bridge
      link set over up
      address add 10.77.0.1/24 dev over`);
    await assertPing(t, vm101, FAR_VM);
    const before = await mtusOf(vtepd, near);
    for (const route of ['dev br-vxlan', `via ${NEAR_VM}`, 'dev over', 'dev vtep100']) {
      await near.ip(`route replace ${FAR}/32 ${route}`);
      const warning = await eventually(
        `a warning about the route ${route}`,
        async () => (await reportsOf(vtepd, 'route_through_overlay'))[0],
        FOLLOWED_MS,
      );
      t.match(warning.detail, new RegExp(`^the route to peer ${FAR} leads into the overlay`));
      const heldFrom = await vtepd.metrics();
      await vm101.outcome(`ping -n -q -c 3 -i 0.2 -W 1 ${FAR_VM}`);
      const held = await vtepd.metrics();
      const grown = (name: string) => held.sum(name) - heldFrom.sum(name);
      t.ok(grown('vtepd_tap_rx_frames_total') < 20, `${route}: frames do not circle`);
      t.equal(grown('vtepd_peer_tx_frames_total'), 0, `${route}: nothing is sent to the peer`);
      t.ok((held.drops('encap', 100).no_route ?? 0) > (heldFrom.drops('encap', 100).no_route ?? 0));
      t.same(await mtusOf(vtepd, near), before, `${route}: no MTU changes`);
      await near.ip(`route del ${FAR}/32`);
      await eventually(
        'the warning to end',
        async () => (await reportsOf(vtepd, 'route_through_overlay')).length === 0,
        FOLLOWED_MS,
      );
      await eventually(
        'frames to pass again',
        async () => (await vm101.outcome(`ping -n -q -c 1 -W 1 ${FAR_VM}`)).code === 0,
        FOLLOWED_MS,
      );
    }
    assertIdentity(t, await vtepd.metrics());
  });

  t.test(`a peer with our MAC is named (${engine})`, async (t) => {
    const { lab, near, far } = await plainHosts(t);
    const flags = (host: number, peer: string) =>
      `--vni 100 --address 10.10.10.${host}/24 --mac fe:00:00:00:00:0a --peer ${peer} --io ${engine}`;
    const vtepd = await lab.vtepd(near, flags(1, FAR));
    await lab.vtepd(far, flags(2, NEAR));
    await far.outcome('ping -n -q -c 1 -W 1 10.10.10.1');
    const twin = await eventually('the twin to be named', async () => (await reportsOf(vtepd, 'twin'))[0]);
    t.match(twin.detail, new RegExp(`^peer ${FAR} sends .*fe:00:00:00:00:0a of vtep100`));
    const doctor = await vtepd.ctl('doctor');
    t.match(doctor, { code: 1, stdout: /^twin: .*--mac/m });
    assertIdentity(t, await vtepd.metrics());
  });
}

t.test('the MAC of a TAP outlives address changes, and differs between clones', async (t) => {
  const { lab, near, far } = await plainHosts(t);
  const state = (name: string) => join(lab.dir, `${name}.json`);
  const start = (host: Namespace, name: string, flags = '') =>
    lab.vtepd(host, `--vni 100 --peer 192.168.80.12 --state ${state(name)} ${flags}`);
  const vtepd = await start(near, 'near');
  const mac = await macOf(near, 'vtep100');
  t.match(mac, /^fe:/);
  const kept = JSON.parse(readFileSync(state('near'), 'utf8'));
  t.same(kept, { format: 'vtepd-state-1', vnis: { 100: { changed: { mac } } } }, 'earlier versions read it');
  t.same(await reportsOf(vtepd, 'state_overrides'), [], 'it is no change by the API');
  t.equal((await vtepd.call('POST', '/v1/vnis', { vni: 200 })).status, 201);
  const second = await macOf(near, 'vtep200');
  t.not(second, mac);
  await vtepd.stop();
  await near.ip(`address add 192.168.80.30/24 dev eth0
    address del ${NEAR}/24 dev eth0`);
  const again = await start(near, 'near');
  t.same([await macOf(near, 'vtep100'), await macOf(near, 'vtep200')], [mac, second]);
  await again.stop();

  const clone = await start(near, 'clone');
  t.not(await macOf(near, 'vtep100'), mac, 'a clone with a state file of its own');
  await clone.stop();
  const configured = await start(near, 'near', '--mac 02:00:00:00:00:0a');
  t.equal(await macOf(near, 'vtep100'), '02:00:00:00:00:0a', 'a configured MAC takes precedence');
  await configured.stop();
  await start(far, 'far');
});

async function plainHosts(t: Test) {
  const lab = createLab(t);
  return {
    lab,
    ...(await lab.hosts({ near: [`${NEAR}/24`, `${NEAR6}/64`], far: [`${FAR}/24`, `${FAR6}/64`] })),
  };
}

/** Adds bridges and VMs, and kernel vxlan on the far host. */
async function bridgedHosts(
  t: Test,
): Promise<{ lab: Lab; near: Namespace; far: Namespace; vm101: Namespace }> {
  const { lab, near, far } = await plainHosts(t);
  for (const host of [near, far]) await lab.bridge(host);
  const vm101 = await lab.vm(near, 'vm101', { address: `${NEAR_VM}/24` });
  await lab.vm(far, 'vm105', { address: `${FAR_VM}/24` });
  await lab.kernelVtep(far, { vni: 100, local: FAR, remotes: [NEAR] });
  return { lab, near, far, vm101 };
}

/** Gives a host its own hosts file. Call it before the host's processes start. */
function useHosts(host: Namespace, names: Record<string, readonly string[]>): void {
  const lines = Object.entries(names).flatMap(([name, addresses]) =>
    addresses.map((address) => `${address} ${name}\n`),
  );
  mkdirSync(ownEtc(host), { recursive: true });
  writeFileSync(join(ownEtc(host), 'hosts'), `127.0.0.1 localhost\n${lines.join('')}`);
}

async function addressesOf(vtepd: Vtepd, vni = 100): Promise<string[]> {
  const { body } = await vtepd.get<{ items: { resolved: string | null }[] }>(`/v1/vnis/${vni}/peers`);
  return body.items.flatMap(({ resolved }) => resolved ?? []).sort();
}

async function untilAddresses(vtepd: Vtepd, expected: readonly string[]): Promise<void> {
  await eventually(
    `${expected.join(', ')} to be the peers`,
    async () => (await addressesOf(vtepd)).join() === expected.join(),
    FOLLOWED_MS,
  );
}

async function listed(vtepd: Vtepd, host: string): Promise<unknown> {
  return (await vtepd.get(`${PEERS}/${host}`)).body;
}

async function reportsOf(vtepd: Vtepd, code: string): Promise<Report[]> {
  const { body } = await vtepd.get<{ warnings: Report[]; notices: Report[] }>('/v1/status');
  return [...body.warnings, ...body.notices].filter((report) => report.code === code);
}

async function mtusOf(vtepd: Vtepd, host: Namespace): Promise<unknown> {
  const { body } = await vtepd.get<{ overlayMtu: number }>('/v1/vnis/100');
  const [{ mtu }] = await host.show<{ mtu: number }>('link show dev vtep100');
  return { overlayMtu: body.overlayMtu, tapMtu: mtu };
}

async function macOf(host: Namespace, device: string): Promise<string> {
  const [{ address }] = await host.show<{ address: string }>(`link show dev ${device}`);
  return address;
}
