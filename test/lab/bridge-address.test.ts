/**
 * `--bridge` with `--address`: the bridge has the addresses of the VNI.
 *
 *     near  10.9.0.1, fd09::1  br-vxlan ─ vtep100 (vtepd)  ═══  vxlan100 ─ br-vxlan  10.9.0.2, fd09::2  far
 *
 * The bridge is one that vtepd makes, or one of another program, which keeps its own addresses.
 */
import t, { type Test } from 'tap';
import { createLab, type Lab } from '../support/lab.js';
import { addBridge, type Namespace } from '../support/netns.js';
import { assertPing } from '../support/traffic.js';
import { FAR, NEAR } from '../support/two-hosts.js';
import { ENGINES, type Vtepd } from '../support/vtepd.js';
import { eventually } from '../support/wait.js';

const BRIDGE = 'br-vxlan';
const FLAGS = `--vni 100 --peer ${FAR} --bridge ${BRIDGE} --address 10.9.0.1/24 --address fd09::1/64`;

for (const engine of ENGINES) {
  t.test(`this host and hosts behind the peer reach each other (${engine})`, async (t) => {
    for (const isOurs of [true, false]) {
      const { lab, near, far } = await site(t);
      if (!isOurs) await lab.bridge(near);
      const vtepd = await lab.vtepd(near, `${FLAGS} --io ${engine}`);
      t.same(await addressesOf(near, 'vtep100'), [], 'the port has no address');
      await assertReach(t, near, far);
      await vtepd.stop();
      const left = await addressesOf(near, BRIDGE);
      t.same(left, isOurs ? undefined : [], 'no address is left');
    }
  });
}

t.test('addresses follow changes of the addresses and of the bridge', async (t) => {
  const { lab, near, far } = await site(t);
  const vtepd = await lab.vtepd(near, FLAGS);
  await patch(t, vtepd, { address: ['10.9.0.3/24'] });
  t.same(await addressesOf(near, BRIDGE), ['10.9.0.3/24']);
  await assertPing(t, far, '10.9.0.3');

  await addBridge(near, 'br-other');
  await patch(t, vtepd, { bridge: 'br-other', address: ['10.9.0.1/24', 'fd09::1/64'] });
  t.same(await addressesOf(near, 'br-other'), ['10.9.0.1/24', 'fd09::1/64']);
  t.equal(await addressesOf(near, BRIDGE), undefined, 'the bridge of vtepd is gone');
  await assertReach(t, near, far);

  await patch(t, vtepd, { bridge: null });
  t.same(await addressesOf(near, 'br-other'), []);
  t.same(await addressesOf(near, 'vtep100'), ['10.9.0.1/24', 'fd09::1/64']);
  await assertReach(t, near, far);

  await patch(t, vtepd, { bridge: BRIDGE });
  t.same(await addressesOf(near, 'vtep100'), []);
  await assertReach(t, near, far);
});

t.test('a change that fails leaves the addresses where they were', async (t) => {
  const { lab, near, far } = await site(t);
  await near.ip('link add taken type veth peer name unused');
  const vtepd = await lab.vtepd(near, FLAGS);
  const refused = await vtepd.call('PATCH', '/v1/vnis/100', { bridge: 'taken', address: ['10.9.0.9/24'] });
  t.not(refused.status, 200);
  t.same(await addressesOf(near, BRIDGE), ['10.9.0.1/24', 'fd09::1/64']);
  await assertReach(t, near, far);
});

t.test('the addresses come back with the bridge', async (t) => {
  for (const maker of ['vtepd', 'another program']) {
    const { lab, near, far } = await site(t);
    if (maker !== 'vtepd') await lab.bridge(near);
    await lab.vtepd(near, FLAGS);
    await near.ip(`link delete ${BRIDGE}`);
    if (maker !== 'vtepd') await lab.bridge(near);
    await eventually(
      'the addresses on another bridge',
      async () => (await addressesOf(near, BRIDGE))?.length === 2,
    );
    await assertReach(t, near, far);
  }
});

