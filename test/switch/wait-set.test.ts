import { createSocket } from 'node:dgram';
import t, { type Test } from 'tap';
import { loadShim } from '../../src/abi/binding.js';
import { SEND_SOCKETS } from '../../src/abi/limits.js';
import { WAIT_NOW_MS, WAIT_WAITED_MS, WaitSet } from '../../src/switch/wait-set.js';
import { sourceRow } from '../support/memory-plane.js';
import { portOf } from '../support/underlay-pair.js';

const shim = loadShim();

function makeSet(t: Test): { set: WaitSet; waitFd: number; open: (fd: number) => number } {
  const opened = [shim.waitCreate()];
  t.teardown(() => {
    for (const fd of opened) shim.close(fd);
  });
  const open = (fd: number) => {
    opened.push(fd);
    return fd;
  };
  return { set: new WaitSet(shim, opened[0]), waitFd: opened[0], open };
}

t.test('a descriptor that cannot be polled is refused', async (t) => {
  const { set } = makeSet(t);
  t.equal(set.addTap(-1, 0), -9, 'an error of a TAP is returned to the caller');
  t.throws(() => set.addWake(999_999), /descriptor 999999/);
});

t.test('a wait without ready descriptors reports the time waited', async (t) => {
  const { set } = makeSet(t);
  set.wait(0, 0);
  const before = set.times[WAIT_NOW_MS];
  set.wait(30, 0);
  t.ok(set.times[WAIT_NOW_MS] - before >= 29);
  t.ok(set.times[WAIT_WAITED_MS] >= 29);
  t.same([set.tapCount, set.errorCount, set.receiverCount, set.woken], [0, 0, 0, false]);
});

t.test('each kind of descriptor is distinguished, and each wait starts with empty results', async (t) => {
  const { set, open } = makeSet(t);
  // An eventfd can be made readable at will, so eventfds are used in place of a TAP, a receiving
  // socket and the wake-up.
  const [tap, receiver, wake] = [1, 2, 3].map(() => open(shim.eventCreate()));
  set.open();
  set.addTap(tap, 4095);
  set.addReceiver(receiver);
  set.addWake(wake);
  shim.eventFire(tap);
  set.wait(100, 0);
  t.same([set.tapCount, set.taps[0], set.receiverCount, set.woken], [1, 4095, 0, false]);
  shim.eventClear(tap);
  shim.eventFire(receiver);
  shim.eventFire(wake);
  set.wait(100, 0);
  t.same([set.tapCount, set.receiverCount, set.receivers[0], set.woken], [0, 1, receiver, true]);
  set.remove(receiver);
  shim.eventClear(wake);
  set.wait(0, 0);
  t.same([set.tapCount, set.receiverCount, set.woken], [0, 0, false]);
});

for (const kind of ['addSender', 'addReceiver'] as const)
  t.test(`a socket with a queued error is reported until it is drained (${kind})`, async (t) => {
    const { set, open } = makeSet(t);
    const RECVERR = 2;
    const closed = createSocket('udp4');
    await new Promise<void>((resolve) => closed.bind(0, '127.0.0.1', resolve));
    const { port } = closed.address();
    await new Promise<void>((resolve) => closed.close(resolve));
    const sender = open(shim.udpOpen(sourceRow('127.0.0.1', 0), '', RECVERR, 0, 0, 0));
    set.open();
    set[kind](sender);
    // The socket sends to a closed port. The ICMP error that comes back is put into the error queue.
    const { UnderlayEnd } = await import('../support/underlay-pair.js');
    const send = new Int32Array(SEND_SOCKETS).fill(-1);
    send[0] = sender;
    const end = new UnderlayEnd(t, 'batch', { fds: { ipv4: [], ipv6: [], send } });
    end.setPeer(0, '127.0.0.1', port);
    end.send([{ peerIdx: 0, srcPortIdx: 0, bytes: Uint8Array.of(1) }]);
    set.wait(1000, 0);
    t.same([set.errorCount, set.errors[0]], [1, sender]);
    set.wait(0, 0);
    t.equal(set.errorCount, 1, 'the error is reported again before it is drained');
    end.port.drainErrors(sender);
    set.wait(0, 0);
    t.equal(set.errorCount, 0);
    t.ok((await portOf(sender)) > 0);
  });

t.test('TAPs and receivers are reported from the opening of the set on, the wake-up always', async (t) => {
  const { set, open } = makeSet(t);
  const [tap, receiver, wake, removed] = [1, 2, 3, 4].map(() => open(shim.eventCreate()));
  set.addTap(tap, 7);
  set.addTap(removed, 8);
  set.addReceiver(receiver);
  set.addWake(wake);
  for (const fd of [tap, receiver, wake, removed]) shim.eventFire(fd);
  set.wait(0, 0);
  t.same([set.tapCount, set.receiverCount, set.woken], [0, 0, true]);
  set.remove(removed);
  set.open();
  set.wait(0, 0);
  t.same([set.tapCount, set.taps[0], set.receiverCount, set.receivers[0]], [1, 7, 1, receiver]);
});

t.test('a successor finds the descriptors of its predecessor in the set', async (t) => {
  const { set, waitFd, open } = makeSet(t);
  const wake = open(shim.eventCreate());
  set.addWake(wake);
  const successor = new WaitSet(shim, waitFd);
  successor.addWake(wake);
  shim.eventFire(wake);
  successor.wait(100, 0);
  t.equal(successor.woken, true);
});
