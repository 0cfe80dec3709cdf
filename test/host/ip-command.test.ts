import t from 'tap';
import { HostError } from '../../src/host/host-error.js';
import {
  explainFailure,
  ip,
  NoRouteError,
  NoSuchDeviceError,
  parseOutput,
} from '../../src/host/ip-command.js';

const ARGS = ['link', 'set', 'dev', 'vtep100', 'up'];
const failed = (stderr: string, args = ARGS) =>
  explainFailure(args, Object.assign(new Error('exit 2'), { code: 2 }), stderr);

t.test('what is no list of objects is refused', async (t) => {
  t.throws(() => parseOutput('Usage: ip link'), SyntaxError);
  t.throws(() => parseOutput('{"ifname":"lo"}'), TypeError);
});

t.test('nothing printed is an empty list, and devices that a filter passed over are left out', async (t) => {
  t.strictSame(parseOutput(''), []);
  t.strictSame(parseOutput('\n'), []);
  t.strictSame(parseOutput('[{},{},{"ifname":"vxlan100"}]'), [{ ifname: 'vxlan100' }]);
});

t.test('a missing or a foreign ip(8) says what to install', async (t) => {
  const missing = explainFailure(ARGS, Object.assign(new Error('spawn ip ENOENT'), { code: 'ENOENT' }), '');
  t.match(missing.message, /not installed: install iproute2/);
  t.match(failed('BusyBox v1.36.1 multi-call binary.\n\nUsage: ip').message, /BusyBox.*install iproute2/);
});

t.test('errors keep the command and what the kernel said, on one line', async (t) => {
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

t.test('a missing device is told from other failures', async (t) => {
  t.type(failed('Device "vtep100" does not exist.\n'), NoSuchDeviceError);
  t.type(failed('Cannot find device "vtep100"\n'), NoSuchDeviceError);
  t.notOk(failed('RTNETLINK answers: Device or resource busy\n') instanceof NoSuchDeviceError);
});

t.test('no route is told from other failures, and only for routes', async (t) => {
  const route = ['route', 'get', '192.0.2.1'];
  for (const said of [
    'Network is unreachable',
    'No route to host',
    'Permission denied',
    'Invalid argument',
  ]) {
    t.type(failed(`RTNETLINK answers: ${said}\n`, route), NoRouteError, said);
    t.notOk(failed(`RTNETLINK answers: ${said}\n`) instanceof NoRouteError, said);
  }
});

t.test('the real one answers, and its errors come back coded', async (t) => {
  t.match(await ip(['link', 'show', 'dev', 'lo']), [{ ifname: 'lo', link_type: 'loopback' }]);
  t.type(await ip(['link', 'show', 'dev', 'nosuchdevice']).catch((error) => error), NoSuchDeviceError);
  t.type(await ip(['no-such-object']).catch((error) => error), HostError);
});
