import t from 'tap';
import { isIcmpv6Error, writePacketTooBig } from '../../src/wire/icmpv6.js';
import { onesSum } from '../support/frames.js';
import { concat, hex } from '../support/hex.js';

const FROM = hex('fd 00 00 00 00 00 00 00 00 00 00 00 00 00 00 01');
const TO = hex('fd 00 00 00 00 00 00 00 00 00 00 00 00 00 00 02');
const packet = concat(
  hex(`
    6b 80 12 34   # version 6, DSCP 46, flow label
    00 0c 11 3f   # 12 bytes, UDP, hop limit 63
  `),
  FROM,
  TO,
  hex('9c 40 13 89 00 0c 12 34 de ad be ef'),
);

t.test('writes the whole message', async (t) => {
  const to = new Uint8Array(120).fill(0x77);
  const len = writePacketTooBig(to, 5, concat(hex('99'), packet), 1, 66_000);
  t.equal(len, 100);
  const message = to.slice(5, 5 + len);
  t.same(message.slice(0, 8), hex('60 00 00 00  00 3c 3a 40'), '60 bytes, ICMPv6, hop limit 64');
  t.same(
    message.slice(8, 40),
    concat(TO, FROM),
    'the message goes from the destination of the packet to its source',
  );
  t.same(message.slice(40, 42), hex('02 00'), 'packet too big');
  t.same(message.slice(44, 48), hex('00 01 01 d0'), 'MTU in 32 bits');
  t.same(message.slice(48), packet, 'the message quotes the packet');
  t.equal(onesSum(TO, FROM, hex('00 3c 00 3a'), message.slice(40)), 0xffff, 'checksum with pseudo-header');
  t.same(new Set([...to.slice(0, 5), ...to.slice(5 + len)]), new Set([0x77]), 'no other byte changes');
});

t.test('the message is at most 1280 bytes and quotes no more than the packet', async (t) => {
  for (const payloadLen of [0, 1191, 1192, 1193, 1460, 65_535]) {
    const b = new Uint8Array(65_575).map((_, i) => i);
    b.set(packet.slice(0, 40));
    b.set([payloadLen >>> 8, payloadLen & 0xff], 4);
    const to = new Uint8Array(1300);
    const len = writePacketTooBig(to, 0, b, 0, 1280);
    t.equal(len, Math.min(48 + 40 + payloadLen, 1280), `${payloadLen} bytes`);
    t.same(to.slice(48, len), b.slice(0, len - 48));
    const icmpLen = hex((len - 40).toString(16).padStart(4, '0'));
    t.equal(onesSum(TO, FROM, icmpLen, hex('00 3a'), to.slice(40, len)), 0xffff, 'checksum');
  }
});

t.test('recognizes the types that must not cause an error', async (t) => {
  const echoes = [128, 129, 133, 134, 135, 136, 143].filter(isIcmpv6Error);
  t.same(echoes, [], 'informational messages may cause an error');
  const errors = [1, 2, 3, 4, 100, 127].filter((type) => !isIcmpv6Error(type));
  t.same(errors, [], 'errors must not cause an error');
  t.equal(isIcmpv6Error(137), true, 'a redirect must not cause an error (RFC 4443 §2.4 e.2)');
});
