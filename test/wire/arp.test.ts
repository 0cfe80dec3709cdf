import t from 'tap';
import { ARP_FRAME_LEN, isArpReply, writeArpProbe } from '../../src/wire/arp.js';
import { macParts } from '../support/frames.js';
import { hex, patched } from '../support/hex.js';

const REQUEST = hex(`
  02 00 00 00 00 0a         # to the host
  02 76 ff ff ff fe         # from a MAC of probes
  08 06
  00 01 08 00 06 04 00 01   # Ethernet, IPv4, request
  02 76 ff ff ff fe 00 00 00 00
  00 00 00 00 00 00 0a 0a 0a 02
`);

t.test('rejects truncated replies and other operations', async (t) => {
  const reply = patched(REQUEST, 21, 2);
  for (let len = 0; len < ARP_FRAME_LEN; len++) t.equal(isArpReply(reply, 0, len), false, `${len}`);
  t.equal(isArpReply(REQUEST, 0, REQUEST.length), false, 'a request');
  t.equal(isArpReply(patched(reply, 20, 1), 0, reply.length), false, 'operation 258');
  t.equal(isArpReply(reply, 0, reply.length), true);
});

t.test('writes a request and does not change the padding', async (t) => {
  const b = new Uint8Array(2 + ARP_FRAME_LEN + 3);
  b[0] = b[1] = 0xee;
  b.fill(0xee, 2 + ARP_FRAME_LEN);
  writeArpProbe(b, 2, -2, macParts('02:00:00:00:00:0a'), Uint8Array.of(10, 10, 10, 2));
  t.same(b.slice(2, 2 + ARP_FRAME_LEN), REQUEST);
  t.same([b[1], b[2 + ARP_FRAME_LEN]], [0xee, 0xee]);
});
