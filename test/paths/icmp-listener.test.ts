/** Acceptance and rate limit of ICMP messages about paths, in the form that raw sockets return. */
import t from 'tap';
import { IcmpListener } from '../../src/paths/icmp-listener.js';
import { hex, patched } from '../support/hex.js';

const MESSAGE = hex(`
  45 00 00 38 00 00 00 00 40 01 00 00 c0 00 02 01 c0 00 02 0a   # an IPv4 header
  03 04 00 00 00 00 05 78   # fragmentation needed, next hop 1400
  45 00 05 dc 00 00 40 00 3f 11 00 00   # quoted: UDP
  c0 00 02 0a c6 33 64 01   # from 192.0.2.10 to 198.51.100.1
  c0 01 12 b5 05 c8 00 00   # port 49153 → 4789
`);
const QUOTE = 28;

function setUp() {
  const reports: unknown[] = [];
  const listener = new IcmpListener({
    device: '',
    isOurPort: (port) => port === 49153,
    isOurs: (address) => address === '192.0.2.10',
    isPeer: (address) => address === '198.51.100.1' || address === '198.51.100.2',
    onTooBig: (...what) => reports.push(what),
  });
  return { reports, receive: (message: Uint8Array, nowMs = 0) => listener.receive(4, message, nowMs) };
}

t.test('messages with a wrong quote are ignored', async (t) => {
  const { reports, receive } = setUp();
  const rows: [string, Uint8Array][] = [
    ['not from a local address', patched(MESSAGE, QUOTE + 15, 11)],
    ['not to a peer', patched(MESSAGE, QUOTE + 19, 9)],
    ['not from a port of the pool', patched(MESSAGE, QUOTE + 21, 2)],
    ['not UDP', patched(MESSAGE, QUOTE + 9, 6)],
    ['another error', patched(MESSAGE, 21, 1)],
    ['nothing', new Uint8Array(0)],
  ];
  for (const [name, message] of rows) {
    receive(message);
    t.same(reports, [], name);
  }
});

t.test('a matching message is reported with the quoted port and the MTU of the message', async (t) => {
  const { reports, receive } = setUp();
  receive(MESSAGE);
  t.same(reports, [[4, '198.51.100.1', 4789, 1400]]);
});

t.test('a peer is reported at most once per second, but a narrower path at once', async (t) => {
  const { reports, receive } = setUp();
  const to2 = patched(MESSAGE, QUOTE + 19, 2);
  const narrower = patched(MESSAGE, 26, 0x05, 0x14);
  for (const nowMs of [0, 500, 999]) receive(MESSAGE, nowMs);
  t.equal(reports.length, 1);
  receive(to2, 999);
  t.equal(reports.length, 2, 'a message about another peer is reported too');
  receive(narrower, 999);
  t.same(reports.at(-1), [4, '198.51.100.1', 4789, 1300]);
  receive(MESSAGE, 1500);
  t.equal(reports.length, 3);
  receive(MESSAGE, 1999);
  t.equal(reports.length, 4);
});

t.test('a message with another port does not suppress a genuine one', async (t) => {
  const { reports, receive } = setUp();
  receive(patched(MESSAGE, 26, 0x02, 0x40, ...MESSAGE.slice(28, QUOTE + 22), 0, 53));
  receive(MESSAGE);
  t.same(
    reports.map((what) => (what as number[]).slice(2)),
    [
      [53, 576],
      [4789, 1400],
    ],
  );
});

t.test('reports of a flood are limited to 100 per second', async (t) => {
  const { reports, receive } = setUp();
  for (let i = 0; i < 1000; i++) receive(patched(MESSAGE, QUOTE + 22, i >> 8, i & 0xff), i / 2);
  t.equal(reports.length, 100);
  receive(MESSAGE, 1000);
  t.equal(reports.length, 101);
});
