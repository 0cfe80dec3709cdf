/**
 * Faults of the machine and of the daemon under traffic.
 *
 * vtepd recovers from each fault, or exits with the reason in its log.
 *
 *     vm101 ─ br-vxlan ─ vtep100 ─ vtepd ─ near eth0 ═ veth ═ eth0 far ─ vxlan100 ─ br-vxlan ─
 * vm105
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

/** Time limit of the recovery after a fault has ended, ms. */
const RECOVERY_MS = 15_000;
/**
 * Time after which a peer that does not answer has certainly been reported as silent, seconds: the
 * limit of 15, plus two intervals of 5 between checks.
 */
const SILENT_S = 25;
/** Path of libfaketime; Debian has one directory of libraries per architecture. */
const FAKETIME = readdirSync('/usr/lib')
  .map((folder) => `/usr/lib/${folder}/faketime/libfaketimeMT.so.1`)
  .find((file) => existsSync(file));
const FAULTS = { NODE_OPTIONS: `--import=${toolPath('faults.mjs')}` };

async function untilPingWorks({ vm101 }: Pick<TwoHosts, 'vm101'>, what: string): Promise<void> {
  const ping = async () => (await vm101.outcome(`ping -n -q -c 1 -W 1 ${FAR_VM}`)).code === 0;
  await eventually(`a ping after ${what}`, ping, RECOVERY_MS);
}

/** Runs `act` during a ping; returns the number of answers and the number of pings sent. */
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

t.test('traffic recovers after the loss of link or address, and after a full queue', async (t) => {
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
    t.equal(code, 1, `no ping is answered without ${what}`);
    await near.ip(cure);
    await untilPingWorks(hosts, `the return of ${what}`);
  }
  const full = async () => (await vtepd.metrics()).drops('encap').underlay_full ?? 0;
  await near.run(`tc qdisc replace dev ${UNDERLAY_DEV} root tbf rate 100kbit burst 2kb limit 2kb`);
  await vm101.outcome(`ping -n -q -f -c 400 -s 1000 -W 1 ${FAR_VM}`);
  await eventually('frames dropped at the full queue to be counted', async () => (await full()) > 0);
  await near.run(`tc qdisc del dev ${UNDERLAY_DEV} root`);
  await untilPingWorks(hosts, 'ENOBUFS');
  t.equal((await vtepd.get('/readyz')).status, 200);
  assertIdentity(t, await vtepd.metrics());
});

t.test('a change fails while the disk for the state is full, and succeeds later', async (t) => {
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
  await untilPingWorks(hosts, 'a full disk');
  rmSync(join(disk, 'filler'));
  t.equal((await daemon.call('POST', '/v1/vnis', { vni: 300 })).status, 201);
  t.equal(await daemon.stop(), 0);
  const again = await startVtepd(near, lab.dir, command);
  t.equal((await again.get('/v1/vnis/300')).status, 200, 'the change was persisted');
  t.equal(await again.stop(), 0);
});

t.test('vtepd stopped under traffic (SIGSTOP) continues after SIGCONT', async (t) => {
  const hosts = await twoHosts(t, 'batch', '--workers 2');
  const { vm101, vtepd } = hosts;
  await assertPing(t, vm101, FAR_VM);
  const [received, sent] = await pingsDuring(vm101, async () => {
    vtepd.process.signal('SIGSTOP');
    await new Promise((resolve) => setTimeout(resolve, 2500));
    vtepd.process.signal('SIGCONT');
  });
  t.ok(received >= sent * 0.9, `${received} of ${sent} pings were answered after the stop`);
  t.equal((await vtepd.get('/readyz')).status, 200);
  t.notMatch(vtepd.log(), /has failed/);
  assertIdentity(t, await vtepd.metrics());
});

