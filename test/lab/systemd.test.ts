/**
 * The unit files under the real systemd of this distribution.
 *
 * systemd boots in the namespace of a host (test/support/service-container.ts). Only times in the
 * units are changed, so that the watchdog expires within seconds.
 *
 *     near  a machine with systemd: vtepd.service  eth0 ═══ eth0 ═ vxlan100 ─ br-vxlan  far
 *            └ br-vxlan (of vtepd) ─ vm101 10.10.10.101      10.10.10.105 vm105 ┘
 */
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { run } from '../support/command.js';
import { createLab, type Lab } from '../support/lab.js';
import type { Namespace } from '../support/netns.js';
import { compileTool, TWO_CAPABILITIES } from '../support/plain-user.js';
import { ServiceContainer } from '../support/service-container.js';
import { assertPing } from '../support/traffic.js';
import { eventually } from '../support/wait.js';

const NEAR = '192.168.80.10';
const FAR = '192.168.80.11';
const CONFIG = '/etc/vtepd/vtepd.yaml';
const GOOD = `api: unix:/run/vtepd/api.sock
vnis:
  - vni: 100
    bridge: br-vxlan
    peers: [${FAR}]
`;
const SHORT_TIMES = '[Service]\nWatchdogSec=4\nRestartSec=100ms\n';
const WATCHDOG_MS = 4000;
const STATUS = 'vtepctl --api unix:/run/vtepd/api.sock status';

t.test('vtepd.service becomes ready, reloads, is restarted by the watchdog, and stops', async (t) => {
  const { lab, near, vm105, machine, config } = await machineWithSystemd(t);
  const before = await near.devices();

  await machine.run('systemctl start vtepd');
  t.equal(await machine.property('vtepd', 'ActiveState'), 'active', 'start returned after vtepd was ready');
  t.match(await machine.property('vtepd', 'StatusText'), /^1 VNI, 1 peer, UDP port 4789 \(batch\)$/);
  const vm101 = await lab.vm(near, 'vm101', { address: '10.10.10.101/24' });
  await assertPing(t, vm101, '10.10.10.105');
  await assertPing(t, vm105, '10.10.10.101');
  await assertConfined(t, machine);
  for (const name of ['accept_ra', 'autoconf', 'accept_redirects'])
    t.equal(await setting(near, name), '0', `br-vxlan has ${name}=0: vtepd may write /proc/sys/net`);
  t.notMatch(await machine.run(STATUS), /host_obeys_overlay/);

  t.comment('a file with an error');
  const pid = await machine.property('vtepd', 'MainPID');
  writeFileSync(config, GOOD.replace('100', '16777216'));
  const reload = await machine.outcome('systemctl reload vtepd');
  t.not(reload.code, 0, 'reload fails');
  t.match(await machine.journal('vtepd'), /16777216/, 'the journal contains the reason');
  t.equal(await machine.property('vtepd', 'MainPID'), pid, 'the process continues');

  t.comment('a file without an error');
  writeFileSync(config, GOOD.replace(FAR, `${FAR}, 192.168.80.99`));
  await machine.run('systemctl reload vtepd');
  await eventually('a second peer', async () =>
    /2 peers/.test(await machine.property('vtepd', 'StatusText')),
  );
  t.equal(await machine.property('vtepd', 'ActiveState'), 'active', 'the reload has ended');
  t.equal(await machine.property('vtepd', 'MainPID'), pid, 'the process is the same');
  writeFileSync(config, GOOD);

  t.comment('a stalled data plane');
  const holder = machine.start(['/opt/hold-thread', pid]);
  await holder.untilOutput(/thread stopped/);
  await eventually(
    'systemd to restart vtepd',
    async () => (await machine.property('vtepd', 'NRestarts')) === '1',
    4 * WATCHDOG_MS,
  );
  await holder.exit(5_000);
  const journal = await machine.journal('vtepd');
  t.match(journal, /the data plane has stalled/, 'vtepd logs the stall');
  t.match(journal, /Watchdog timeout/, 'systemd missed the notifications');
  await eventually(
    'vtepd to be ready again',
    async () => (await machine.property('vtepd', 'SubState')) === 'running',
  );
  await assertPing(t, vm101, '10.10.10.105');

  t.comment('the stop');
  await near.ip('link delete to-vm101');
  await machine.run('systemctl stop vtepd');
  t.equal(await machine.property('vtepd', 'Result'), 'success');
  t.same(await near.devices(), before, 'no device is left');
  t.not((await machine.outcome('test -e /run/vtepd')).code, 0, 'no runtime directory is left');
  t.equal(
    (await machine.run('stat -L -c %U:%a /var/lib/vtepd')).trim(),
    'vtepd:750',
    'the state directory stays',
  );
});

