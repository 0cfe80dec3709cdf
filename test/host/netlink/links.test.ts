/**
 * Devices from messages of Linux 6.18, and the requests that change them.
 *
 * The messages are shortened: attributes that vtepd does not read are left out.
 */
import t, { type Test } from 'tap';
import {
  addLink,
  deleteLink,
  parseLink,
  parsePort,
  parseRemoval,
  setLink,
  setPort,
} from '../../../src/host/netlink/links.js';
import { type Message, messagesIn } from '../../../src/host/netlink/message.js';
import type { Operation } from '../../../src/host/netlink/request.js';
import { hex, patched } from '../../support/hex.js';

function message(text: string): Message {
  const [first] = messagesIn(hex(text));
  return first;
}

const TAP = `
  d4000000 10000000 00000000 00000000   # length 212, RTM_NEWLINK
  00000100 03000000 02100000 00010000   # AF_UNSPEC, Ethernet, index 3, flags: BROADCAST, MULTICAST
  09000300 74617030 00000000            # IFLA_IFNAME "tap0"
  08000400 dc050000                     # IFLA_MTU 1500
  08000a00 02000000                     # IFLA_MASTER 2
  08001400 6c616200                     # IFLA_IFALIAS "lab"
  0a000100 2edf6001 66920000            # IFLA_ADDRESS
  0c000600 6e6f7175 65756500            # IFLA_QDISC, which is not read
  68001200                              # IFLA_LINKINFO
    08000100 74756e00                   #   IFLA_INFO_KIND "tun"
    24000200                            #   IFLA_INFO_DATA
      05000300 02000000                 #     IFLA_TUN_TYPE: IFF_TAP
      05000700 01000000                 #     IFLA_TUN_MULTI_QUEUE
      08000800 02000000                 #     IFLA_TUN_NUM_QUEUES
      08000900 01000000                 #     IFLA_TUN_NUM_DISABLED_QUEUES
    0b000400 62726964 67650000          #   IFLA_INFO_SLAVE_KIND "bridge"
    2c000500                            #   IFLA_INFO_SLAVE_DATA
      05000100 00000000                 #     IFLA_BRPORT_STATE, which cannot be set
      06000200 20000000                 #     IFLA_BRPORT_PRIORITY 32
      08000300 02000000                 #     IFLA_BRPORT_COST 2
      05000800 01000000                 #     IFLA_BRPORT_LEARNING
      05002100 01000000                 #     IFLA_BRPORT_ISOLATED
  10001a00                              # IFLA_AF_SPEC
    0c000a00                            #   AF_INET6
      05000800 01000000                 #     IFLA_INET6_ADDR_GEN_MODE: none
`;

const PORT = new Map([
  [2, hex('2000')],
  [3, hex('02000000')],
  [8, hex('01')],
  [33, hex('01')],
]);

t.test('a TAP in a bridge', async (t) => {
  t.strictSame(parseLink(message(TAP)), {
    index: 3,
    name: 'tap0',
    up: false,
    mtu: 1500,
    mac: '2e:df:60:01:66:92',
    master: 2,
    lower: 0,
    alias: 'lab',
    kind: 'tun',
    addrGenMode: 'none',
    tun: { isTap: true, isMultiQueue: true, queues: 3 },
    vxlanPort: 0,
    port: PORT,
  });
});

t.test('a device without attributes has the default values', async (t) => {
  const found = message(`
    20000000 10000000 00000000 00000000
    00000100 05000000 01000000 00000000   # index 5, UP
  `);
  t.strictSame(parseLink(found), {
    index: 5,
    name: '',
    up: true,
    mtu: 0,
    mac: '',
    master: 0,
    lower: 0,
    alias: '',
    kind: '',
    addrGenMode: '',
    tun: undefined,
    vxlanPort: 0,
    port: undefined,
  });
});

