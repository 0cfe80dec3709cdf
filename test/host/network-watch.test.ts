import t, { type Test } from 'tap';
import { loadShim, type Shim } from '../../src/abi/binding.js';
import { ERRNO } from '../../src/abi/errno.js';
import { NetworkWatch } from '../../src/host/network-watch.js';
import { eventually } from '../support/wait.js';

const shim = loadShim();

const NETLINK_ROUTE = 0;
const NETLINK_XFRM = 6;

/** A NetworkWatch on the real event loop, with eventfds in place of netlink sockets. */
function network(t: Test, changes: Partial<Shim> = {}, refreshMs = 0) {
  const [networkFd, policyFd] = [shim.eventCreate(), shim.eventCreate()];
  const calls: string[] = [];
  let open = 0;
  const watch = new NetworkWatch(
    {
      ...shim,
      netlinkOpen: (protocol) => (protocol === NETLINK_ROUTE ? networkFd : policyFd),
      watchClear: (fd) => shim.eventClear(fd),
      ...changes,
    },
    {
      refresh: async (changed) => {
        t.equal(++open, 1, 'refreshes do not overlap');
        calls.push(changed ? 'changed' : 'refresh');
        await new Promise((resolve) => setTimeout(resolve, refreshMs));
        open--;
      },
      policies: () => calls.push('policies'),
    },
  );
  t.teardown(() => watch.stop());
  const refreshes = () => calls.filter((what) => what !== 'policies').length;
  return {
    watch,
    calls,
    refreshes,
    changeNetwork: () => shim.eventFire(networkFd),
    policy: () => shim.eventFire(policyFd),
  };
}

t.test('start fails when the kernel refuses a subscription', async (t) => {
  for (const [refused, what] of [
    [NETLINK_ROUTE, 'network changes'],
    [NETLINK_XFRM, 'IPsec policies'],
  ] as const) {
    const netlinkOpen = (protocol: number) => (protocol === refused ? -ERRNO.EPERM : shim.eventCreate());
    const { watch, calls } = network(t, { netlinkOpen });
    const message = `cannot subscribe to notifications of ${what} (EPERM)`;
    await t.rejects(watch.start(), { name: 'HostError', message });
    t.same(calls, [], 'a failed start causes no refresh');
  }
});

t.test('start succeeds on a kernel without IPsec', async (t) => {
  const networkFd = shim.eventCreate();
  const { watch, calls } = network(t, {
    netlinkOpen: (protocol) => (protocol === NETLINK_ROUTE ? networkFd : -ERRNO.EPROTONOSUPPORT),
  });
  await watch.start();
  shim.eventFire(networkFd);
  await eventually('a refresh', () => calls.length === 2);
  t.same(calls, ['refresh', 'changed']);
});

t.test('many changes cause few refreshes; changes during a refresh cause another refresh', async (t) => {
  const { watch, calls, refreshes, changeNetwork } = network(t, {}, 30);
  await watch.start();
  for (let k = 0; k < 50; k++) {
    changeNetwork();
    await new Promise((resolve) => setTimeout(resolve, 2));
  }
  await eventually('a refresh', () => refreshes() >= 2);
  const before = refreshes();
  t.ok(before < 10, `50 changes cause ${before} refreshes`);
  changeNetwork();
  await eventually('another refresh', () => refreshes() > before);
  t.same(calls.slice(1), Array(refreshes() - 1).fill('changed'));
});

t.test('a policy change is reported at once, before the refresh', async (t) => {
  const { watch, calls, policy } = network(t);
  await watch.start();
  policy();
  await eventually('the report', () => calls.length > 1);
  t.same(calls, ['refresh', 'policies']);
  await eventually('a refresh', () => calls.length > 2);
  t.same(calls, ['refresh', 'policies', 'refresh']);
});

t.test('a long refresh is followed by a long pause', async (t) => {
  const { watch, refreshes } = network(t, {}, 60);
  await watch.start();
  const startMs = performance.now();
  watch.due();
  await eventually('a refresh', () => refreshes() === 2);
  t.ok(performance.now() - startMs > 500, 'the pause is about nine times the 60 ms of a refresh');
});

t.test('no refresh begins after a stop, even if a refresh is due', async (t) => {
  const { watch, calls, changeNetwork } = network(t, {}, 50);
  await watch.start();
  watch.due();
  await watch.stop();
  watch.due();
  changeNetwork();
  await new Promise((resolve) => setTimeout(resolve, 700));
  t.same(calls, ['refresh']);
});

t.test('stop waits for the current refresh', async (t) => {
  let ended = false;
  const { watch } = network(t, { netlinkOpen: () => shim.eventCreate() }, 100);
  const started = watch.start().then(() => (ended = true));
  await watch.stop();
  await started;
  t.ok(ended);
});
