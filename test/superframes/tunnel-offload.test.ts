import t from 'tap';
import { loadShim, type Shim } from '../../src/abi/binding.js';
import { ERRNO } from '../../src/abi/errno.js';
import type { Machine } from '../../src/host/machine.js';
import { NotPermittedError } from '../../src/host/route-redirect.js';
import { TunnelOffload, type TunnelPeer, type TunnelSpec } from '../../src/superframes/tunnel-offload.js';

const SPEC: TunnelSpec = {
  port: 4789,
  local: undefined,
  device: '',
  mark: 0,
  ttl: 64,
  df: false,
  udpChecksum: true,
  isHeld: () => false,
  sendFds: [],
};
const CUTS = 1;
const CUTS_WITH_CHECKSUM = 2;
const route = { local: '192.0.2.1', device: 'eth0', deviceIndex: 2, mtu: 1500 };
const PEERS: TunnelPeer[] = [{ peerIdx: 3, family: 4, route }];
const FD = 1_000_000;
/** The outer TAP fails before its device is looked up. */
const NO_DEVICES = {} as Machine;

/**
 * A shim that meets all conditions. Only the outer TAP is missing, because it would need a real
 * device.
 */
function machine(answers: Partial<Shim> = {}) {
  const closed: number[] = [];
  const asked: string[] = [];
  const shim: Shim = {
    ...loadShim(),
    tunnelSegmentation: (device) => {
      asked.push(device);
      return CUTS | CUTS_WITH_CHECKSUM;
    },
    policyCount: () => 0,
    tunnelOpen: () => -ERRNO.EINVAL,
    close: (fd) => closed.push(fd),
    ...answers,
  };
  return { shim, closed, asked };
}

async function why(answers: Partial<Shim>, spec: Partial<TunnelSpec> = {}, peers = PEERS): Promise<string> {
  const found = await new TunnelOffload(machine(answers).shim, NO_DEVICES, { ...SPEC, ...spec }).find(peers);
  return 'why' in found ? found.why : 'found';
}

t.test('each unmet condition has its message', async (t) => {
  const six: TunnelPeer[] = [{ peerIdx: 0, family: 6, route }];
  const lost: TunnelPeer[] = [
    { peerIdx: 0, family: 4, route: undefined },
    { peerIdx: 1, family: 4, route: { ...route, local: '' } },
  ];
  const noCut = /^eth0 does not cut up/;
  t.match(await why({}, { device: 'eth0' }), /bound to eth0/);
  t.match(await why({}, {}, []), /no peer has an IPv4 route/);
  t.match(await why({}, {}, six), /no peer has an IPv4 route/);
  t.match(await why({}, {}, lost), /no peer has an IPv4 route/);
  t.match(await why({ tunnelSegmentation: () => 0 }), noCut);
  t.match(await why({ tunnelSegmentation: () => -ERRNO.ENODEV }), noCut);
  t.match(await why({ tunnelSegmentation: () => CUTS }), noCut, 'outer checksums require both features');
  t.match(await why({ tunnelSegmentation: () => CUTS_WITH_CHECKSUM }), noCut);
  t.match(await why({ tunnelSegmentation: () => CUTS }, { udpChecksum: false }), /6\.17/);
  t.match(await why({ policyCount: () => 1 }), /IPsec policies/);
  t.match(await why({ policyCount: () => -ERRNO.EPERM }), /IPsec policies \(EPERM\)/);
  t.match(await why({}), /no TUN_F_UDP_TUNNEL_GSO/);
  t.match(await why({ tunnelOpen: () => -ERRNO.EBUSY }), /^vtgso4789: EBUSY/);
});

t.test('a missing permission is reported with the operation and what is missing', async (t) => {
  const { shim } = machine({ tunnelOpen: () => FD });
  const refused = () => Promise.reject(new NotPermittedError('cannot attach (EPERM)', 'CAP_BPF'));
  const tunnel = new TunnelOffload(shim, NO_DEVICES, SPEC, refused);
  for (let attempt = 0; attempt < 2; attempt++)
    t.match(await tunnel.find(PEERS), {
      why: 'vtgso4789: cannot attach (EPERM): this requires CAP_BPF, see docs/systemd.md',
      notPermitted: { operation: 'cannot attach (EPERM)', missing: 'CAP_BPF' },
    });
});

t.test('a device that cannot be set up is closed and not tried again', async (t) => {
  let opened = 0;
  const { shim, closed } = machine({ tunnelOpen: () => FD + opened++ });
  const tunnel = new TunnelOffload(shim, NO_DEVICES, { ...SPEC, port: 4790 });
  for (let attempt = 0; attempt < 2; attempt++) {
    const found = await tunnel.find(PEERS);
    t.match(
      'why' in found ? found.why : '',
      /^vtgso4790: .*forwarding/,
      'the setting of a missing device cannot be written',
    );
  }
  await tunnel.close();
  t.same([opened, closed], [1, [FD]]);
});

t.test(
  'chooses the route of most peers; routes with equal device, address and MTU count as one',
  async (t) => {
    const peers: TunnelPeer[] = [
      { peerIdx: 0, family: 4, route: { ...route, device: 'eth1' } },
      { peerIdx: 1, family: 4, route: { ...route } },
      { peerIdx: 2, family: 4, route: { ...route } },
      { peerIdx: 3, family: 4, route: { ...route, device: 'eth1', mtu: 1400 } },
      { peerIdx: 4, family: 6, route: { ...route, device: 'eth2' } },
      { peerIdx: 5, family: 6, route: { ...route, device: 'eth2' } },
      { peerIdx: 6, family: 6, route: { ...route, device: 'eth2' } },
    ];
    const { shim, asked } = machine();
    await new TunnelOffload(shim, NO_DEVICES, SPEC).find(peers);
    t.same(asked, ['eth0']);
  },
);

t.test('policies are read again at each call', async (t) => {
  let count = 0;
  const tunnel = new TunnelOffload(machine({ policyCount: () => count }).shim, NO_DEVICES, SPEC);
  t.equal(tunnel.obstacle(), undefined);
  count = 2;
  t.match(tunnel.obstacle(), { why: /IPsec/, cure: /--kernel-path off/ });
});