t.test('truncated messages and attributes of the wrong size', async (t) => {
  const { body, ...rest } = message(TAP);
  for (let length = 0; length < 16; length++)
    t.equal(parseLink({ ...rest, body: body.subarray(0, length) }), undefined);
  for (let length = 16; length < body.length; length++)
    t.equal(parseLink({ ...rest, body: body.subarray(0, length) })?.index, 3, `${length} bytes`);
  const short = message(`
    34000000 10000000 00000000 00000000
    00000100 05000000 01000000 00000000
    06000400 dc05 0000                    # IFLA_MTU of two bytes
    08000100 02000000                     # IFLA_ADDRESS of four bytes (IPv4 tunnel)
    04001200                              # IFLA_LINKINFO without content
  `);
  t.match(parseLink(short), { mtu: 0, mac: '', kind: '' });
});

t.test('a vxlan device, and one with a truncated port', async (t) => {
  const vxlan = hex(`
    44000000 10000000 00000000 00000000
    00000100 04000000 02100000 ffffffff
    24001200                              # IFLA_LINKINFO
      0a000100 76786c61 6e000000          #   IFLA_INFO_KIND "vxlan"
      14000200                            #   IFLA_INFO_DATA
        08000100 07000000                 #     IFLA_VXLAN_ID 7
        06000f00 12b50000                 #     IFLA_VXLAN_PORT 4789, big-endian
  `);
  t.match(parseLink(messagesIn(vxlan)[0]), { kind: 'vxlan', vxlanPort: 4789 });
  t.match(parseLink(messagesIn(patched(vxlan, 60, 5))[0]), { kind: 'vxlan', vxlanPort: 0 });
});

t.test('the lower device of a VLAN counts only within this namespace', async (t) => {
  const vlan = hex(`
    30000000 10000000 00000000 00000000
    00000100 06000000 02100000 ffffffff
    08000500 02000000                     # IFLA_LINK 2
    08002500 00000000                     # IFLA_LINK_NETNSID 0
  `);
  t.equal(parseLink(messagesIn(vlan)[0])?.lower, 0, 'index 2 of another namespace');
  t.equal(parseLink(messagesIn(patched(vlan, 42, 0x26))[0])?.lower, 2);
});

t.test('a change of the options of a bridge port', async (t) => {
  const port = message(`
    5c000000 10000000 00000000 00000000
    07000100 03000000 02100000 00000000   # AF_BRIDGE, index 3
    09000300 74617030 00000000            # IFLA_IFNAME "tap0"
    08000a00 02000000                     # IFLA_MASTER 2
    28000c80                              # IFLA_PROTINFO, nested
      06000200 20000000                   #   IFLA_BRPORT_PRIORITY 32
      08000300 02000000                   #   IFLA_BRPORT_COST 2
      05000800 01000000                   #   IFLA_BRPORT_LEARNING
      05002100 01000000                   #   IFLA_BRPORT_ISOLATED
      04001800                            #   IFLA_BRPORT_FLUSH, which is an action
  `);
  t.strictSame(parsePort(port), { index: 3, port: PORT });
  t.equal(parseLink(port), undefined);
  t.equal(parsePort(message(TAP)), undefined);
  t.equal(parsePort({ ...port, body: port.body.subarray(0, 15) }), undefined);
  t.equal(parsePort({ ...port, body: port.body.subarray(0, 40) }), undefined, 'without IFLA_PROTINFO');
});

t.test('a device is deleted, moves to another namespace, or leaves its bridge', async (t) => {
  const moved = hex(`
    30000000 11000000 00000000 00000000   # RTM_DELLINK
    00000100 04000000 02100000 ffffffff   # index 4
    08002d00 00000000                     # IFLA_NEW_NETNSID 0
    08003100 04000000                     # IFLA_NEW_IFINDEX 4
  `);
  const [message] = messagesIn(moved);
  t.strictSame(parseRemoval(message), { index: 4, isMoved: true });
  const deleted = { ...message, body: message.body.subarray(0, 16) };
  t.strictSame(parseRemoval(deleted), { index: 4, isMoved: false });
  t.equal(parseRemoval({ ...message, body: patched(message.body, 0, 7) }), undefined, 'left its bridge');
  t.equal(parseRemoval({ ...message, body: message.body.subarray(0, 15) }), undefined);
});

function assertBytes(t: Test, { request }: Operation, text: string): void {
  t.same(Buffer.from(request.encode(1)).toString('hex'), Buffer.from(hex(text)).toString('hex'));
}

