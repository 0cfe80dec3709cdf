/**
 * Reload by SIGHUP while a flow runs.
 *
 * Changes of the file take effect, and a ping loses no frame. A file with an error changes
 * nothing and is reported.
 *
 *     vm101 -- br-vxlan -- vtepd  near ====== veth ====== far  vxlan100 -- br-vxlan -- vm105
 */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import type { Report } from '../../src/exchange/report.js';
import { createLab } from '../support/lab.js';
import { assertIdentity } from '../support/metrics.js';
import { assertPing, SteadyPing } from '../support/traffic.js';
import { FAR, NEAR } from '../support/two-hosts.js';
import type { Vtepd } from '../support/vtepd.js';
import { eventually } from '../support/wait.js';

const BEFORE = `
vnis:
  - vni: 100
    bridge: br-vxlan
    peers: [${FAR}, 192.168.80.12, 192.168.80.13]
  - { vni: 200, bridge: br-vxlan, mtu: 1300 }
  - { vni: 300, address: 10.30.0.1/24, mac: "02:00:00:00:03:00" }
`;
/**
 * In VNI 100 one peer is changed, one peer is removed and one peer is added. VNI 200 is removed,
 * VNI 300 is replaced with the same address, and VNI 400 is added.
 */
const AFTER = `
ttl: 32
vnis:
  - vni: 100
    bridge: br-vxlan
    ageing: 60
    peers: [${FAR}, "192.168.80.12,flood=off", 192.168.80.14]
  - { vni: 300, address: 10.30.0.1/24, mac: "02:00:00:00:03:01", mtu: 1280, peers: [${FAR}] }
  - { vni: 400, bridge: br-other, mtu: 1400 }
`;

t.test('a reload applies the changes and loses no frame of a running flow', async (t) => {
  const lab = createLab(t);
  const { near, far } = await lab.hosts({ near: [`${NEAR}/24`], far: [`${FAR}/24`] });
  for (const host of [near, far]) await lab.bridge(host);
  const vm101 = await lab.vm(near, 'vm101', { address: '10.10.10.101/24' });
  await lab.vm(far, 'vm105', { address: '10.10.10.105/24' });
  await lab.kernelVtep(far, { vni: 100, local: FAR, remotes: [NEAR] });
  const file = join(lab.dir, 'vtepd.yaml');
  writeFileSync(file, BEFORE);
  const vtepd = await lab.vtepd(near, `--config ${file} --mss-clamp off`);
  await assertPing(t, vm101, '10.10.10.105');
  const steady = await SteadyPing.start(vm101, '10.10.10.105');

  await t.test('a file with an error changes nothing, and log and status report the error', async (t) => {
    writeFileSync(file, BEFORE.replace('mtu: 1300', 'mtu: 20'));
    vtepd.process.signal('SIGHUP');
    const detail = `reload failed: ${file}:6: vnis[1].mtu 20: must be "auto" or a whole number from 68 to 65535`;
    await warned(vtepd, 'reload_failed', detail);
    t.match(vtepd.log(), `${detail.replaceAll('"', '\\"')}`);
    t.strictSame(await vnis(vtepd), [100, 200, 300]);
  });

  await t.test('a file that names eth0 as TAP is refused and leaves nothing behind', async (t) => {
    writeFileSync(file, AFTER.replace('vni: 400, bridge: br-other', 'vni: 400, tap: eth0, bridge: br-other'));
    vtepd.process.signal('SIGHUP');
    await warned(vtepd, 'reload_failed', /eth0 exists and is .* not a TAP/);
    t.strictSame(await vnis(vtepd), [100, 200, 300]);
    t.strictSame(await peers(vtepd), [FAR, '192.168.80.12', '192.168.80.13']);
    t.notOk((await near.devices()).includes('br-other'));
  });

  await t.test('a valid file takes effect', async (t) => {
    writeFileSync(file, AFTER);
    vtepd.process.signal('SIGHUP');
    // vtepd adds this warning at the end of a reload. Earlier, a VNI that is being replaced can be
    // missing.
    await warned(vtepd, 'restart_needed', /--ttl/);
    t.strictSame(await vnis(vtepd), [100, 300, 400]);
    t.strictSame((await peers(vtepd)).sort(), [FAR, '192.168.80.12', '192.168.80.14']);
    const { body } = await vtepd.get<{ flood: boolean }>('/v1/vnis/100/peers/192.168.80.12');
    t.equal(body.flood, false, 'the flood setting of the peer was changed');
    t.match((await vtepd.get('/v1/vnis/100')).body, { ageing: 60 });
    t.match((await vtepd.get('/v1/vnis/300')).body, { mac: '02:00:00:00:03:01', overlayMtu: 1280 });
    const devices = await near.devices();
    t.ok(devices.includes('vtep400') && devices.includes('br-other'), 'VNI 400 was added with its bridge');
    t.notOk(devices.includes('vtep200'), 'VNI 200 was removed');
    const warnings = await warningsOf(vtepd);
    t.notOk(
      warnings.some(({ code }) => code === 'reload_failed'),
      'the warning of the failed reload is cleared',
    );
    t.match(
      warnings.find(({ code }) => code === 'restart_needed'),
      { detail: '--ttl: changed in the configuration', cure: 'restart vtepd to apply' },
    );
  });

  await t.test('the first file takes effect again', async (t) => {
    writeFileSync(file, BEFORE);
    vtepd.process.signal('SIGHUP');
    await eventually(
      'the first configuration to be in effect',
      async () => !(await warningsOf(vtepd)).some(({ code }) => code === 'restart_needed'),
    );
    t.strictSame(await vnis(vtepd), [100, 200, 300]);
    t.notOk((await near.devices()).includes('br-other'), 'the bridge was removed with its last port');
    t.strictSame((await peers(vtepd)).sort(), [FAR, '192.168.80.12', '192.168.80.13']);
  });

  const { sent, lost } = await steady.stop();
  t.equal(lost, 0, `none of ${sent} pings was lost`);
  assertIdentity(t, await vtepd.metrics());

  await t.test('a reload of a daemon without --config changes nothing', async (t) => {
    const other = await lab.vtepd(far, '--vni 7 --port 4790');
    other.process.signal('SIGHUP');
    await other.process.untilOutput(/nothing to reload: vtepd runs without --config/);
    t.strictSame(await vnis(other), [7]);
    t.equal(await other.stop(), 0);
  });
});

async function vnis(vtepd: Vtepd): Promise<number[]> {
  const { body } = await vtepd.get<{ items: { vni: number }[] }>('/v1/vnis');
  return body.items.map(({ vni }) => vni).sort((a, b) => a - b);
}

async function peers(vtepd: Vtepd): Promise<string[]> {
  const { body } = await vtepd.get<{ items: { address: string }[] }>('/v1/vnis/100/peers');
  return body.items.map(({ address }) => address);
}

async function warningsOf(vtepd: Vtepd): Promise<Report[]> {
  const { body } = await vtepd.get<{ warnings: Report[] }>('/v1/status');
  return body.warnings;
}

/** Waits until the status contains the warning. */
async function warned(vtepd: Vtepd, code: string, detail: string | RegExp): Promise<void> {
  const fits = (text: string) => (typeof detail === 'string' ? text === detail : detail.test(text));
  await eventually(`${code} ${detail}`, async () => {
    const warnings = await warningsOf(vtepd);
    return warnings.some((warning) => warning.code === code && fits(warning.detail));
  });
}