t.test('a machine that keeps /proc/sys read-only is reported until the values are right', async (t) => {
  const { near, machine } = await machineWithSystemd(t);
  const folder = '/run/systemd/system/vtepd.service.d';
  const dropIn = '[Service]\nReadWritePaths=\n';
  await machine.run(['sh', '-c', `mkdir -p ${folder} && printf "$1" >${folder}/tight.conf`, 'sh', dropIn]);
  await machine.run('systemctl daemon-reload');
  await machine.run('systemctl start vtepd');
  const { warnings } = JSON.parse(await machine.run(`${STATUS} --json`));
  const reported = warnings.find(({ code }: { code: string }) => code === 'host_obeys_overlay');
  t.match(reported?.cure, /sysctl -w net\.ipv6\.conf\.br-vxlan\.accept_ra=0 /, reported?.detail);
  t.notMatch(reported?.cure, /ipv4/, 'IPv4 settings are set by netlink');
  const { code, stdout } = await machine.outcome('vtepctl --api unix:/run/vtepd/api.sock doctor');
  t.equal(code, 1, 'the doctor reports a problem');
  t.match(stdout, /^host_obeys_overlay: /m);

  const lines = /sysctl -w ([^;]*)/.exec(reported.cure)![1];
  await near.run(`sysctl -q -w ${lines}`);
  await eventually('the warning to end', async () => !/host_obeys/.test(await machine.run(STATUS)));
});

t.test('systemd does not restart vtepd.service after an invalid configuration', async (t) => {
  const { machine, config } = await machineWithSystemd(t);
  writeFileSync(config, 'vnis: [{vni: -1}]\n');
  t.not((await machine.outcome('systemctl start vtepd')).code, 0, 'start fails');
  t.equal(await machine.property('vtepd', 'ActiveState'), 'failed');
  t.equal(await machine.property('vtepd', 'ExecMainStatus'), '2');
  t.equal(await machine.property('vtepd', 'NRestarts'), '0');
});

t.test('instances of vtepd@.service run side by side, each with its own file and state', async (t) => {
  const { near, machine } = await machineWithSystemd(t);
  await machine.run(['cp', CONFIG, '/etc/vtepd/one.yaml']);
  const other = "sed 's/100/200/; s/br-vxlan/br-two/; s|/run/vtepd/|/run/vtepd-two/|; $a port: 4790'";
  await machine.run([
    'sh',
    '-c',
    `sed -i s,/run/vtepd/,/run/vtepd-one/, /etc/vtepd/one.yaml
    ${other} ${CONFIG} >/etc/vtepd/two.yaml`,
  ]);
  await machine.run('systemctl start vtepd@one vtepd@two');
  t.match(await machine.property('vtepd@one', 'StatusText'), /port 4789/);
  t.match(await machine.property('vtepd@two', 'StatusText'), /port 4790/);
  await machine.run('vtepctl --api unix:/run/vtepd-two/api.sock peer add 192.168.80.99 --vni 200');
  t.match(
    await machine.run('cat /var/lib/vtepd/two.json'),
    /192\.168\.80\.99/,
    'a change through the API of an instance is stored in its state',
  );
  await machine.run('systemctl stop vtepd@one');
  t.equal(
    await machine.property('vtepd@two', 'ActiveState'),
    'active',
    'stopping one instance does not stop the other',
  );
  await machine.run('vtepctl --api unix:/run/vtepd-two/api.sock status');
  t.ok((await near.devices()).includes('vtep200'));
});

