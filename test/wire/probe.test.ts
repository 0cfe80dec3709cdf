import t from 'tap';
import {
  isProbe,
  nonceHigh,
  nonceLow,
  PROBE_LEN,
  PROBE_REPLY,
  PROBE_REQUEST,
  probedLen,
  probeKind,
  probeVni,
  writeProbe,
} from '../../src/wire/probe.js';
import { concat, hex, patched } from '../support/hex.js';

const REQUEST = hex(`
  00 00 00 00               # flags: no I
  00 00 64 00               # VNI 100
  76 74 65 70               # "vtep"
  01 01 00 1c               # version 1, request of 28 bytes
  80 00 00 01 ff ff ff fe   # nonce
  00 00 00 00               # padding
`);
const REPLY = concat(patched(REQUEST, 13, PROBE_REPLY).slice(0, PROBE_LEN));

t.test('rejects a probe truncated at any length', async (t) => {
  for (let len = 0; len < REQUEST.length; len++) t.equal(isProbe(REQUEST, 0, len), false, `request: ${len}`);
  for (let len = 0; len < REPLY.length; len++) t.equal(isProbe(REPLY, 0, len), false, `reply: ${len}`);
});

t.test('rejects datagrams that are not probes', async (t) => {
  const rows: [string, Uint8Array][] = [
    ['I flag set', patched(REQUEST, 0, 0x08)],
    ['any other flag set', patched(REQUEST, 0, 0x80)],
    ['magic, first byte', patched(REQUEST, 8, 0x77)],
    ['magic, last byte', patched(REQUEST, 11, 0x71)],
    ['version 0', patched(REQUEST, 12, 0)],
    ['version 2', patched(REQUEST, 12, 2)],
    ['kind 0', patched(REQUEST, 13, 0)],
    ['kind 5', patched(REQUEST, 13, 5)],
    ['length field too small', patched(REQUEST, 15, 0x1b)],
    ['length field too large', patched(REQUEST, 15, 0x1d)],
    ['a padded reply', concat(REPLY, Uint8Array.of(0))],
    ['a VXLAN frame', concat(hex('08 00 00 00 00 00 64 00'), new Uint8Array(40))],
  ];
  for (const [name, b] of rows) t.equal(isProbe(b, 0, b.length), false, name);
});

t.test('reads and writes a request and its reply', async (t) => {
  for (const [kind, b] of [
    [PROBE_REQUEST, REQUEST],
    [PROBE_REPLY, REPLY],
  ] as const) {
    t.equal(isProbe(b, 0, b.length), true);
    t.equal(probeKind(b, 0), kind);
    t.equal(probeVni(b, 0), 100);
    t.equal(probedLen(b, 0), 28);
    t.equal(nonceHigh(b, 0), -(2 ** 31) + 1);
    t.equal(nonceLow(b, 0), -2);
    const written = new Uint8Array(b.length + 4).fill(0xee);
    written.fill(0, 2 + PROBE_LEN, 2 + b.length);
    writeProbe(written, 2, kind, 100, 28, -(2 ** 31) + 1, -2);
    t.same(written.slice(2, 2 + b.length), b, 'every byte is written');
    t.same([written[1], written[2 + b.length]], [0xee, 0xee], 'no other byte is written');
  }
});

t.test('accepts the limits of the ranges', async (t) => {
  const b = new Uint8Array(65507);
  writeProbe(b, 0, PROBE_REQUEST, 0xffffff, b.length, 0, -1);
  t.equal(isProbe(b, 0, b.length), true, 'the largest UDP datagram');
  t.equal(probeVni(b, 0), 0xffffff);
  t.equal(probedLen(b, 0), 65507);
});
