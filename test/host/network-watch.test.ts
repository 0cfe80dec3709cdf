import t, { type Test } from 'tap';
import { loadShim, type Shim } from '../../src/abi/binding.js';
import { ERRNO } from '../../src/abi/errno.js';
import { NetworkWatch } from '../../src/host/network-watch.js';
import { eventually } from '../support/wait.js';

const shim = loadShim();

/** Of the real loop and real descriptors, with eventfds for the kernel's news. */
function network(t: Test, changes: Partial<Shim> = {}, lookMs = 0) {
  const [networkFd, policyFd] = [shim.eventCreate(), shim.eventCreate()];
  const heard: string[] = [];
  let open = 0;
  const watch = new NetworkWatch(
    {
      ...shim,
      networkWatch: () => networkFd,
      policyWatch: () => policyFd,
      watchClear: (fd) => shim.eventClear(fd),
      ...changes,
    },
    {
      refresh: async (changed) => {
        t.equal(++open, 1, 'one look at a time');
        heard.push(changed ? 'changed' : 'look');
        await new Promise((resolve) => setTimeout(resolve, lookMs));
        open--;
      },
      policies: () => heard.push('policies'),
    },
  );
  t.teardown(() => watch.stop());
  const looks = () => heard.filter((what) => what !== 'policies').length;
  return {
    watch,
    heard,
    looks,
    changeNetwork: () => shim.eventFire(networkFd),
    policy: () => shim.eventFire(policyFd),
  };
}

t.test('what the kernel does not tell of is an error', async (t) => {
  for (const name of ['networkWatch', 'policyWatch'] as const) {
    const { watch, heard } = network(t, { [name]: () => -ERRNO.EPERM });
    await t.rejects(watch.start(), { name: 'HostError', message: /EPERM/ }, name);
    t.same(heard, [], 'nobody looks');
  }
});

t.test('a kernel without IPsec is none', async (t) => {
  const { watch, heard, changeNetwork } = network(t, { policyWatch: () => -ERRNO.EPROTONOSUPPORT });
  await watch.start();
  changeNetwork();
  await eventually('a look', () => heard.length === 2);
  t.same(heard, ['look', 'changed']);
});

t.test('a storm of changes is few looks, and those during a look are another', async (t) => {
  const { watch, heard, looks, changeNetwork } = network(t, {}, 30);
  await watch.start();
  for (let k = 0; k < 50; k++) {
    changeNetwork();
    await new Promise((resolve) => setTimeout(resolve, 2));
  }
  await eventually('a look', () => looks() >= 2);
  const before = looks();
  t.ok(before < 10, `${before} looks at 50 changes`);
  changeNetwork();
  await eventually('another', () => looks() > before);
  t.same(heard.slice(1), Array(looks() - 1).fill('changed'));
});

t.test('a policy is told of at once, before anybody looks', async (t) => {
  const { watch, heard, policy } = network(t);
  await watch.start();
  policy();
  await eventually('it is heard', () => heard.length > 1);
  t.same(heard, ['look', 'policies']);
  await eventually('a look', () => heard.length > 2);
  t.same(heard, ['look', 'policies', 'look']);
});

t.test('what took long is followed by a long rest', async (t) => {
  const { watch, looks } = network(t, {}, 60);
  await watch.start();
  const startMs = performance.now();
  watch.due();
  await eventually('a look', () => looks() === 2);
  t.ok(performance.now() - startMs > 500, 'nine times 60 ms');
});

t.test('after a stop there is no look, whatever was due', async (t) => {
  const { watch, heard, changeNetwork } = network(t, {}, 50);
  await watch.start();
  watch.due();
  await watch.stop();
  watch.due();
  changeNetwork();
  await new Promise((resolve) => setTimeout(resolve, 700));
  t.same(heard, ['look']);
});

t.test('a stop waits for the look under way', async (t) => {
  let ended = false;
  const { watch } = network(t, { networkWatch: () => shim.eventCreate() }, 100);
  const started = watch.start().then(() => (ended = true));
  await watch.stop();
  await started;
  t.ok(ended);
});