t.test('the drop-in of docs/systemd.md adds CAP_BPF and no other capability', async (t) => {
  const { machine } = await machineWithSystemd(t);
  const docs = readFileSync(new URL('../../docs/systemd.md', import.meta.url), 'utf8');
  const dropIn = /\[Service\](\n +\S+=\S+)+/.exec(docs)?.[0].replaceAll(/^ +/gm, '') ?? '';
  t.match(dropIn, /CAP_BPF/);
  const folder = '/run/systemd/system/vtepd.service.d';
  await machine.run(['sh', '-c', `mkdir -p ${folder} && echo "$1" >${folder}/bpf.conf`, 'sh', dropIn]);
  await machine.run('systemctl daemon-reload');
  await machine.run('systemctl start vtepd');
  const pid = await machine.property('vtepd', 'MainPID');
  t.match(
    await machine.run(`cat /proc/${pid}/status`),
    /^CapEff:\t0000008000003000$/m,
    'vtepd has CAP_BPF in addition',
  );
  const status = await machine.run('vtepctl --api unix:/run/vtepd/api.sock status');
  t.notMatch(status, /offload_not_permitted/, status.split('\n')[2]);
});

t.test('systemd-analyze accepts both units', async (t) => {
  const { machine } = await machineWithSystemd(t);
  const verify = 'systemd-analyze verify --man=no --recursive-errors=no vtepd.service vtepd@lab.service';
  const { code, stdout, stderr } = await machine.outcome(verify);
  t.same({ code, messages: unitMessages(stdout + stderr) }, { code: 0, messages: [] });
  for (const unit of ['vtepd.service', 'vtepd@lab.service']) {
    const { stdout: security } = await machine.outcome(`systemd-analyze security --no-pager ${unit}`);
    const exposure = Number(/exposure level for .*: ([\d.]+)/.exec(security)?.[1]);
    t.comment(`exposure of ${unit}: ${exposure}`);
    t.ok(exposure <= 2.5, 'the exposure level is at most 2.5');
  }
});

t.test('the filter allows every system call of the shim except bpf(2)', async (t) => {
  const sets = callSets(await run('systemd-analyze syscall-filter --no-pager'));
  const unit = readFileSync(new URL('../../systemd/vtepd.service', import.meta.url), 'utf8');
  const allowed = new Set(expand(sets, '@default'));
  for (const [, not, names] of unit.matchAll(/^SystemCallFilter=(~?)(.*)$/gm))
    for (const name of names.split(' ').flatMap((name) => expand(sets, name)))
      not === '~' ? allowed.delete(name) : allowed.add(name);
  const calls = new Set(shimCalls());
  t.ok(calls.size > 20, `${calls.size} system calls are listed`);
  t.same(
    [...calls].filter((name) => !allowed.has(name)),
    ['bpf'],
    'bpf(2) requires a capability that the unit does not have',
  );
  for (const name of ['execve', 'clone3', 'mprotect', 'fsync', 'rename', 'chmod', 'unlink', 'prlimit64'])
    t.ok(allowed.has(name), `${name} is allowed, for Node and ip(8)`);
  for (const name of ['mount', 'ptrace', 'kexec_load', 'init_module', 'chown', 'reboot'])
    t.notOk(allowed.has(name), `${name} is not allowed`);
});

/** Value of a setting of the IPv6 stack of br-vxlan. */
async function setting(near: Namespace, name: string): Promise<string> {
  return (await near.run(`cat /proc/sys/net/ipv6/conf/br-vxlan/${name}`)).trim();
}

/** Messages about vtepd's units; those about other units of the distribution are ignored. */
function unitMessages(text: string): string[] {
  return text.split('\n').filter((line) => line.includes('vtepd'));
}

