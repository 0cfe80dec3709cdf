/**
 * vtepd as the plain user of a service runs it, without systemd.
 *
 * The user is not root and has two ambient capabilities. vtepd creates TAP and bridge, reaches
 * kernel vxlan, probes paths, and leaves nothing behind. The test receives the messages to the
 * service manager on a datagram socket.
 *
 *     near  br-vxlan (of vtepd) ─ vtep100 ═ vtepd ═ eth0 ═══ eth0 ═ vxlan100 ─ br-vxlan  far
 *            └ vm101 10.10.10.101                             10.10.10.105 vm105 ┘
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
/** Watchdog time of the service manager, ms: four times the longest delay on a loaded machine. */
const WATCHDOG_MS = 4000;

for (const engine of ENGINES) {
  t.test(`vtepd runs fully as a plain user with two ambient capabilities (${engine})`, async (t) => {
    const lab = createLab(t);
    const { near, far, vm105 } = await hosts(lab);
    const manager = await listen(lab);
    const devices = await near.devices();
    const vtepd = await startAsPlainUser(near, join(lab.dir, engine), `${FLAGS} --io ${engine}`, manager.env);
    lab.keep(vtepd.process);
    t.teardown(() => t.passing() || t.comment(vtepd.log()));
    assertPlain(t, vtepd.process.pid);
    await manager.receives(`READY=1 STATUS=1 VNI, 1 peer, UDP port 4789 (${engine})`);

    const vm101 = await lab.vm(near, 'vm101', { address: '10.10.10.101/24' });
    await assertPing(t, vm101, '10.10.10.105');
    await assertPing(t, vm105, '10.10.10.101');
    const probed = await vtepd.call<{ items?: unknown }>('POST', `/v1/vnis/100/peers/${FAR}/probe`);
    t.equal(probed.status, 200, 'raw ICMP works');

    await vtepd.call('POST', '/v1/vnis/100/peers', { address: '192.168.80.99' });
    await manager.receives(`STATUS=1 VNI, 2 peers, UDP port 4789 (${engine})`);
    const before = manager.messages().length;
    t.match(await vtepd.call('POST', '/v1/reload'), { status: 200, body: { hasFile: false } });
    await eventually('the messages of the reload', () =>
      /RELOADING=1 MONOTONIC_USEC=\d+ READY=1 /.test(manager.messages().slice(before).join(' ')),
    );
    await manager.receives('WATCHDOG=1');
    // With engine dgram the data-plane thread waits in an event loop. There hold-thread cannot
    // identify the thread.
    if (engine === 'batch') await assertWatched(t, lab, vtepd.process, manager);

    await near.ip('link delete to-vm101');
    t.equal(await vtepd.stop(), 0, 'vtepd exits with 0');
    t.equal(manager.messages().at(-1), 'STOPPING=1');
    t.same(await near.devices(), devices, 'no device is left');
    t.ok(far);
  });
}

t.test('a /dev/net/tun that only root can open is reported with its cure', async (t) => {
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
  /** Environment variables for the daemon. */
  env: Record<string, string>;
  messages(): string[];
  receives(message: string): Promise<void>;
}

async function listen(lab: Lab): Promise<Manager> {
  const socket = join(lab.dir, 'notify.sock');
  const receiver = lab.keep(start([await compileTool(lab.dir, 'notify-receive'), socket]));
  await receiver.untilOutput(/listening/);
  const messages = () => receiver.stdout.trim().split('\n').slice(1);
  return {
    env: { NOTIFY_SOCKET: socket, WATCHDOG_USEC: String(WATCHDOG_MS * 1000) },
    messages,
    receives: async (message) => {
      await eventually(`the message ${message}`, () => messages().includes(message));
    },
  };
}

/** Asserts that every thread runs without root and with exactly these two capabilities. */
function assertPlain(t: Test, pid: number): void {
  const status = readFileSync(`/proc/${pid}/status`, 'utf8');
  t.match(status, new RegExp(`^Uid:\t${PLAIN_UID}\t${PLAIN_UID}\t`, 'm'));
  for (const set of ['Prm', 'Eff', 'Bnd', 'Amb'])
    t.match(
      status,
      new RegExp(`^Cap${set}:\t${TWO_CAPABILITIES}$`, 'm'),
      `Cap${set} has exactly the two capabilities`,
    );
}

/**
 * Stops only the data-plane thread. Asserts that vtepd sends no watchdog notification meanwhile,
 * and that vtepd sends notifications again afterwards.
 */
async function assertWatched(t: Test, lab: Lab, vtepd: Running, { messages }: Manager): Promise<void> {
  const pings = () => messages().filter((message) => message === 'WATCHDOG=1').length;
  const holder = lab.keep(start([await compileTool(lab.dir, 'hold-thread'), String(vtepd.pid)]));
  await holder.untilOutput(/thread stopped/);
  await eventually(
    'the stall to be logged',
    () => vtepd.stderr.includes('the data plane has stalled'),
    WATCHDOG_MS,
  );
  const stalled = pings();
  const noticed = Date.now();
  await eventually('two more watchdog checks', () => Date.now() - noticed > WATCHDOG_MS / 2, WATCHDOG_MS);
  t.equal(pings(), stalled, 'no watchdog notification is sent while the thread is stopped');
  await holder.stop();
  await eventually('a watchdog notification', () => pings() > stalled, WATCHDOG_MS);
  t.match(vtepd.stderr, /the data plane runs again/);
}
