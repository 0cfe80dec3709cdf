/**
 * What the service manager is told, in which order, and when it hears nothing. What arrives on a real socket is tested
 * in C (native-shims/test/notify_test.c) and in the labs.
 */
import t, { type Test } from 'tap';
import { loadShim, type Shim } from '../../src/abi/binding.js';
import { ERRNO } from '../../src/abi/errno.js';
import { Service } from '../../src/daemon/service.js';
import { eventually } from '../support/wait.js';

const SOCKET = '/run/systemd/notify';

/** @param answers of the kernel, one a datagram; then 0 */
function manager(env: NodeJS.ProcessEnv = { NOTIFY_SOCKET: SOCKET }, answers: number[] = []) {
  const told: string[] = [];
  const complaints: string[] = [];
  const notifySend = (path: string, message: string): number => {
    const answer = answers.shift() ?? 0;
    if (answer === 0) told.push(`${path} ${message}`);
    return answer;
  };
  const shim = { ...loadShim(), notifySend } as Shim;
  return { told, complaints, service: new Service(shim, env, (text) => complaints.push(text)) };
}

function messages(told: readonly string[]): string[] {
  return told.map((line) => line.replace(`${SOCKET} `, ''));
}

t.test('each word as sd_notify(3) has it', async (t) => {
  const { told, service } = manager();
  service.ready('2 VNIs');
  await service.reload(
    async () => {},
    () => '3 VNIs',
  );
  service.ping();
  service.stopping();
  t.match(messages(told), [
    'READY=1\nSTATUS=2 VNIs',
    /^RELOADING=1\nMONOTONIC_USEC=\d+$/,
    'READY=1\nSTATUS=3 VNIs',
    'WATCHDOG=1',
    'STOPPING=1',
  ]);
});

t.test('a reload that fails is over all the same, of several at once when the last is', async (t) => {
  const { told, service } = manager();
  const words = () => messages(told.splice(0)).map((message) => message.split('\n', 1)[0]);
  let end = () => {};
  const long = service.reload(
    () =>
      new Promise<void>((resolve) => {
        end = resolve;
      }),
    () => 'ready',
  );
  const failing = async () => {
    throw new Error('mtu 12');
  };
  await t.rejects(
    service.reload(failing, () => 'ready'),
    { message: 'mtu 12' },
  );
  t.same(words(), ['RELOADING=1', 'RELOADING=1']);
  end();
  await long;
  t.same(words(), ['READY=1']);
  await service.reload(
    async () => service.stopping(),
    () => 'ready',
  );
  t.same(words(), ['RELOADING=1', 'STOPPING=1'], 'who stops is not ready any more');
});

t.test('the time of a reload is that of CLOCK_MONOTONIC, in microseconds', async (t) => {
  const { told, service } = manager();
  const before = process.hrtime.bigint() / 1000n;
  await service.reload(
    async () => {},
    () => '',
  );
  const us = BigInt(/MONOTONIC_USEC=(\d+)/.exec(told[0])![1]);
  t.ok(us >= before && us <= process.hrtime.bigint() / 1000n, `${us}`);
});

t.test('a line for people is told when it is another, and is one line', (t) => {
  const { told, service } = manager();
  service.ready('two peers');
  service.status('two peers');
  service.status('three\npeers');
  service.status('x'.repeat(5000));
  t.same(messages(told), ['READY=1\nSTATUS=two peers', 'STATUS=three peers', `STATUS=${'x'.repeat(500)}`]);
  t.end();
});

t.test('without a manager nothing is sent', async (t) => {
  const { told, service } = manager({ WATCHDOG_USEC: '30000000' });
  service.ready('ready');
  const reloaded = service.reload(
    async () => 7,
    () => 'ready',
  );
  t.equal(await reloaded, 7);
  service.status('other');
  service.ping();
  service.stopping();
  t.same(told, []);
  t.notOk(service.listens);
  t.equal(service.watchdogMs, 0, 'nor are pings due');
});

t.test('how often pings are due', (t) => {
  const due = (env: NodeJS.ProcessEnv) => manager({ NOTIFY_SOCKET: SOCKET, ...env }).service.watchdogMs;
  t.equal(due({ WATCHDOG_USEC: '30000000' }), 30_000);
  t.equal(due({ WATCHDOG_USEC: '30000000', WATCHDOG_PID: String(process.pid) }), 30_000, 'meant for us');
  t.equal(due({ WATCHDOG_USEC: '30000000', WATCHDOG_PID: '1' }), 0, 'meant for another');
  for (const none of ['', '0', '-5', 'often', '1.5']) t.equal(due({ WATCHDOG_USEC: none }), 0, `"${none}"`);
  t.equal(due({}), 0);
  t.end();
});

t.test('a full queue is told again, in order; pings and lines for people are not saved up', async (t) => {
  const { told, service } = manager(undefined, [-ERRNO.EAGAIN, -ERRNO.EAGAIN]);
  service.ready('ready');
  service.ping();
  service.status('other');
  service.stopping();
  t.same(told, [], 'nothing got through yet');
  await kept(t, 'both to arrive', () => told.length === 2);
  t.same(messages(told), ['READY=1\nSTATUS=ready', 'STOPPING=1']);
});

t.test('a manager that cannot be told is named once', (t) => {
  const refusals = [-ERRNO.EAFNOSUPPORT, -ERRNO.EAFNOSUPPORT];
  const { told, complaints, service } = manager({ NOTIFY_SOCKET: 'vsock:2:99' }, refusals);
  service.ready('ready');
  service.ping();
  service.ping();
  t.match(complaints, [/NOTIFY_SOCKET=vsock:2:99.*EAFNOSUPPORT.*path or @NAME/]);
  t.same(told, ['vsock:2:99 WATCHDOG=1'], 'what can be told later is');
  t.end();
});

/** The retry's own timer does not keep the process alive. */
async function kept(t: Test, what: string, condition: () => boolean): Promise<void> {
  const alive = setInterval(() => {}, 1000);
  t.teardown(() => clearInterval(alive));
  await eventually(what, condition);
}
