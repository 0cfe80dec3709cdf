/** Routes from answers of Linux 6.18, and the request for them. */
import t from 'tap';
import { parseRoute, routeRequest } from '../../../src/host/netlink/routes.js';
import { parseIpAddress } from '../../../src/wire/ip-address.js';
import { concat, hex, patched } from '../../support/hex.js';

const message = (body: Uint8Array) => ({ type: 24, flags: 0, sequence: 0, body });

const ROUTE = hex(`
  02200000 fe000001 00020000              # AF_INET, /32, table main, scope global, unicast
  08000f00 fe000000                       # RTA_TABLE main
  08000100 0a090101                       # RTA_DST 10.9.1.1
  08000400 02000000                       # RTA_OIF 2
  08000700 c0000209                       # RTA_PREFSRC 192.0.2.9
  08000500 c000024d                       # RTA_GATEWAY 192.0.2.77
`);
const METRICS = hex(`
  0c000800                                # RTA_METRICS
    08000200 78050000                     #   RTAX_MTU 1400
`);
const CACHE = hex(`
  24000c00                                # RTA_CACHEINFO
    02000000 00000000                     #   clntref, lastuse
    00000000                              #   expires
    00000000 00000000 00000000 00000000 00000000
`);
const EXPIRES_OFF = 12;

t.test('truncated messages and attributes of the wrong size', async (t) => {
  for (let length = 0; length < 36; length++)
    t.equal(parseRoute(message(ROUTE.subarray(0, length))), undefined, `${length} bytes: no device`);
  t.match(parseRoute(message(ROUTE.subarray(0, 36))), { device: 2, source: '' });
  t.equal(parseRoute(message(patched(ROUTE, 28, 6))), undefined, 'a device of two bytes');
  t.equal(parseRoute(message(patched(ROUTE, 0, 7))), undefined, 'another family');
  t.match(parseRoute(message(patched(ROUTE, 0, 10))), { source: '' }, 'an IPv6 source of four bytes');
  const shortCache = concat(ROUTE, METRICS, hex('0c000c00 02000000 00000000'));
  t.match(parseRoute(message(shortCache)), { mtu: 1400 });
});

t.test('the MTU of a route', async (t) => {
  t.strictSame(parseRoute(message(concat(ROUTE, CACHE))), { device: 2, source: '192.0.2.9', mtu: undefined });
  t.match(parseRoute(message(concat(ROUTE, METRICS, CACHE))), { mtu: 1400 });
  const learned = concat(ROUTE, METRICS, patched(CACHE, EXPIRES_OFF, 0x58, 0x02));
  t.match(
    parseRoute(message(learned)),
    { mtu: undefined },
    'an MTU that the kernel learned from ICMP expires',
  );
});

t.test('an IPv6 route to this host', async (t) => {
  const route = hex(`
    0a808000 ff000200 02000000              # AF_INET6, /128, source /128, table local, local
    14000100 00000000 00000000 00000000 00000001   # RTA_DST ::1
    14000700 00000000 00000000 00000000 00000001   # RTA_PREFSRC ::1
    08000400 01000000                       # RTA_OIF 1
  `);
  t.strictSame(parseRoute(message(route)), { device: 1, source: '::1', mtu: undefined });
});

t.test('the request', async (t) => {
  t.same(
    routeRequest(parseIpAddress('10.9.1.1')!, {}).encode(1),
    hex(`
      24000000 1a000500 01000000 00000000   # RTM_GETROUTE, request and ack
      02200000 00000000 00000000            # AF_INET, /32
      08000100 0a090101                     # RTA_DST
    `),
  );
  t.same(
    routeRequest(parseIpAddress('fe80::1%eth0')!, { oif: 7, mark: 0xffff_fff7 }).encode(1),
    hex(`
      40000000 1a000500 01000000 00000000
      0a800000 00000000 00000000            # AF_INET6, /128
      14000100 fe800000 00000000 00000000 00000001
      08000400 07000000                     # RTA_OIF 7
      08001000 f7ffffff                     # RTA_MARK
    `),
  );
});
