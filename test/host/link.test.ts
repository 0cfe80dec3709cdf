import t from 'tap';
import { HostError } from '../../src/host/host-error.js';
import { deviceIndex, findLink, getLink, indexIn, parseLink, tagsOver } from '../../src/host/link.js';

t.test('properties that ip omits get their default values', async (t) => {
  t.strictSame(parseLink({ ifindex: 7, ifname: 'eth0', flags: [], mtu: 1500 }), {
    index: 7,
    name: 'eth0',
    up: false,
    mtu: 1500,
    mac: '',
    master: '',
    parent: '',
    alias: '',
    kind: '',
    addrGenMode: '',
    data: {},
  });
});

t.test('a TAP in a bridge is parsed as iproute2 6.1 prints it (shortened)', async (t) => {
  const link = parseLink({
    ifindex: 2,
    ifname: 'vtep100',
    flags: ['BROADCAST', 'MULTICAST', 'UP', 'LOWER_UP'],
    mtu: 1500,
    master: 'br-vxlan',
    operstate: 'UP',
    link_type: 'ether',
    address: 'fe:71:93:df:c2:eb',
    min_mtu: 68,
    max_mtu: 65521,
    linkinfo: {
      info_kind: 'tun',
      info_data: { type: 'tap', pi: false, vnet_hdr: true, multi_queue: false, persist: false },
      info_slave_kind: 'bridge',
      info_slave_data: { state: 'forwarding' },
    },
    inet6_addr_gen_mode: 'none',
    ifalias: 'vtepd vni 100',
  });
  t.match(link, {
    name: 'vtep100',
    up: true,
    mac: 'fe:71:93:df:c2:eb',
    master: 'br-vxlan',
    alias: 'vtepd vni 100',
    kind: 'tun',
    addrGenMode: 'none',
    data: { type: 'tap', multi_queue: false },
  });
});

t.test('the tag count is the depth of the deepest stack of VLAN devices', async (t) => {
  const vlan = (ifname: string, link: string) => parseLink({ ifname, link, flags: ['UP'], mtu: 1500 });
  const vlans = [vlan('eth0.5', 'eth0'), vlan('br.100', 'br-vxlan'), vlan('br.200', 'br-vxlan')];
  t.equal(tagsOver('vtep100', vlans), 0);
  t.equal(tagsOver('br-vxlan', vlans), 1);
  t.equal(tagsOver('br-vxlan', [...vlans, vlan('br.200.7', 'br.200')]), 2);
});

t.test(
  'for a missing device findLink returns undefined and getLink throws an error with its name',
  async (t) => {
    t.equal(await findLink('nosuchdevice'), undefined);
    await t.rejects(getLink('nosuchdevice'), new HostError('network device nosuchdevice does not exist'));
  },
);

t.test('the index of a device is found in /proc/net/if_inet6', async (t) => {
  const ifInet6 = [
    // address                         index  len scope flags name
    '00000000000000000000000000000001 01 80 10 80       lo',
    'fe800000000000000042acfffe110002 1f 40 20 80     eth0',
    'fd010000000000000000000000000010 1f 40 00 80     eth0',
    '',
  ].join('\n');
  t.equal(indexIn('', 'eth0'), 0);
  t.equal(indexIn(ifInet6, 'eth'), 0, 'a prefix of a name does not match');
  t.equal(indexIn(ifInet6, '1f'), 0, 'other columns do not match');
  t.equal(indexIn(ifInet6, 'eth0'), 31, 'the index is hexadecimal');
  t.equal(indexIn(ifInet6, 'lo'), 1);
});

t.test('a numeric index is accepted, and the error for an unknown name contains the name', async (t) => {
  t.equal(deviceIndex('12'), 12);
  t.throws(() => deviceIndex('nosuchdevice'), { name: 'HostError', message: /nosuchdevice/ });
});
