/**
 * The doctor's findings for real faults.
 *
 * Topology of test/support/two-hosts.ts; the far side is kernel vxlan.
 */
import t from 'tap';
import { createLab } from '../support/lab.js';
import { sendUdp } from '../support/traffic.js';
import { FAR, NEAR, twoHosts } from '../support/two-hosts.js';
import { VTEPCTL } from '../support/vtepd.js';
import { eventually } from '../support/wait.js';

t.test('without a daemon, the doctor names the owner of the port', async (t) => {
  const lab = createLab(t);
  const host = await lab.namespace('host');
  const doctor = () => host.outcome([process.execPath, VTEPCTL, 'doctor', '--api', `unix:${lab.dir}/none`]);
  t.match(await doctor(), { code: 1, stdout: /^not_running: .*\n$/ });
  await host.ip('link add vxlan7 type vxlan id 7 dstport 4789\nlink set vxlan7 up');
  t.match(
    (await doctor()).stdout,
    /\nport_taken: UDP port 4789 is taken: vxlan7 .*; .*ip link delete vxlan7/,
  );
});

t.test('a healthy pair has no findings', async (t) => {
  const { vm101, vtepd } = await twoHosts(t, 'batch');
  await vm101.run('ping -c 1 -W 5 10.10.10.105');
  t.same(await vtepd.ctl('doctor'), { code: 0, stdout: 'nothing found\n', stderr: '' });
  t.same(JSON.parse((await vtepd.ctl('doctor --json')).stdout), { items: [] });
});

t.test('each fault is reported with its cure', async (t) => {
  const { lab, near, far, vm101, vtepd } = await twoHosts(t, 'batch');
  await vm101.run('ping -c 1 -W 5 10.10.10.105');

  await near.run('nft -f -', { input: FIREWALL });
  await lab.vm(near, 'narrow', { address: '10.10.10.109/24', mtu: 1400 });
  await near.ip('link add other7 type vxlan id 7 dstport 8472\nlink set other7 up');
  await far.ip(`link add vxlan200 type vxlan id 200 local ${FAR} remote ${NEAR} dstport 4789
    address add 10.20.0.1/24 dev vxlan200
    link set vxlan200 up`);
  const findings = await vtepd.ctl('doctor');
  t.equal(findings.code, 1);
  t.match(
    findings.stdout,
    /^firewall: a rule of chain inet own input drops UDP 4789 that is received; .*nft/m,
  );
  t.match(
    findings.stdout,
    /^bridge_mtu: to-narrow in br-vxlan has MTU 1400, others have 1450; .*; ip link set dev to-narrow mtu 1450$/m,
  );
  t.match(findings.stdout, /^port_mixup: other7 \(kernel vxlan\) is on UDP 8472, vtepd on 4789; /m);
  for (const line of findings.stdout.trim().split('\n')) t.match(line, /^(notice )?\w+: .+; .+; .+$/);

  await near.run('nft flush ruleset');
  await eventually('frames of VNI 200 to be reported', async () => {
    await sendUdp(far, '10.20.0.255', 9000, 'hello');
    return /^vni_not_found: \d+ frames .*, the last for VNI 200 /m.test((await vtepd.ctl('doctor')).stdout);
  });
});

const FIREWALL = `table inet own {
  chain input {
    type filter hook input priority 0
    udp dport 4789 drop
  }
}
`;