t.test('only addresses that vtepd added are removed', async (t) => {
  const { lab, near } = await site(t);
  await lab.bridge(near);
  await near.ip(`address add 10.9.0.1/24 dev ${BRIDGE}`);
  const first = await lab.vtepd(near, `${FLAGS} --address 10.8.0.1/24`);
  // In the subnet of 10.8.0.1, so that the kernel removes it together with 10.8.0.1.
  await near.ip(`address add 10.8.0.9/24 dev ${BRIDGE}`);
  await near.run(`sysctl -q -w net.ipv4.conf.${BRIDGE}.promote_secondaries=0`);
  await first.stop('SIGKILL');
  t.ok((await addressesOf(near, BRIDGE))?.includes('10.8.0.1/24'), 'a killed daemon removes nothing');

  const next = await lab.vtepd(near, `${FLAGS} --address 10.8.0.1/24`);
  await next.stop();
  t.same(await addressesOf(near, BRIDGE), ['10.8.0.9/24', '10.9.0.1/24'], 'those of the administrator stay');
});

t.test('each of several VNIs on one bridge adds and removes its own addresses', async (t) => {
  const { lab, near } = await site(t);
  await lab.bridge(near);
  const vtepd = await lab.vtepd(near, FLAGS);
  const body = { vni: 200, bridge: BRIDGE, address: ['10.9.0.4/24'] };
  await near.run(`sysctl -q -w net.ipv4.conf.${BRIDGE}.promote_secondaries=0`);
  t.equal((await vtepd.call('POST', '/v1/vnis', body)).status, 201);
  t.same(await addressesOf(near, BRIDGE), ['10.9.0.1/24', '10.9.0.4/24', 'fd09::1/64']);
  t.equal((await vtepd.call('DELETE', '/v1/vnis/100')).status, 204);
  t.same(await addressesOf(near, BRIDGE), ['10.9.0.4/24']);
  t.equal((await vtepd.call('DELETE', '/v1/vnis/200')).status, 204);
  t.same(await addressesOf(near, BRIDGE), []);
});

async function site(t: Test): Promise<{ lab: Lab; near: Namespace; far: Namespace }> {
  const lab = createLab(t);
  const { near, far } = await lab.hosts({ near: [`${NEAR}/24`], far: [`${FAR}/24`] });
  for (const host of [near, far]) await host.run('sysctl -q -w net.ipv6.conf.default.disable_ipv6=0');
  await lab.bridge(far);
  await lab.kernelVtep(far, { vni: 100, local: FAR, remotes: [NEAR] });
  await far.ip(`address add 10.9.0.2/24 dev ${BRIDGE}
    address add fd09::2/64 dev ${BRIDGE} nodad`);
  return { lab, near, far };
}

async function assertReach(t: Test, near: Namespace, far: Namespace): Promise<void> {
  for (const [from, addresses] of [
    [near, ['10.9.0.2', 'fd09::2']],
    [far, ['10.9.0.1', 'fd09::1']],
  ] as const)
    for (const address of addresses) await assertPing(t, from, address);
}

async function patch(t: Test, vtepd: Vtepd, change: Record<string, unknown>): Promise<void> {
  const { status, body } = await vtepd.call('PATCH', '/v1/vnis/100', change);
  t.equal(status, 200, JSON.stringify(body));
}

/** Addresses of a device, sorted, without link-local ones; undefined: there is no such device. */
async function addressesOf(host: Namespace, device: string): Promise<string[] | undefined> {
  if (!(await host.devices()).includes(device)) return undefined;
  const [{ addr_info }] = await host.show<{ addr_info: { local: string; prefixlen: number }[] }>(
    `address show dev ${device}`,
  );
  return addr_info
    .map(({ local, prefixlen }) => `${local}/${prefixlen}`)
    .filter((address) => !address.startsWith('fe80'))
    .sort();
}
