import { constants } from 'node:os';
import t from 'tap';
import { ALL_OFFLOADS, explainTapOpen, probeOffloads } from '../../src/host/tap.js';
import { makeLink } from '../support/machine.js';

const { ENOENT, ENODEV, EPERM, EACCES, EBUSY, EINVAL, EIO } = constants.errno;

t.test('an error of opening a TAP names device, cause and cure on one line', async (t) => {
  const rows: [number, RegExp][] = [
    [ENOENT, /\/dev\/net\/tun .*modprobe tun.*container/],
    [ENODEV, /\/dev\/net\/tun .*modprobe tun.*container/],
    [EPERM, /vtep100 .*root or with CAP_NET_ADMIN/],
    [EACCES, /vtep100 .*root or with CAP_NET_ADMIN/],
    [EBUSY, /vtep100 is in use by another program: .*--tap/],
    [EINVAL, /vtep100 .*--tap/],
    [EIO, /vtep100: EIO/],
  ];
  for (const [errno, line] of rows) {
    const message = explainTapOpen('vtep100', -errno, undefined);
    t.match(message, line);
    t.notMatch(message, '\n');
  }
});

t.test('a TAP in use by another vtepd is recognised by its alias', async (t) => {
  const tap = makeLink({ name: 'vtep100', alias: 'vtepd vni 100' });
  t.match(explainTapOpen('vtep100', -EBUSY, tap), /another vtepd/);
  t.notMatch(explainTapOpen('vtep100', -EBUSY, { ...tap, alias: 'my tap' }), /another vtepd/);
});

t.test('smaller and smaller sets of offloads are requested until the kernel accepts a set', async (t) => {
  /** A kernel that supports the bits `known`; records the requested sets. */
  const kernel = (known: number) => {
    const requested: number[] = [];
    const set = (bits: number) => {
      requested.push(bits);
      return (bits & ~known) === 0 ? 0 : -EINVAL;
    };
    const { offloads, offloadError } = probeOffloads(set);
    return { requested, accepted: offloads, error: offloadError };
  };
  t.same(kernel(0), { requested: [0x6f, 0x0f, 0x07, 0x01], accepted: [], error: -EINVAL });
  t.same(kernel(0x01), { requested: [0x6f, 0x0f, 0x07, 0x01], accepted: ['TUN_F_CSUM'], error: -EINVAL });
  t.same(kernel(0x07).accepted, ['TUN_F_CSUM', 'TUN_F_TSO4', 'TUN_F_TSO6']);
  t.same(kernel(0x0f).accepted, ['TUN_F_CSUM', 'TUN_F_TSO4', 'TUN_F_TSO6', 'TUN_F_TSO_ECN']);
  t.same(kernel(0x6f), { requested: [0x6f], accepted: ALL_OFFLOADS, error: 0 });
});
