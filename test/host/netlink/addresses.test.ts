/** Addresses from messages of Linux 6.18, and the requests that change them. */
import t from 'tap';
import { addAddress, deleteAddress, isOfOthers, parseAddress } from '../../../src/host/netlink/addresses.js';
import { messagesIn } from '../../../src/host/netlink/message.js';
import { concat, hex, patched } from '../../support/hex.js';

const message = (body: Uint8Array) => ({ type: 20, flags: 0, sequence: 0, body });

const IPV4 = hex(`
  02188000 03000000                       # AF_INET, /24, flags: permanent, scope: global, index 3
  08000100 c0000201                       # IFA_ADDRESS 192.0.2.1
  08000200 c0000201                       # IFA_LOCAL
  09000300 74617030 00000000              # IFA_LABEL "tap0"
  08000800 80000000                       # IFA_FLAGS: permanent
  14000600 ffffffff ffffffff c6d74d00 c6d74d00   # IFA_CACHEINFO
`);

const IPV6 = hex(`
  0a40c000 03000000                       # AF_INET6, /64, flags: permanent, tentative; index 3
  14000100 fd010000 00000000 00000000 00000001   # IFA_ADDRESS fd01::1
  14000600 ffffffff ffffffff cad74d00 cad74d00   # IFA_CACHEINFO
  08000800 c0000000                       # IFA_FLAGS: permanent, tentative
`);
/** Offset of the value of IFA_FLAGS. */
const FLAGS_OFF = IPV6.length - 4;

t.test('truncated messages and attributes of the wrong size are no addresses', async (t) => {
  for (const whole of [IPV4, IPV6])
    for (let length = 0; length < 12; length++)
      t.equal(parseAddress(message(whole.subarray(0, length))), undefined, `${length} bytes`);
  t.equal(parseAddress(message(IPV6.subarray(0, 27))), undefined, 'half of an address');
  t.equal(parseAddress(message(patched(IPV4, 0, 10))), undefined, 'four bytes of an IPv6 address');
  t.equal(parseAddress(message(patched(IPV6, 0, 2))), undefined, '16 bytes of an IPv4 address');
  t.equal(parseAddress(message(patched(IPV4, 0, 7))), undefined, 'another family');
  t.equal(parseAddress(message(patched(IPV4, 8, 0))), undefined, 'a length of 0');
});

t.test('an IPv4 address', async (t) => {
  t.strictSame(parseAddress(message(IPV4)), {
    index: 3,
    family: 4,
    text: '192.0.2.1',
    length: 24,
    usable: true,
    protocol: 0,
    temporary: false,
  });
});

t.test('the address of this host on a point-to-point device', async (t) => {
  const found = parseAddress(message(patched(IPV4, 12, 198, 51, 100, 9)));
  t.equal(found?.text, '192.0.2.1', 'IFA_LOCAL, not IFA_ADDRESS');
});

t.test('states of an IPv6 address', async (t) => {
  const state = (flags: number, more = '') => {
    const { usable, temporary } = parseAddress(message(concat(patched(IPV6, FLAGS_OFF, flags), hex(more))))!;
    return { usable, temporary };
  };
  const plain = { usable: true, temporary: false };
  t.strictSame(parseAddress(message(IPV6))?.text, 'fd01::1');
  t.strictSame(state(0x80), plain);
  t.strictSame(state(0xc0), { ...plain, usable: false }, 'tentative');
  t.strictSame(state(0xc4), plain, 'optimistic (RFC 4429)');
  t.strictSame(state(0x88), { ...plain, usable: false }, 'duplicate address detection failed');
  t.strictSame(state(0x01), { ...plain, temporary: true });
  for (const [proto, isConfigured] of [
    ['00', true],
    ['01', false],
    ['02', false],
    ['03', false],
    ['76', false],
    ['bb', true],
  ] as const) {
    const { protocol } = parseAddress(message(concat(IPV6, hex(`05000b00 ${proto}000000`))))!;
    t.equal(protocol, Number.parseInt(proto, 16));
    t.equal(isOfOthers({ ...parseAddress(message(IPV6))!, protocol }), isConfigured, `IFA_PROTO ${proto}`);
  }
  const old = patched(IPV6.subarray(0, FLAGS_OFF - 4), 2, 0x40);
  t.equal(parseAddress(message(old))?.usable, false, 'flags of the fixed part, before Linux 3.14');
});

t.test('requests to add and remove an address', async (t) => {
  const add = addAddress('192.0.2.1/24', 3, 'tap0');
  t.equal(add.what, 'add the address 192.0.2.1/24 to tap0');
  t.same(
    add.request.encode(1),
    hex(`
      28000000 14000505 01000000 00000000   # RTM_NEWADDR, request, ack, create and replace
      02180000 03000000                     # AF_INET, /24, index 3
      08000200 c0000201                     # IFA_LOCAL
      08000100 c0000201                     # IFA_ADDRESS
    `),
  );
  const remove = deleteAddress('fd01::1/64', 3, 'tap0');
  t.equal(remove.what, 'remove the address fd01::1/64 from tap0');
  t.same(
    remove.request.encode(1),
    hex(`
      40000000 15000500 01000000 00000000   # RTM_DELADDR, request and ack
      0a400000 03000000                     # AF_INET6, /64, index 3
      14000200 fd010000 00000000 00000000 00000001
      14000100 fd010000 00000000 00000000 00000001
    `),
  );
  t.equal(messagesIn(remove.request.encode(1)).length, 1);
  t.throws(() => addAddress('192.0.2.1', 3, 'tap0'), /192\.0\.2\.1 is no address with a prefix length/);
});