/** Sets of system calls by name, as `systemd-analyze syscall-filter` prints them. */
function callSets(text: string): Map<string, string[]> {
  const sets = new Map<string, string[]>();
  let members: string[] = [];
  for (const line of text.split('\n')) {
    if (line.startsWith('@')) sets.set(line.trim(), (members = []));
    else if (/^ +[@\w-]+$/.test(line)) members.push(line.trim());
  }
  return sets;
}

function expand(sets: ReadonlyMap<string, string[]>, name: string): string[] {
  return sets.get(name)?.flatMap((member) => expand(sets, member)) ?? [name];
}

/** System calls listed in the comments of the shim's functions. */
function shimCalls(): string[] {
  const folder = new URL('../../native-shims/', import.meta.url);
  const sources = readdirSync(folder).filter((name) => name.endsWith('.c'));
  const texts = sources.map((name) => readFileSync(new URL(name, folder), 'utf8'));
  return texts.flatMap((text) =>
    [...text.matchAll(/#syscalls ([\w ]+)/g)].flatMap(([, names]) => names.trim().split(' ')),
  );
}

interface Machine {
  lab: Lab;
  near: Namespace;
  vm105: Namespace;
  machine: ServiceContainer;
  /** Path, outside of the container, of the configuration file of vtepd. */
  config: string;
}

async function machineWithSystemd(t: Test): Promise<Machine> {
  const lab = createLab(t);
  const { near, far } = await lab.hosts({ near: [`${NEAR}/24`], far: [`${FAR}/24`] });
  await lab.bridge(far);
  const vm105 = await lab.vm(far, 'vm105', { address: '10.10.10.105/24' });
  await lab.kernelVtep(far, { vni: 100, local: FAR, remotes: [NEAR] });
  const config = join(lab.dir, 'vtepd.yaml');
  writeFileSync(config, GOOD);
  const machine = await ServiceContainer.boot(near, lab.dir, {
    files: { '/etc/systemd/system/vtepd.service.d/times.conf': SHORT_TIMES },
    binds: { [CONFIG]: config },
    tools: [await compileTool(lab.dir, 'hold-thread')],
  });
  // Runs before the lab removes the namespace. By then the container must not use the namespace.
  lab.before(async () => {
    if (!t.passing()) t.comment(await machine.journal('vtepd'));
    await machine.stop();
  });
  await machine.run('systemd-sysusers');
  // udev sets this mode on a real machine.
  await machine.run('chmod 666 /dev/net/tun');
  return { lab, near, vm105, machine, config };
}

/** Asserts that the process has the restrictions of the unit. */
async function assertConfined(t: Test, machine: ServiceContainer): Promise<void> {
  const pid = await machine.property('vtepd', 'MainPID');
  const status = await machine.run(`cat /proc/${pid}/status`);
  const uid = (await machine.run('id -u vtepd')).trim();
  t.not(uid, '0');
  t.match(status, new RegExp(`^Uid:\t${uid}\t`, 'm'), 'vtepd runs as its own user');
  for (const set of ['Prm', 'Eff', 'Bnd', 'Amb'])
    t.match(
      status,
      new RegExp(`^Cap${set}:\t${TWO_CAPABILITIES}$`, 'm'),
      `Cap${set} has exactly the two capabilities`,
    );
  t.match(status, /^NoNewPrivs:\t1$/m);
  t.match(status, /^Seccomp:\t2$/m, 'system calls are filtered');
  t.equal(
    (await machine.run('stat -c %U:%G:%a /run/vtepd/api.sock')).trim(),
    'vtepd:vtepd:660',
    'the socket is accessible to members of the group',
  );
  const asMember = ['setpriv', '--reuid=65534', '--regid=65534', '--groups', uid];
  const ctl = ['vtepctl', '--api', 'unix:/run/vtepd/api.sock', 'status'];
  t.match(await machine.run([...asMember, ...ctl]), /4789/, 'a member of the group reaches the socket');
  const stranger = await machine.outcome([
    'setpriv',
    '--reuid=65534',
    '--regid=65534',
    '--clear-groups',
    ...ctl,
  ]);
  t.not(stranger.code, 0, 'other users do not reach the socket');
}
