/** Whose word about a path is taken, and how often. Messages as a raw socket gives them. */
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

function hearing() {
  const told: unknown[] = [];
  const heard = new IcmpListener({
    device: '',
    isOurPort: (port) => port === 49153,
    isOurs: (address) => address === '192.0.2.10',
    isPeer: (address) => address === '198.51.100.1' || address === '198.51.100.2',
    onTooBig: (...what) => told.push(what),
  });
  return { told, hear: (message: Uint8Array, nowMs = 0) => heard.receive(4, message, nowMs) };
}

t.test('a wrong quote changes nothing', async (t) => {
  const { told, hear } = hearing();
  const rows: [string, Uint8Array][] = [
    ['not from an address of ours', patched(MESSAGE, QUOTE + 15, 11)],
    ['not to a peer', patched(MESSAGE, QUOTE + 19, 9)],
    ['not from a port of the pool', patched(MESSAGE, QUOTE + 21, 2)],
    ['not UDP', patched(MESSAGE, QUOTE + 9, 6)],
    ['another error', patched(MESSAGE, 21, 1)],
    ['nothing', new Uint8Array(0)],
  ];
  for (const [name, message] of rows) {
    hear(message);
    t.same(told, [], name);
  }
});

t.test('a right one is told, with port and MTU as quoted', async (t) => {
  const { told, hear } = hearing();
  hear(MESSAGE);
  t.same(told, [[4, '198.51.100.1', 4789, 1400]]);
});

t.test('once a second and peer, unless the path is smaller still', async (t) => {
  const { told, hear } = hearing();
  const to2 = patched(MESSAGE, QUOTE + 19, 2);
  const narrower = patched(MESSAGE, 26, 0x05, 0x14);
  for (const nowMs of [0, 500, 999]) hear(MESSAGE, nowMs);
  t.equal(told.length, 1);
  hear(to2, 999);
  t.equal(told.length, 2, 'another peer');
  hear(narrower, 999);
  t.same(told.at(-1), [4, '198.51.100.1', 4789, 1300]);
  hear(MESSAGE, 1500);
  t.equal(told.length, 3);
  hear(MESSAGE, 1999);
  t.equal(told.length, 4);
});

t.test('who quotes another port keeps nobody from being heard', async (t) => {
  const { told, hear } = hearing();
  hear(patched(MESSAGE, 26, 0x02, 0x40, ...MESSAGE.slice(28, QUOTE + 22), 0, 53));
  hear(MESSAGE);
  t.same(
    told.map((what) => (what as number[]).slice(2)),
    [
      [53, 576],
      [4789, 1400],
    ],
  );
});

t.test('a flood is told in part', async (t) => {
  const { told, hear } = hearing();
  for (let i = 0; i < 1000; i++) hear(patched(MESSAGE, QUOTE + 22, i >> 8, i & 0xff), i / 2);
  t.equal(told.length, 100);
  hear(MESSAGE, 1000);
  t.equal(told.length, 101);
});