t.test('a request to set nothing but flags', async (t) => {
  assertBytes(
    t,
    setLink('set up eth0', 7, { up: true, arp: false }),
    `
    20000000 10000500 01000000 00000000   # RTM_NEWLINK, request and ack
    00000000 07000000 81000000 81000000   # index 7, flags UP and NOARP, both changed
  `,
  );
  assertBytes(
    t,
    setLink('set down eth0', 7, { up: false, arp: true }),
    `
    20000000 10000500 01000000 00000000
    00000000 07000000 00000000 81000000   # both flags cleared
  `,
  );
});

t.test('a request to set every property', async (t) => {
  const settings = {
    name: 'eth1',
    mtu: 9000,
    mac: '02:00:00:00:00:2a',
    master: 0,
    alias: 'up',
    addrGenMode: 'none',
  };
  const operation = setLink('configure eth0', 7, settings);
  assertBytes(
    t,
    operation,
    `
    60000000 10000500 01000000 00000000
    00000000 07000000 00000000 00000000   # no flag changed
    09000300 65746831 00000000            # IFLA_IFNAME "eth1" with a zero
    08000400 28230000                     # IFLA_MTU 9000
    0a000100 02000000 002a0000            # IFLA_ADDRESS
    08000a00 00000000                     # IFLA_MASTER: none
    06001400 75700000                     # IFLA_IFALIAS "up" without a zero
    10001a80                              # IFLA_AF_SPEC
      0c000a80                            #   AF_INET6
        05000800 01000000                 #     IFLA_INET6_ADDR_GEN_MODE: none
  `,
  );
  t.equal(operation.what, 'configure eth0 (MTU 9000, MAC 02:00:00:00:00:2a, addrgenmode none)');
  t.equal(operation.device, 7);
});

t.test('an empty alias removes the alias', async (t) => {
  assertBytes(
    t,
    setLink('', 7, { alias: '' }),
    `
    24000000 10000500 01000000 00000000
    00000000 07000000 00000000 00000000
    04001400                              # IFLA_IFALIAS without content
  `,
  );
});

t.test('a request to create a bridge, and a device with data', async (t) => {
  const bridge = addLink('bridge', { name: 'br0', mac: 'fe:00:00:00:00:01' });
  t.equal(bridge.what, 'create the bridge device br0');
  assertBytes(
    t,
    bridge,
    `
    44000000 10000506 01000000 00000000   # RTM_NEWLINK, request, ack, create and exclusive
    00000000 00000000 00000000 00000000
    08000300 62723000                     # IFLA_IFNAME "br0"
    0a000100 fe000000 00010000            # IFLA_ADDRESS
    10001280                              # IFLA_LINKINFO
      0a000100 62726964 67650000          #   IFLA_INFO_KIND "bridge"
  `,
  );
  assertBytes(
    t,
    addLink('vlan', { name: 'v' }, [hex('06000100 05000000')]),
    `
    40000000 10000506 01000000 00000000
    00000000 00000000 00000000 00000000
    06000300 76000000                     # IFLA_IFNAME "v"
    18001280                              # IFLA_LINKINFO
      08000100 766c616e                   #   IFLA_INFO_KIND "vlan"
      0c000280                            #   IFLA_INFO_DATA
        06000100 05000000                 #     IFLA_VLAN_ID 5
  `,
  );
});

t.test('requests to set port options and to delete a device', async (t) => {
  assertBytes(
    t,
    setPort('', 3, new Map([[33, Uint8Array.of(1)]])),
    `
    3c000000 10000500 01000000 00000000
    00000000 03000000 00000000 00000000   # index 3
    1c001280                              # IFLA_LINKINFO
      0a000400 62726964 67650000          #   IFLA_INFO_SLAVE_KIND "bridge"
      0c000580                            #   IFLA_INFO_SLAVE_DATA
        05002100 01000000                 #     IFLA_BRPORT_ISOLATED
  `,
  );
  const { what, request } = deleteLink({ index: 3, name: 'tap0' });
  t.equal(what, 'delete tap0');
  assertBytes(
    t,
    { what, request },
    `
    20000000 11000500 01000000 00000000   # RTM_DELLINK
    00000000 03000000 00000000 00000000
  `,
  );
});
