/** Requests and their answers: refusals, lists that were interrupted, groups of many requests. */
import { constants } from 'node:os';
import t, { type Test } from 'tap';
import { loadShim } from '../../../src/abi/binding.js';
import { HostError } from '../../../src/host/host-error.js';
import { messagesIn, Request } from '../../../src/host/netlink/message.js';
import { change, dump, getEach, NetlinkError, type Operation } from '../../../src/host/netlink/request.js';
import { concat, hex, patched } from '../../support/hex.js';

const { EINVAL, ENODATA, ENODEV, EINTR, EPERM, ENOMEM } = constants.errno;
const RTM_NEWLINK = 16;
const NLM_F_DUMP = 0x300;

const operation = (what: string, flags = 0): Operation => ({
  what,
  request: new Request(RTM_NEWLINK, flags, new Uint8Array(16)),
});

/** Puts scripted answers in place of the kernel's. @returns the requests of each call */
function script(t: Test, answer: (requests: Uint8Array, call: number) => Uint8Array | number): Uint8Array[] {
  const calls: Uint8Array[] = [];
  const shim = loadShim() as { netlinkRequest: unknown };
  const { netlinkRequest } = shim;
  shim.netlinkRequest = async (_protocol: number, requests: Uint8Array) => {
    calls.push(requests);
    return answer(requests, calls.length - 1);
  };
  t.teardown(() => {
    shim.netlinkRequest = netlinkRequest;
  });
  return calls;
}

const ACK = hex(`
  24000000 02000001 00000000 00000000     # NLMSG_ERROR, capped, sequence 0
  00000000                                # no error
  28000000 10000500 00000000 00000000     # header of the request
`);
const SEQUENCE_OFF = 8;
const ERRNO_OFF = 16;
const ENODEV_ANSWER = patched(ACK, ERRNO_OFF, 0xed, 0xff, 0xff, 0xff);
const TOO_LARGE = hex(`
  48000000 02000003 00000000 00000000     # NLMSG_ERROR, capped, with attributes
  eaffffff                                # -EINVAL
  28000000 10000500 00000000 00000000
  24000100 6d747520 67726561 74657220 7468616e 20646576 69636520 6d617869 6d756d00
`);
const LINK = hex('14000000 10000200 00000000 00000000  aabbccdd');
const DONE = hex('14000000 03000200 00000000 00000000  00000000');

async function assertFails(
  t: Test,
  promise: Promise<unknown>,
  wanted: { errno?: number; message?: string | RegExp },
): Promise<void> {
  const error = await promise.then(
    () => undefined,
    (refusal) => refusal,
  );
  t.match(error, wanted);
}

const numbered = (message: Uint8Array, sequence: number) => patched(message, SEQUENCE_OFF, sequence);

t.test('answers that are malformed or missing are no success of a look-up', async (t) => {
  for (const answer of [
    '',
    '00',
    '03000000 02000000 00000000 00000000',
    '12000000 02000000 00000000 00000000 eaff',
  ]) {
    script(t, () => hex(answer));
    const [found] = await getEach([operation('look it up')]);
    t.match(found, { name: 'HostError', errno: -ENODATA, message: /^cannot look it up: .*ENODATA/ });
  }
});

t.test('a refusal has the operation, the errno, and the words of the kernel', async (t) => {
  script(t, () => TOO_LARGE);
  const error = await change(operation('configure eth0 (MTU 70000)')).catch((refusal) => refusal);
  t.ok(error instanceof NetlinkError && error instanceof HostError);
  t.match(error, {
    errno: -EINVAL,
    message: 'cannot configure eth0 (MTU 70000): invalid argument (EINVAL): mtu greater than device maximum',
  });
  script(t, () => patched(TOO_LARGE, 0, 36).subarray(0, 36));
  await assertFails(t, change(operation('configure eth0')), { errno: -EINVAL });
  script(t, () => patched(TOO_LARGE, 36, 0xff));
  await assertFails(t, change(operation('configure eth0')), {
    message: 'cannot configure eth0: invalid argument (EINVAL)',
  });
  script(t, () => -EPERM);
  await assertFails(t, change(operation('configure eth0')), { message: /\(EPERM\); .*CAP_NET_ADMIN/ });
  script(t, () => -ENOMEM);
  await assertFails(t, dump(operation('list devices', NLM_F_DUMP)), {
    errno: -ENOMEM,
    message: /list devices/,
  });
  script(t, () => patched(ACK, ERRNO_OFF, 0xf1, 0xd8, 0xff, 0xff));
  await assertFails(t, change(operation('do it')), { message: 'cannot do it: errno 9999' });
});

t.test('the error is that of the first change that failed', async (t) => {
  const calls = script(t, () =>
    concat(ACK, numbered(ENODEV_ANSWER, 1), numbered(TOO_LARGE, 2), numbered(ACK, 3)),
  );
  await assertFails(t, change(...['a', 'b', 'c', 'd'].map((what) => operation(what))), {
    message: /^cannot b: /,
    errno: -ENODEV,
  });
  t.same(
    messagesIn(calls[0]).map(({ sequence }) => sequence),
    [0, 1, 2, 3],
    'the kernel gets all changes at once',
  );
  await change();
  t.equal(calls.length, 1, 'no change needs no request');
});

t.test('many requests are sent in groups, and each gets its own answer', async (t) => {
  const answers = (requests: Uint8Array) =>
    concat(
      ...messagesIn(requests).flatMap(({ sequence }) =>
        sequence % 2 === 0
          ? [numbered(LINK, sequence), numbered(ACK, sequence)]
          : [numbered(ENODEV_ANSWER, sequence)],
      ),
    );
  const calls = script(t, answers);
  const operations = Array.from({ length: 130 }, (_, i) => operation(`look up ${i}`));
  const found = await getEach(operations);
  t.same(
    calls.map((call) => messagesIn(call).length),
    [64, 64, 2],
  );
  t.equal(found.length, 130);
  for (const [i, one] of found.entries())
    if (i % 2 === 0) t.match(one, { type: RTM_NEWLINK });
    else t.match(one, { errno: -ENODEV, message: new RegExp(`^cannot look up ${i}: `) });
  await assertFails(t, change(...operations), { message: /^cannot look up 1: / });
  t.equal(calls.length, 6);
});

t.test('a list is repeated when changes interrupted it', async (t) => {
  const list = operation('list devices', NLM_F_DUMP);
  const interrupted = patched(LINK, 6, 0x12);
  const calls = script(t, (_, call) => (call < 2 ? concat(LINK, interrupted, DONE) : concat(LINK, DONE)));
  t.equal((await dump(list)).length, 1);
  t.equal(calls.length, 3);
  script(t, (_, call) => (call < 1 ? concat(LINK, patched(DONE, 6, 0x12)) : DONE));
  t.same(await dump(list), [], 'the end of the list has the flag, too');
  script(t, () => concat(interrupted, DONE));
  await assertFails(t, dump(list), { errno: -EINTR, message: /^cannot list devices: .*the list changed/ });
});

t.test('a list fails with its first or last message', async (t) => {
  const list = operation('list devices', NLM_F_DUMP);
  script(t, () => ENODEV_ANSWER);
  await assertFails(t, dump(list), { errno: -ENODEV });
  script(t, () => concat(LINK, patched(DONE, ERRNO_OFF, 0xf4, 0xff, 0xff, 0xff)));
  await assertFails(t, dump(list), { errno: -ENOMEM });
  script(t, () => concat(LINK, DONE.subarray(0, 16)));
  await assertFails(t, dump(list), { errno: -ENODATA });
});
