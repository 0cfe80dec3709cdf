/**
 * Path MTUs found by probing, on the topology of test/support/narrow-path.ts.
 *
 * vtepd runs on the near host, kernel vxlan or vtepd on the far host. Kernel vxlan drops probes of
 * kind `vtepd` silently. vtepd finds the path MTU to kernel vxlan by ICMP, or by ARP if ICMP is
 * filtered.
 */
import t from 'tap';
import { assertIdentity } from '../support/metrics.js';
import { FAR, type NarrowPath, NEAR, narrowPath } from '../support/narrow-path.js';
import type { Namespace } from '../support/netns.js';
import { assertPing } from '../support/traffic.js';
import { ENGINES, type Engine, type Vtepd } from '../support/vtepd.js';
import { eventually } from '../support/wait.js';

const FAMILIES = [
  ['ipv4', 50],
  ['ipv6', 70],
] as const;

t.test('if no probe is answered, the path MTU stays unknown and no MTU changes', async (t) => {
  const path = await narrowPath(t, 1400);
  await path.filterIcmp();
  await kernelVxlan(path, 'ipv4');
  const vtepd = await nearVtepd(path, 'ipv4', 'batch');
  const { code, stdout } = await vtepd.ctl(`probe ${FAR.ipv4}`);
  t.equal(code, 1);
  t.match(
    stdout,
    /unknown: no probe was answered\n {2}icmp: no answer\n {2}vtepd: no answer\n {2}arp: no host/,
  );
  t.equal(await overlayMtu(vtepd), 1450);
});

t.test('a probe by ARP finds the path MTU to kernel vxlan while ICMP is filtered', async (t) => {
  const path = await narrowPath(t, 1400);
  await path.filterIcmp();
  await kernelVxlan(path, 'ipv4');
  await path.far.ip('address add 10.10.10.2/24 dev vxlan100');
  const vtepd = await nearVtepd(path, 'ipv4', 'batch', '--address 10.10.10.1/24');
  await assertPing(t, path.near, '10.10.10.2');
  const { code, stdout } = await vtepd.ctl(`probe ${FAR.ipv4}`);
  t.match(stdout, /path carries 1400; overlay MTU 1350 fits\n {2}exactly, by arp, \d+ packets\n/);
  t.equal(code, 0);
  t.equal(await overlayMtu(vtepd), 1350);
  assertIdentity(t, await vtepd.metrics());
});

t.test('log, status and exit code report an overlay MTU that is too large, with the numbers', async (t) => {
  const path = await narrowPath(t, 1400);
  await kernelVxlan(path, 'ipv4');
  const vtepd = await nearVtepd(path, 'ipv4', 'batch', '--mtu 1500');
  const warning = (fits: number) =>
    `--mtu 1500 exceeds ${fits}, the largest that fits the path to ${FAR.ipv4}`;
  t.match(vtepd.log(), warning(1450), 'the log compares --mtu with the route at start');
  const { code, stdout } = await vtepd.ctl(`probe ${FAR.ipv4}`);
  t.equal(code, 1);
  t.match(
    stdout,
    'path carries 1400; overlay MTU 1350 fits; this VNI has 1500: 150 bytes too large\n  exactly, by icmp',
  );
  t.match(vtepd.log(), warning(1350), 'the log compares --mtu with the path after the probe');
  t.match((await vtepd.ctl('status')).stdout, `warning overlay_mtu_too_large: VNI 100: ${warning(1350)}`);
  const doctor = await vtepd.ctl('doctor');
  t.equal(doctor.code, 1);
  t.match(doctor.stdout, warning(1350));
  t.equal(await overlayMtu(vtepd), 1500, 'the configured MTU stays in effect');
});