t.test('a VNI added while a data-plane thread is stopped is removed later, and no thread dies', async (t) => {
  const hosts = await twoHosts(t, 'batch');
  const { lab, near, vm101, vtepd } = hosts;
  const program = await compileTool(lab.dir, 'hold-thread');
  const holder = near.start([program, String(vtepd.process.pid)]);
  await holder.untilOutput(/thread stopped/);
  const late = await vtepd.call<{ code: string }>('POST', '/v1/vnis', { vni: 200, peers: [FAR] });
  t.match(late, { status: 503, body: { code: 'dataplane_timeout' } });
  t.same(await statesOf(vtepd), [
    [100, 'up'],
    [200, 'settling'],
  ]);
  t.ok(
    (await near.devices()).includes('vtep200'),
    'the TAP of VNI 200 stays open, because the thread can still process the change',
  );
  const again = await vtepd.call<{ code: string }>('POST', '/v1/vnis', { vni: 200 });
  t.match(again, { status: 409, body: { code: 'vni_exists', detail: /settling/ } });
  t.match((await vtepd.ctl('vni list')).stdout, /\n200 .* settling\n/);
  const deleted = await vtepd.call('DELETE', '/v1/vnis/200');
  t.match(deleted, { status: 404, body: { code: 'vni_not_found', detail: /settling/ } });
  await holder.stop('SIGTERM');
  await eventually('VNI 200 to be removed', async () => (await statesOf(vtepd)).length === 1, RECOVERY_MS);
  t.notOk((await near.devices()).includes('vtep200'));
  t.equal((await vtepd.call('POST', '/v1/vnis', { vni: 200, peers: [FAR] })).status, 201);
  await assertPing(t, vm101, FAR_VM);
  t.notMatch(vtepd.log(), /has failed|was it deleted|EBADF/);
  assertIdentity(t, await vtepd.metrics());
});

t.test('a data-plane thread that crashes under load is replaced without a TAP error', async (t) => {
  const hosts = await twoHosts(t, 'batch', '--workers 2', FAULTS);
  const { vm101, vtepd } = hosts;
  await assertPing(t, vm101, FAR_VM);
  const [received, sent] = await pingsDuring(vm101, async () => {
    const crashed = await vtepd.call('DELETE', '/v1/vnis/100/fdb/02:de:ad:00:00:01');
    t.match(crashed, { status: 503, body: { code: 'dataplane_down' } });
    await eventually('a new thread', async () => (await vtepd.get('/readyz')).status === 200, RECOVERY_MS);
  });
  t.ok(received > 0, `${received} of ${sent} pings were answered`);
  await assertPing(t, vm101, FAR_VM);
  await untilPingWorks(hosts, 'the crash');
  t.match(vtepd.log(), /the data plane was restarted; FDB and counters were kept/);
  t.notMatch(vtepd.log(), /TAP device/);
  t.equal((await vtepd.call('POST', '/v1/vnis', { vni: 200 })).status, 201);
  assertIdentity(t, await vtepd.metrics());
});

t.test('steps of the system clock in both directions have no effect', async (t) => {
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
    await untilPingWorks(hosts, `a step to ${offsetS} s`);
    // If vtepd compared wall-clock times, a step to an earlier time would make the peer look
    // silent; a step forward would not show this.
    if (offsetS < 0) await vm101.outcome(`ping -n -q -i 0.1 -c ${SILENT_S * 10} -W 1 ${FAR_VM}`);
    await eventually(
      `lastSeen of the peer to follow a clock that is ${offsetS} s off`,
      async () => {
        await vm101.outcome(`ping -n -q -c 4 -i 0.05 -W 1 ${FAR_VM}`);
        const { body } = await vtepd.get<{ items: { lastSeen: string }[] }>('/v1/vnis/100/peers');
        return Math.abs(Date.parse(body.items[0].lastSeen) - Date.now() - offsetS * 1000) < 5000;
      },
      RECOVERY_MS,
    );
    const { length } = await vtepd.fdb(100);
    t.ok(length > 0, 'learned entries are kept');
  }
  t.notMatch(events.stdout, /silent/, 'a peer that answers is never reported as silent');
  t.ok(events.alive);
  t.equal((await vtepd.get('/readyz')).status, 200);
  assertIdentity(t, await vtepd.metrics());
});

t.test('vtepd exits when the heap of its main thread is full, and can be started again', async (t) => {
  const hosts = await twoHosts(t, 'batch', '', {
    NODE_OPTIONS: `--max-old-space-size=64 ${FAULTS.NODE_OPTIONS}`,
  });
  const { lab, near, vtepd } = hosts;
  await untilPingWorks(hosts, 'a start in a small heap');
  vtepd.process.signal('SIGUSR2');
  t.not(await vtepd.process.exit(RECOVERY_MS), 0, 'vtepd exits with an error');
  t.match(vtepd.log(), /heap out of memory/i, 'the log contains the reason');
  const areRemoved = async () => !(await near.devices()).some((device) => /^vt/.test(device));
  await eventually('its devices to be removed', areRemoved);
  await lab.vtepd(near, `--vni 100 --peer ${FAR} --bridge br-vxlan`);
  await untilPingWorks(hosts, 'a new start');
});
