/**
 * Messages to the service manager, and their order. Real sockets are tested in C
 * (native-shims/test/notify_test.c) and in the labs.
 */
import t, { type Test } from 'tap';
import { loadShim, type Shim } from '../../src/abi/binding.js';
import { ERRNO } from '../../src/abi/errno.js';
import { Service } from '../../src/daemon/service.js';
import { eventually } from '../support/wait.js';

const SOCKET = '/run/systemd/notify';

/** @param answers results of the system call, one per datagram; later calls return 0 */
function manager(env: NodeJS.ProcessEnv = { NOTIFY_SOCKET: SOCKET }, answers: number[] = []) {
  const sent: string[] = [];
  const warnings: string[] = [];
  const notifySend = (path: string, message: string): number => {
    const answer = answers.shift() ?? 0;
    if (answer === 0) sent.push(`${path} ${message}`);
    return answer;
  };
  const shim = { ...loadShim(), notifySend } as Shim;
  return { sent, warnings, service: new Service(shim, env, (text) => warnings.push(text)) };
}

function messages(sent: readonly string[]): string[] {
  return sent.map((line) => line.replace(`${SOCKET} `, ''));
}

t.test('sends the messages of sd_notify(3)', async (t) => {
  const { sent, service } = manager();
  service.ready('2 VNIs');
  await service.reload(
    async () => {},
    () => '3 VNIs',
  );
  service.ping();
  service.stopping();
  t.match(messages(sent), [
    'READY=1\nSTATUS=2 VNIs',
    /^RELOADING=1\nMONOTONIC_USEC=\d+$/,
    'READY=1\nSTATUS=3 VNIs',
    'WATCHDOG=1',
    'STOPPING=1',
  ]);
});

t.test('reports readiness after a failed reload, and after the last of concurrent reloads', async (t) => {
  const { sent, service } = manager();
  const keywords = () => messages(sent.splice(0)).map((message) => message.split('\n', 1)[0]);
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
  t.same(keywords(), ['RELOADING=1', 'RELOADING=1']);
  end();
  await long;
  t.same(keywords(), ['READY=1']);
  await service.reload(
    async () => service.stopping(),
    () => 'ready',
  );
  t.same(keywords(), ['RELOADING=1', 'STOPPING=1'], 'no readiness is reported while stopping');
});

t.test('the time of a reload is CLOCK_MONOTONIC in microseconds', async (t) => {
  const { sent, service } = manager();
  const before = process.hrtime.bigint() / 1000n;
  await service.reload(
    async () => {},
    () => '',
  );
  const us = BigInt(/MONOTONIC_USEC=(\d+)/.exec(sent[0])![1]);
  t.ok(us >= before && us <= process.hrtime.bigint() / 1000n, `${us}`);
});

t.test('sends a status line when it changes, as a single line', (t) => {
  const { sent, service } = manager();
  service.ready('two peers');
  service.status('two peers');
  service.status('three\npeers');
  service.status('x'.repeat(5000));
  t.same(messages(sent), ['READY=1\nSTATUS=two peers', 'STATUS=three peers', `STATUS=${'x'.repeat(500)}`]);
  t.end();
});

t.test('sends nothing without a manager', async (t) => {
  const { sent, service } = manager({ WATCHDOG_USEC: '30000000' });
  service.ready('ready');
  const reloaded = service.reload(
    async () => 7,
    () => 'ready',
  );
  t.equal(await reloaded, 7);
  service.status('other');
  service.ping();
  service.stopping();
  t.same(sent, []);
  t.notOk(service.listens);
  t.equal(service.watchdogMs, 0, 'no pings are due');
});

t.test('reads the watchdog period from the environment', (t) => {
  const due = (env: NodeJS.ProcessEnv) => manager({ NOTIFY_SOCKET: SOCKET, ...env }).service.watchdogMs;
  t.equal(due({ WATCHDOG_USEC: '30000000' }), 30_000);
  t.equal(
    due({ WATCHDOG_USEC: '30000000', WATCHDOG_PID: String(process.pid) }),
    30_000,
    'WATCHDOG_PID is this process',
  );
  t.equal(due({ WATCHDOG_USEC: '30000000', WATCHDOG_PID: '1' }), 0, 'WATCHDOG_PID is another process');
  for (const none of ['', '0', '-5', 'often', '1.5']) t.equal(due({ WATCHDOG_USEC: none }), 0, `"${none}"`);
  t.equal(due({}), 0);
  t.end();
});

t.test('retries messages to a full queue in order, without pings and status lines', async (t) => {
  const { sent, service } = manager(undefined, [-ERRNO.EAGAIN, -ERRNO.EAGAIN]);
  service.ready('ready');
  service.ping();
  service.status('other');
  service.stopping();
  t.same(sent, [], 'nothing is sent yet');
  await kept(t, 'both messages to be sent', () => sent.length === 2);
  t.same(messages(sent), ['READY=1\nSTATUS=ready', 'STOPPING=1']);
});

t.test('warns once about a socket that cannot be written to', (t) => {
  const refusals = [-ERRNO.EAFNOSUPPORT, -ERRNO.EAFNOSUPPORT];
  const { sent, warnings, service } = manager({ NOTIFY_SOCKET: 'vsock:2:99' }, refusals);
  service.ready('ready');
  service.ping();
  service.ping();
  t.match(warnings, [/NOTIFY_SOCKET=vsock:2:99.*EAFNOSUPPORT.*path or @NAME/]);
  t.same(sent, ['vsock:2:99 WATCHDOG=1'], 'later messages are sent');
  t.end();
});

/** Waits with a timer of its own, because the retry timer does not keep the process alive. */
async function kept(t: Test, what: string, condition: () => boolean): Promise<void> {
  const alive = setInterval(() => {}, 1000);
  t.teardown(() => clearInterval(alive));
  await eventually(what, condition);
}
