import t from 'tap';
import type { Link } from '../../src/host/machine.js';
import { type DeviceState, faultOf, textsOf } from '../../src/vtep/device-faults.js';

function link(properties: Partial<Link>): Link {
  return {
    index: 1,
    name: '',
    up: true,
    mtu: 1500,
    mac: '',
    master: 0,
    lower: 0,
    alias: '',
    kind: '',
    addrGenMode: 'none',
    tun: undefined,
    vxlanPort: 0,
    port: undefined,
    ...properties,
  };
}

const BRIDGE = link({ index: 7, name: 'br0', kind: 'bridge' });
const TAP = link({ index: 5, name: 'vtep100', kind: 'tun', master: 7 });
const BRIDGED: DeviceState = {
  tap: 'vtep100',
  bridge: 'br0',
  isElsewhere: false,
  tapLink: TAP,
  bridgeLink: BRIDGE,
  master: 'br0',
};
const ALONE: DeviceState = {
  ...BRIDGED,
  bridge: '',
  bridgeLink: undefined,
  tapLink: { ...TAP, master: 0 },
  master: '',
};

t.test('each fault is recognised, the one to mend first before the others', async (t) => {
  const rows: [string, DeviceState, ReturnType<typeof faultOf>][] = [
    ['bridged', BRIDGED, undefined],
    ['alone', ALONE, undefined],
    [
      'in a bridge that the configuration does not name',
      { ...ALONE, tapLink: TAP, master: 'br0' },
      undefined,
    ],
    ['deleted', { ...BRIDGED, tapLink: undefined }, 'tap_deleted'],
    ['deleted with its bridge', { ...BRIDGED, tapLink: undefined, bridgeLink: undefined }, 'tap_deleted'],
    ['moved', { ...ALONE, tapLink: undefined, isElsewhere: true }, 'tap_elsewhere'],
    [
      'bridge deleted',
      { ...BRIDGED, bridgeLink: undefined, tapLink: { ...TAP, master: 0 } },
      'bridge_deleted',
    ],
    ['out', { ...BRIDGED, tapLink: { ...TAP, master: 0 } }, 'tap_out'],
    ['in another bridge', { ...BRIDGED, tapLink: { ...TAP, master: 9 } }, 'tap_out'],
    ['down', { ...BRIDGED, tapLink: { ...TAP, up: false } }, 'tap_down'],
    ['down and out', { ...BRIDGED, tapLink: { ...TAP, up: false, master: 0 } }, 'tap_out'],
    ['bridge down', { ...BRIDGED, bridgeLink: { ...BRIDGE, up: false } }, 'bridge_down'],
  ];
  for (const [what, state, fault] of rows) t.equal(faultOf(state), fault, what);
});

t.test('the texts name the devices as they are called now', async (t) => {
  const renamed = {
    ...BRIDGED,
    tapLink: { ...TAP, name: 'ovl0', master: 9 },
    bridgeLink: { ...BRIDGE, name: 'lan0' },
    master: 'br9',
  };
  t.match(textsOf('tap_out', renamed, true, ''), {
    detail: 'TAP ovl0 is not in bridge lan0, but in br9',
    cure: 'ip link set dev ovl0 master lan0',
  });
  t.match(textsOf('tap_down', renamed, true, ''), { cure: 'ip link set dev ovl0 up' });
  t.match(textsOf('bridge_down', renamed, true, ''), { cure: 'ip link set dev lan0 up' });
});

t.test('the cure of a deleted device depends on who made it', async (t) => {
  const gone = { ...BRIDGED, tapLink: undefined };
  t.match(textsOf('tap_deleted', gone, true, ''), {
    detail: 'TAP vtep100 was deleted',
    cure: 'vtepd makes it again',
  });
  t.match(textsOf('tap_deleted', gone, false, ''), { cure: /ip tuntap add dev vtep100 mode tap/ });
  t.match(textsOf('bridge_deleted', gone, false, ''), { cure: /ip link add name br0 type bridge/ });
  t.match(textsOf('tap_deleted', gone, true, 'TAP vtep100 is in use by another program'), {
    detail: 'TAP vtep100 was deleted; TAP vtep100 is in use by another program',
  });
});
