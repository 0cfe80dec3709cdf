import t from 'tap';
import { HostError } from '../../src/host/host-error.js';
import {
  explainFailure,
  ip,
  NoRouteError,
  NoSuchDeviceError,
  parseOutput,
  splitErrors,
} from '../../src/host/ip-command.js';

const ARGS = ['link', 'set', 'dev', 'vtep100', 'up'];
const failed = (stderr: string, args = ARGS) =>
  explainFailure(args, Object.assign(new Error('exit 2'), { code: 2 }), stderr);

t.test('output that is not a list is rejected', async (t) => {
  t.throws(() => parseOutput('Usage: ip link'), SyntaxError);
  t.throws(() => parseOutput('{"ifname":"lo"}'), TypeError);
});

t.test('empty output is an empty list, and empty objects of filtered devices are removed', async (t) => {
  t.strictSame(parseOutput(''), []);
  t.strictSame(parseOutput('\n'), []);
  t.strictSame(parseOutput('[{},{},{"ifname":"vxlan100"}]'), [{ ifname: 'vxlan100' }]);
});

t.test('the error for a missing or foreign ip(8) names the package to install', async (t) => {
  const missing = explainFailure(ARGS, Object.assign(new Error('spawn ip ENOENT'), { code: 'ENOENT' }), '');
  t.match(missing.message, /not installed: install iproute2/);
  t.match(failed('BusyBox v1.36.1 multi-call binary.\n\nUsage: ip').message, /BusyBox.*install iproute2/);
});

t.test('an error has the command and the message of the kernel on one line', async (t) => {
  t.equal(
    failed('Error: mtu greater than device maximum.\nmore').message,
    '"ip link set dev vtep100 up": mtu greater than device maximum.',
  );
  t.match(
    failed('RTNETLINK answers: Operation not permitted\n').message,
    /not permitted; run as root or with CAP_NET_ADMIN/,
  );
  t.match(failed('').message, /exit 2/);
});

t.test('a missing device is distinguished from other failures', async (t) => {
  t.type(failed('Device "vtep100" does not exist.\n'), NoSuchDeviceError);
  t.type(failed('Cannot find device "vtep100"\n'), NoSuchDeviceError);
  t.notOk(failed('RTNETLINK answers: Device or resource busy\n') instanceof NoSuchDeviceError);
});

t.test('a missing route is recognised in the errors of route commands only', async (t) => {
  const route = ['route', 'get', '192.0.2.1'];
  for (const reason of [
    'Network is unreachable',
    'No route to host',
    'Permission denied',
    'Invalid argument',
  ]) {
    t.type(failed(`RTNETLINK answers: ${reason}\n`, route), NoRouteError, reason);
    t.notOk(failed(`RTNETLINK answers: ${reason}\n`) instanceof NoRouteError, reason);
  }
});

t.test('the installed ip(8) replies, and its errors are recognised', async (t) => {
  t.match(await ip(['link', 'show', 'dev', 'lo']), [{ ifname: 'lo', link_type: 'loopback' }]);
  t.type(await ip(['link', 'show', 'dev', 'nosuchdevice']).catch((error) => error), NoSuchDeviceError);
  t.type(await ip(['no-such-object']).catch((error) => error), HostError);
});

t.test('the errors of a batch are assigned to its commands', async (t) => {
  const { failures, rest } = splitErrors(
    [
      'Device "a" does not exist.',
      'Command failed -:2',
      'Warning: this works, but is old.',
      'RTNETLINK answers: Operation not permitted',
      'Command failed -:12',
      'Error: argument "x" is wrong',
      '',
    ].join('\n'),
  );
  t.same(
    [...failures],
    [
      [1, 'Device "a" does not exist.'],
      [11, 'RTNETLINK answers: Operation not permitted'],
    ],
  );
  t.equal(rest, 'Error: argument "x" is wrong');
  t.same(splitErrors(''), { failures: new Map(), rest: '' });
});

t.test('commands requested at the same time each have their own result or error', async (t) => {
  const [lo, none, nothing, again, unquotable, addresses, unknown, unset, only4] = await Promise.allSettled([
    ip(['link', 'show', 'dev', 'lo']),
    ip(['link', 'show', 'dev', 'nosuchdevice']),
    ip(['link', 'show', 'type', 'vxlan']),
    ip(['link', 'show', 'dev', 'lo']),
    ip(['link', 'show', 'dev', "it's#"]),
    ip(['address', 'show', 'dev', 'lo']),
    ip(['no-such-object']),
    ip(['link', 'set', 'dev', 'nosuchdevice', 'alias', 'a "b" c']),
    ip(['-4', 'address', 'show', 'dev', 'lo']),
  ]);
  t.match(lo, { value: [{ ifname: 'lo', link_type: 'loopback' }] });
  t.match(none, {
    reason: { message: '"ip link show dev nosuchdevice": Device "nosuchdevice" does not exist.' },
  });
  t.equal(none.status === 'rejected' && none.reason instanceof NoSuchDeviceError, true);
  t.equal(nothing.status, 'fulfilled');
  t.same(again, lo);
  t.match(
    unquotable,
    { reason: { message: /^"ip link show dev it's#": / } },
    'a command that cannot be quoted runs alone',
  );
  t.match(addresses, { value: [{ ifname: 'lo', addr_info: [{ local: '127.0.0.1' }] }] });
  t.match(only4, { value: [{ addr_info: [{ family: 'inet' }] }] }, 'a command with options runs alone');
  t.match(unknown, { reason: { message: /"no-such-object" is unknown/ } });
  t.match(unset, {
    reason: { message: '"ip link set dev nosuchdevice alias a "b" c": Cannot find device "nosuchdevice"' },
  });
});

t.test(
  'when ip(8) itself ends at an unknown argument, all remaining commands fail with its error',
  async (t) => {
    const answers = await Promise.allSettled([
      ip(['link', 'show', 'dev', 'nosuchdevice']),
      ip(['link', 'set', 'dev', 'lo', 'mtu', 'wide']),
      ip(['link', 'set', 'dev', 'nosuchdevice', 'up']),
    ]);
    t.match(
      answers.map((answer) => answer.status === 'rejected' && answer.reason.message),
      [/Device "nosuchdevice" does not exist/, /"wide"/, /"wide"/],
    );
  },
);
