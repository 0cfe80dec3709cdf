/**
 * Faults of the machine and of the daemon itself under traffic: each ends in a daemon that works again, or in a clear exit.
 *
 *     vm101 ── br-vxlan ── vtep100 ── vtepd ── near eth0 ══ veth ══ eth0 far ── vxlan100 ── br-vxlan ── vm105
 */
import { existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import t from 'tap';
import { run } from '../support/command.js';
import { UNDERLAY_DEV } from '../support/lab.js';
import { assertIdentity } from '../support/metrics.js';
import type { Namespace } from '../support/netns.js';
import { toolPath } from '../support/netns.js';
import { compileTool } from '../support/plain-user.js';
import { assertPing } from '../support/traffic.js';
import { FAR, FAR_VM, NEAR, type TwoHosts, twoHosts } from '../support/two-hosts.js';
import { startVtepd, VTEPCTL, type Vtepd } from '../support/vtepd.js';
import { eventually } from '../support/wait.js';

/** How soon a fault that has ended is got over, ms. */
const RECOVERY_MS = 15_000;
/** When a peer that does not answer is silent, with the looks of 5 s before and after, s. */
const SILENT_S = 25;
/** Debian has a folder of libraries for each architecture. */
const FAKETIME = readdirSync('/usr/lib')
  .map((folder) => `/usr/lib/${folder}/faketime/libfaketimeMT.so.1`)
  .find((file) => existsSync(file));
const FAULTS = { NODE_OPTIONS: `--import=${toolPath('faults.mjs')}` };

async function works({ vm101 }: Pick<TwoHosts, 'vm101'>, what: string): Promise<void> {
  const ping = async () => (await vm101.outcome(`ping -n -q -c 1 -W 1 ${FAR_VM}`)).code === 0;
  await eventually(`a ping after ${what}`, ping, RECOVERY_MS);
}

/** Answers of a ping that ran while `act` did, and how many there could be. */
async function pingsDuring(vm: Namespace, act: () => Promise<void>): Promise<[number, number]> {
  const ping = vm.start(`ping -n -q -i 0.05 -c 60 -W 5 ${FAR_VM}`);
  await act();
  await ping.exit(60_000);
  const [, sent, received] = /(\d+) packets transmitted, (\d+) received/.exec(ping.stdout) ?? [];
  return [Number(received), Number(sent)];
}

interface Listed {
  readonly vni: number;
  readonly state: string;
}

async function statesOf(vtepd: Vtepd): Promise<unknown[]> {
  const { body } = await vtepd.get<{ items: Listed[] }>('/v1/vnis');
  return body.items.map(({ vni, state }) => [vni, state]);
}

t.test('the underlay goes and comes back: link, address, queue', async (t) => {
  const hosts = await twoHosts(t, 'batch');
  const { near, vm101, vtepd } = hosts;
  await assertPing(t, vm101, FAR_VM);
  for (const [what, fault, cure] of [
    ['the link', `link set ${UNDERLAY_DEV} down`, `link set ${UNDERLAY_DEV} up`],
    [
      'the address',
      `address del ${NEAR}/24 dev ${UNDERLAY_DEV}`,
      `address add ${NEAR}/24 dev ${UNDERLAY_DEV}`,
    ],
  ] as const) {
    await near.ip(fault);
    const { code } = await vm101.outcome(`ping -n -q -c 2 -i 0.2 -W 1 ${FAR_VM}`);
    t.equal(code, 1, `without ${what} nothing arrives`);
    await near.ip(cure);
    await works(hosts, what);
  }
  const full = async () => (await vtepd.metrics()).drops('encap').underlay_full ?? 0;
  await near.run(`tc qdisc replace dev ${UNDERLAY_DEV} root tbf rate 100kbit burst 2kb limit 2kb`);
  await vm101.outcome(`ping -n -q -f -c 400 -s 1000 -W 1 ${FAR_VM}`);
  await eventually('frames that found the queue full to be counted', async () => (await full()) > 0);
  await near.run(`tc qdisc del dev ${UNDERLAY_DEV} root`);
  await works(hosts, 'ENOBUFS');
  t.equal((await vtepd.get('/readyz')).status, 200);
  assertIdentity(t, await vtepd.metrics());
});

t.test('the disk for the state is full: nothing is changed, and later it is', async (t) => {
  const hosts = await twoHosts(t, 'batch');
  const { lab, near } = hosts;
  await hosts.vtepd.stop();
  const disk = join(lab.dir, 'disk');
  mkdirSync(disk);
  await run(`mount -t tmpfs -o size=64k tmpfs ${disk}`);
  lab.before(async () => {
    await daemon.stop();
    await run(`umount ${disk}`);
  });
  const command = `--vni 100 --peer ${FAR} --bridge br-vxlan --state ${join(disk, 'state.json')}`;
  const daemon = await startVtepd(near, lab.dir, command);
  t.equal((await daemon.call('POST', '/v1/vnis', { vni: 200 })).status, 201);
  await run(['sh', '-c', `cat /dev/zero > ${join(disk, 'filler')} || true`]);
  const refused = await daemon.call<{ code: string; detail: string }>('POST', '/v1/vnis', { vni: 300 });
  t.match(refused, { status: 500, body: { code: 'host_refused', detail: /ENOSPC/ } });
  t.same(await statesOf(daemon), [
    [100, 'up'],
    [200, 'up'],
  ]);
  t.notOk((await near.devices()).includes('vtep300'));
  await works(hosts, 'a full disk');
  rmSync(join(disk, 'filler'));
  t.equal((await daemon.call('POST', '/v1/vnis', { vni: 300 })).status, 201);
  t.equal(await daemon.stop(), 0);
  const again = await startVtepd(near, lab.dir, command);
  t.equal((await again.get('/v1/vnis/300')).status, 200, 'it was kept');
  t.equal(await again.stop(), 0);
});

t.test('stopped under traffic (SIGSTOP), it goes on where it was', async (t) => {
  const hosts = await twoHosts(t, 'batch', '--workers 2');
  const { vm101, vtepd } = hosts;
  await assertPing(t, vm101, FAR_VM);
  const [received, sent] = await pingsDuring(vm101, async () => {
    vtepd.process.signal('SIGSTOP');
    await new Promise((resolve) => setTimeout(resolve, 2500));
    vtepd.process.signal('SIGCONT');
  });
  t.ok(received >= sent * 0.9, `${received} of ${sent} were answered, late`);
  t.equal((await vtepd.get('/readyz')).status, 200);
  t.notMatch(vtepd.log(), /has failed/);
  assertIdentity(t, await vtepd.metrics());
});

t.test('a data-plane thread is held: a VNI that cannot be made settles, and no thread dies', async (t) => {
  const hosts = await twoHosts(t, 'batch');
  const { lab, near, vm101, vtepd } = hosts;
  const program = await compileTool(lab.dir, 'hold-thread');
  const holder = near.start([program, String(vtepd.process.pid)]);
  await holder.says(/held/);
  const late = await vtepd.call<{ code: string }>('POST', '/v1/vnis', { vni: 200, peers: [FAR] });
  t.match(late, { status: 503, body: { code: 'dataplane_timeout' } });
  t.same(await statesOf(vtepd), [
    [100, 'up'],
    [200, 'settling'],
  ]);
  t.ok((await near.devices()).includes('vtep200'), 'its TAP is open: the thread may still be told of it');
  const again = await vtepd.call<{ code: string }>('POST', '/v1/vnis', { vni: 200 });
  t.match(again, { status: 409, body: { code: 'vni_exists', detail: /settling/ } });
  t.match((await vtepd.ctl('vni list')).stdout, /\n200 .* settling\n/);
  const deleted = await vtepd.call('DELETE', '/v1/vnis/200');
  t.match(deleted, { status: 404, body: { code: 'vni_not_found', detail: /settling/ } });
  await holder.stop('SIGTERM');
  await eventually('VNI 200 to go', async () => (await statesOf(vtepd)).length === 1, RECOVERY_MS);
  t.notOk((await near.devices()).includes('vtep200'));
  t.equal((await vtepd.call('POST', '/v1/vnis', { vni: 200, peers: [FAR] })).status, 201);
  await assertPing(t, vm101, FAR_VM);
  t.notMatch(vtepd.log(), /has failed|was it deleted|EBADF/);
  assertIdentity(t, await vtepd.metrics());
});

t.test('a data-plane thread crashes under load: it is replaced, and no TAP is blamed', async (t) => {
  const hosts = await twoHosts(t, 'batch', '--workers 2', FAULTS);
  const { vm101, vtepd } = hosts;
  await assertPing(t, vm101, FAR_VM);
  const [received, sent] = await pingsDuring(vm101, async () => {
    const crashed = await vtepd.call('DELETE', '/v1/vnis/100/fdb/02:de:ad:00:00:01');
    t.match(crashed, { status: 503, body: { code: 'dataplane_down' } });
    await eventually('its successor', async () => (await vtepd.get('/readyz')).status === 200, RECOVERY_MS);
  });
  t.ok(received > 0, `${received} of ${sent} were answered`);
  await assertPing(t, vm101, FAR_VM);
  await works(hosts, 'the crash');
  t.match(vtepd.log(), /the data plane was restarted; FDB and counters were kept/);
  t.notMatch(vtepd.log(), /TAP device/);
  t.equal((await vtepd.call('POST', '/v1/vnis', { vni: 200 })).status, 201);
  assertIdentity(t, await vtepd.metrics());
});

t.test('the clock of the machine is set back and forward while it runs', async (t) => {
  const dir = mkdtempSync(join(tmpdir(), 'vtepd-clock-'));
  t.teardown(() => rmSync(dir, { recursive: true }));
  const clock = join(dir, 'clock');
  writeFileSync(clock, '+0');
  const hosts = await twoHosts(t, 'batch', '--workers 2', {
    LD_PRELOAD: FAKETIME!,
    FAKETIME_TIMESTAMP_FILE: clock,
    FAKETIME_NO_CACHE: '1',
    FAKETIME_DONT_FAKE_MONOTONIC: '1',
  });
  const { vm101, vtepd } = hosts;
  await assertPing(t, vm101, FAR_VM);
  const command = [
    process.execPath,
    VTEPCTL,
    '--api',
    `unix:${vtepd.socket}`,
    'events',
    '--type',
    'peer',
    '--json',
  ];
  const events = hosts.lab.keep(hosts.near.start(command));
  for (const offsetS of [-3600, 3600, 0]) {
    writeFileSync(clock, offsetS < 0 ? `${offsetS}` : `+${offsetS}`);
    await works(hosts, `a step to ${offsetS} s`);
    // The step back is the one after which an older time would look as if nothing had been heard since.
    if (offsetS < 0) await vm101.outcome(`ping -n -q -i 0.1 -c ${SILENT_S * 10} -W 1 ${FAR_VM}`);
    await eventually(
      `the peer to be heard at the time of a clock that is ${offsetS} s off`,
      async () => {
        await vm101.outcome(`ping -n -q -c 4 -i 0.05 -W 1 ${FAR_VM}`);
        const { body } = await vtepd.get<{ items: { lastSeen: string }[] }>('/v1/vnis/100/peers');
        return Math.abs(Date.parse(body.items[0].lastSeen) - Date.now() - offsetS * 1000) < 5000;
      },
      RECOVERY_MS,
    );
    const { length } = await vtepd.fdb(100);
    t.ok(length > 0, 'what was learned is kept');
  }
  t.notMatch(events.stdout, /silent/, 'a peer that answers is never silent');
  t.ok(events.alive);
  t.equal((await vtepd.get('/readyz')).status, 200);
  assertIdentity(t, await vtepd.metrics());
});

t.test('the heap of the main thread is full: it ends, and leaves nothing in the way', async (t) => {
  const hosts = await twoHosts(t, 'batch', '', {
    NODE_OPTIONS: `--max-old-space-size=64 ${FAULTS.NODE_OPTIONS}`,
  });
  const { lab, near, vtepd } = hosts;
  await works(hosts, 'a start in a small heap');
  vtepd.process.signal('SIGUSR2');
  t.not(await vtepd.process.exit(RECOVERY_MS), 0, 'it does not pretend that all is well');
  t.match(vtepd.log(), /heap out of memory/i, 'the reason is in the log');
  const gone = async () => !(await near.devices()).some((device) => /^vt/.test(device));
  await eventually('its devices to be gone', gone);
  await lab.vtepd(near, `--vni 100 --peer ${FAR} --bridge br-vxlan`);
  await works(hosts, 'another start');
});