for (const [family, overhead] of FAMILIES)
  for (const engine of ENGINES) {
    t.test(`a probe by ICMP finds the path MTU to kernel vxlan (${family}, ${engine})`, async (t) => {
      const path = await narrowPath(t, 1400);
      await kernelVxlan(path, family);
      const vtepd = await nearVtepd(path, family, engine);
      const probed = await vtepd.ctl(`probe ${FAR[family]} --json`);
      t.match(JSON.parse(probed.stdout), {
        means: 'icmp',
        pathMtu: 1400,
        exact: true,
        routeMtu: 1500,
        fits: 1400 - overhead,
        overlayMtu: 1400 - overhead,
        tapMtu: 1400 - overhead,
        good: true,
      });
      t.equal(probed.code, 0, 'the overlay MTU fits after the probe');
      t.equal(await deviceMtu(path.near), 1400 - overhead, 'the device MTU follows the overlay MTU');
      await path.narrow(1500);
      t.match((await vtepd.ctl(`probe ${FAR[family]}`)).stdout, `path carries 1500`);
      t.equal(await overlayMtu(vtepd), 1500 - overhead, 'the overlay MTU follows a path that became wider');
      assertIdentity(t, await vtepd.metrics());
    });

    t.test(
      `two vtepd find the path MTU by themselves while ICMP is filtered (${family}, ${engine})`,
      async (t) => {
        const path = await narrowPath(t, 1400);
        await path.filterIcmp();
        const far = await path.lab.vtepd(
          path.far,
          `--vni 100 --peer ${NEAR[family]} --address 10.10.10.2/24 --io ${engine}`,
        );
        const near = await nearVtepd(path, family, engine, '--address 10.10.10.1/24');
        for (const vtepd of [near, far]) {
          await eventually(
            'the overlay MTU to follow the path',
            async () => (await overlayMtu(vtepd)) === 1400 - overhead,
            120_000,
          );
        }
        await assertPing(t, path.near, '10.10.10.2');
        await path.narrow(1300);
        const probed = await near.ctl(`probe ${FAR[family]}`);
        t.match(
          probed.stdout,
          /path carries 1300; .*\n {2}exactly, by vtepd, \d+ packets\n {2}icmp: no answer\n/,
        );
        t.equal(await overlayMtu(near), 1300 - overhead);
        assertIdentity(t, await near.metrics(), 'near');
        assertIdentity(t, await far.metrics(), 'far');
      },
    );
  }

t.test('the overlay MTU follows the narrowest path as peers are added and removed', async (t) => {
  const path = await narrowPath(t, 1400);
  const vtepd = await path.lab.vtepd(path.near, '--vni 100');
  t.equal(await overlayMtu(vtepd), 1450, 'without peers, a path MTU of 1500 is assumed');
  await path.near.ip('route add 10.9.0.0/24 via 10.1.0.254 mtu 1280');
  await vtepd.ctl('peer add 10.9.0.1');
  await eventually(
    'the overlay MTU to follow the narrower path',
    async () => (await overlayMtu(vtepd)) === 1230,
  );
  await vtepd.ctl('peer del 10.9.0.1');
  await eventually('the overlay MTU to return to 1450', async () => (await overlayMtu(vtepd)) === 1450);
});

function nearVtepd({ lab, near }: NarrowPath, family: 'ipv4' | 'ipv6', engine: Engine, flags = '') {
  return lab.vtepd(near, `--vni 100 --peer ${FAR[family]} --io ${engine} ${flags}`);
}

async function kernelVxlan({ far }: NarrowPath, family: 'ipv4' | 'ipv6'): Promise<void> {
  await far.ip(`link add vxlan100 type vxlan id 100 local ${FAR[family]} remote ${NEAR[family]} dstport 4789 dev eth0
    link set vxlan100 up`);
}

async function overlayMtu(vtepd: Vtepd): Promise<number> {
  const { body } = await vtepd.get<{ overlayMtu: number }>('/v1/vnis/100');
  return body.overlayMtu;
}

async function deviceMtu(host: Namespace): Promise<number> {
  const [link] = await host.show<{ mtu: number }>('link show dev vtep100');
  return link.mtu;
}
