import t from 'tap';
import { BATCH_CAP, STRANGERS_SOCKET } from '../../../src/abi/limits.js';
import { Receiver, ReceiveTurns } from '../../../src/switch/port/receive-turns.js';

/**
 * Sockets that always have datagrams.
 *
 * @param costs µs per datagram of each socket
 */
function setUp(costs: readonly number[], places = costs.map((_, place) => place), tapsWait = () => false) {
  let nowMs = 0;
  const receivers = places.map((place, fd) => new Receiver(fd, place));
  const turns = new ReceiveTurns(receivers, () => nowMs);
  const spent = costs.map(() => 0);
  const datagrams = costs.map(() => 0);
  /** @returns socket and datagrams of the turn; undefined: no socket was readable */
  const turn = () => {
    const receiver = turns.begin();
    if (receiver === undefined) return undefined;
    const slots = turns.slots(receiver);
    const us = slots * costs[receiver.fd];
    nowMs += us / 1000;
    spent[receiver.fd] += us;
    datagrams[receiver.fd] += slots;
    turns.end(tapsWait());
    return { fd: receiver.fd, slots };
  };
  return { receivers, turn, spent, datagrams };
}

t.test('without a readable socket there is no turn', async (t) => {
  const { turn } = setUp([1, 1]);
  t.equal(turn(), undefined);
});

t.test('waiting sockets get equal time, independent of the cost of their datagrams', async (t) => {
  const { receivers, turn, spent, datagrams } = setUp([4, 1, 0.25]);
  for (const receiver of receivers) receiver.readable = true;
  for (let i = 0; i < 20_000; i++) turn();
  const mean = spent.reduce((sum, us) => sum + us, 0) / spent.length;
  for (const us of spent) t.ok(Math.abs(us / mean - 1) < 0.1, `${us} of ${mean} µs`);
  t.ok(
    datagrams[0] < datagrams[1] && datagrams[1] < datagrams[2],
    'sockets with costlier datagrams give fewer of them',
  );
});

t.test('calls are small while other sockets wait, and a socket that is alone may fill a batch', async (t) => {
  const { receivers, turn } = setUp([1, 1]);
  receivers[0].readable = true;
  t.equal(turn()!.slots, 64, 'in its first calls, a socket does not count as alone yet');
  for (let i = 0; i < 64; i++) turn();
  t.equal(turn()!.slots, BATCH_CAP);
  receivers[1].readable = true;
  const both = Array.from({ length: 10 }, () => turn()!);
  t.same(new Set(both.map(({ fd }) => fd)).size, 2);
  t.ok(both.every(({ slots }) => slots === 64));
  receivers[1].readable = false;
  t.equal(turn()!.slots, 64, 'another socket waited recently');
});

t.test('a socket that cost a second in one turn is read again soon, because debt is bounded', async (t) => {
  const { receivers, turn } = setUp([1_000_000 / 64, 1]);
  for (const receiver of receivers) receiver.readable = true;
  const order = Array.from({ length: 200 }, () => turn()!.fd);
  t.ok(order.filter((fd) => fd === 0).length >= 5);
});

t.test('few datagrams are requested from the strangers’ socket, even if no other waits', async (t) => {
  const { receivers, turn } = setUp([1, 1], [0, STRANGERS_SOCKET]);
  receivers[1].readable = true;
  for (let i = 0; i < 200; i++) t.equal(turn()!.slots, 16);
  receivers[0].readable = true;
  t.same([turn()!, turn()!].map(({ fd }) => fd).sort(), [0, 1]);
});

t.test('costly datagrams are requested in small numbers and do not starve other sockets', async (t) => {
  // 125 µs is the cost of a train of 64 datagrams for different stations: 64 such trains cost 8 ms,
  // and a full batch of them 16 ms.
  const { receivers, turn, spent } = setUp([125, 10]);
  for (const receiver of receivers) receiver.readable = true;
  for (let i = 0; i < 50; i++) turn();
  spent.fill(0);
  let longest = 0;
  for (let i = 0; i < 5000; i++) {
    const { fd, slots } = turn()!;
    if (fd === 0) longest = Math.max(longest, slots * 125);
  }
  t.ok(longest <= 1000, `the longest call took ${longest} µs`);
  t.ok(spent[1] / (spent[0] + spent[1]) > 0.4, `${spent[1]} and ${spent[0]} µs`);
  receivers[1].readable = false;
  for (let i = 0; i < 200; i++) longest = Math.max(longest, turn()!.slots * 125);
  t.ok(
    longest <= 1000,
    `the longest call took ${longest} µs although the socket was alone, because TAPs waited`,
  );
});

t.test('calls are shorter while TAPs also wait, except those of a socket that is alone', async (t) => {
  for (const isCrowded of [false, true]) {
    const { receivers, turn } = setUp([5, 5], [0, 1], () => isCrowded);
    for (const receiver of receivers) receiver.readable = true;
    for (let i = 0; i < 50; i++) turn();
    const calls = Array.from({ length: 200 }, () => 5 * turn()!.slots);
    const mean = calls.reduce((sum, us) => sum + us, 0) / calls.length;
    t.ok(isCrowded ? mean < 120 : mean > 200, `crowded ${isCrowded}: a call took ${mean} µs on average`);
    receivers[1].readable = false;
    for (let i = 0; i < 200; i++) turn();
    t.ok(5 * turn()!.slots > 200, 'a socket that is alone keeps long calls');
  }
});
