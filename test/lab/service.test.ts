/**
 * vtepd as a service's user runs it, without systemd: a plain user with two ambient capabilities, who makes TAP and
 * bridge, reaches kernel vxlan, probes paths, and leaves nothing; and what the service manager is told meanwhile, at a
 * datagram socket of ours.
 *
 *     near  br-vxlan (made by vtepd) ─ vtep100 ═ vtepd ═ eth0 ===== eth0 ═ kernel vxlan100 ─ br-vxlan  far
 *            └ vm101 10.10.10.101                                                     10.10.10.105 vm105 ┘
 */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { type Running, start } from '../support/command.js';
import { createLab, type Lab } from '../support/lab.js';
import type { Namespace } from '../support/netns.js';
import {
  compileTool,
  PLAIN_UID,
  plainUserCommand,
  startAsPlainUser,
  TWO_CAPABILITIES,
} from '../support/plain-user.js';
import { assertPing } from '../support/traffic.js';
import { ENGINES } from '../support/vtepd.js';
import { eventually } from '../support/wait.js';

const NEAR = '192.168.80.10';
const FAR = '192.168.80.11';
const FLAGS = `--vni 100 --peer ${FAR} --bridge br-vxlan`;
/** The manager's patience: a loaded machine must not exceed a quarter of it. */
const WATCHDOG_MS = 4000;

for (const engine of ENGINES) {
  t.test(`a plain user with two ambient capabilities runs it fully (${engine})`, async (t) => {
    const lab = createLab(t);
    const { near, far, vm105 } = await hosts(lab);
    const manager = await listen(lab);
    const before = await near.devices();
    const vtepd = await startAsPlainUser(near, join(lab.dir, engine), `${FLAGS} --io ${engine}`, manager.env);
    lab.keep(vtepd.process);
    t.teardown(() => t.passing() || t.comment(vtepd.log()));
    assertPlain(t, vtepd.process.pid);
    await manager.hears(`READY=1 STATUS=1 VNI, 1 peer, UDP port 4789 (${engine})`);

    const vm101 = await lab.vm(near, 'vm101', { address: '10.10.10.101/24' });
    await assertPing(t, vm101, '10.10.10.105');
    await assertPing(t, vm105, '10.10.10.101');
    const probed = await vtepd.call<{ items?: unknown }>('POST', `/v1/vnis/100/peers/${FAR}/probe`);
    t.equal(probed.status, 200, 'raw ICMP, too');

    await vtepd.call('POST', '/v1/vnis/100/peers', { address: '192.168.80.99' });
    await manager.hears(`STATUS=1 VNI, 2 peers, UDP port 4789 (${engine})`);
    const told = manager.heard().length;
    t.match(await vtepd.call('POST', '/v1/reload'), { status: 200, body: { hasFile: false } });
    await eventually('word of the reload', () =>
      /RELOADING=1 MONOTONIC_USEC=\d+ READY=1 /.test(manager.heard().slice(told).join(' ')),
    );
    await manager.hears('WATCHDOG=1');
    // With dgram it is an event loop that turns, and no other thread is told from it at a glance.
    if (engine === 'batch') await assertWatched(t, lab, vtepd.process, manager);

    await near.ip('link delete to-vm101');
    t.equal(await vtepd.stop(), 0, 'exit 0');
    t.equal(manager.heard().at(-1), 'STOPPING=1');
    t.same(await near.devices(), before, 'nothing is left');
    t.ok(far);
  });
}

t.test('a /dev/net/tun that is for root alone is named with its cure', async (t) => {
  const lab = createLab(t);
  const { near } = await hosts(lab);
  const command = plainUserCommand(`${FLAGS} --api off`, '600');
  const { code, stderr } = await near.outcome(command, { limitMs: 10_000 });
  t.equal(code, 1);
  t.match(stderr, /EACCES.*chmod 0666 \/dev\/net\/tun/, stderr.trim().split('\n').at(-1) ?? '');
});

async function hosts(lab: Lab): Promise<{ near: Namespace; far: Namespace; vm105: Namespace }> {
  const { near, far } = await lab.hosts({ near: [`${NEAR}/24`], far: [`${FAR}/24`] });
  await lab.bridge(far);
  const vm105 = await lab.vm(far, 'vm105', { address: '10.10.10.105/24' });
  await lab.kernelVtep(far, { vni: 100, local: FAR, remotes: [NEAR] });
  return { near, far, vm105 };
}

interface Manager {
  /** What the daemon is started with. */
  env: Record<string, string>;
  heard(): string[];
  hears(message: string): Promise<void>;
}

async function listen(lab: Lab): Promise<Manager> {
  const socket = join(lab.dir, 'notify.sock');
  const ear = lab.keep(start([await compileTool(lab.dir, 'notify-receive'), socket]));
  await ear.says(/listening/);
  const heard = () => ear.stdout.trim().split('\n').slice(1);
  return {
    env: { NOTIFY_SOCKET: socket, WATCHDOG_USEC: String(WATCHDOG_MS * 1000) },
    heard,
    hears: async (message) => {
      await eventually(`word of ${message}`, () => heard().includes(message));
    },
  };
}

/** Neither root nor more rights than the two, in every thread. */
function assertPlain(t: Test, pid: number): void {
  const status = readFileSync(`/proc/${pid}/status`, 'utf8');
  t.match(status, new RegExp(`^Uid:\t${PLAIN_UID}\t${PLAIN_UID}\t`, 'm'));
  for (const set of ['Prm', 'Eff', 'Bnd', 'Amb'])
    t.match(status, new RegExp(`^Cap${set}:\t${TWO_CAPABILITIES}$`, 'm'), `Cap${set}`);
}

/** Pings end while the data-plane thread, and it alone, is stopped; the API goes on. Then they come again. */
async function assertWatched(t: Test, lab: Lab, vtepd: Running, { heard }: Manager): Promise<void> {
  const pings = () => heard().filter((message) => message === 'WATCHDOG=1').length;
  const holder = lab.keep(start([await compileTool(lab.dir, 'hold-thread'), String(vtepd.pid)]));
  await holder.says(/held/);
  await eventually(
    'the stall to be noticed',
    () => vtepd.stderr.includes('the data plane has stalled'),
    WATCHDOG_MS,
  );
  const stalled = pings();
  const noticed = Date.now();
  await eventually('two more looks', () => Date.now() - noticed > WATCHDOG_MS / 2, WATCHDOG_MS);
  t.equal(pings(), stalled, 'no ping while it is held');
  await holder.stop();
  await eventually('a ping', () => pings() > stalled, WATCHDOG_MS);
  t.match(vtepd.stderr, /the data plane runs again/);
}
