import t from 'tap';
import { type OuterHeader, outerLen, writeOuterHeader } from '../../src/capture/outer-headers.js';
import { parseIpAddress } from '../../src/wire/ip-address.js';

const end = (text: string, port: number) => ({ bytes: parseIpAddress(text)!.bytes, port });

function made(header: OuterHeader, payloadLen: number): string {
  const b = new Uint8Array(2 + outerLen(header.family));
  writeOuterHeader(b, 2, header, payloadLen);
  return Buffer.from(b.subarray(2)).toString('hex');
}

const words = (text: string) => text.replace(/\s/g, '');

t.test('writes the outer headers of IPv4', async (t) => {
  const header: OuterHeader = {
    family: 4,
    source: end('192.0.2.1', 50000),
    destination: end('192.0.2.2', 4789),
    tos: 0xb8,
    ttl: 64,
  };
  t.equal(
    made(header, 100),
    words(`000000000000 000000000000 0800
           45b8 0080 0000 0000 4011 f5b1 c0000201 c0000202
           c350 12b5 006c 0000`),
  );
  t.equal(made(header, 65_508).slice(32, 36), '0000', 'a length that exceeds the field is zero');
  t.equal(made(header, 65_507).slice(32, 36), 'ffff');
});

t.test('writes the outer headers of IPv6', async (t) => {
  const header: OuterHeader = {
    family: 6,
    source: end('2001:db8::1', 0),
    destination: end('2001:db8::2', 8472),
    tos: 0x03,
    ttl: 255,
  };
  t.equal(
    made(header, 16),
    words(`000000000000 000000000000 86dd
           60300000 0018 11 ff 20010db8000000000000000000000001 20010db8000000000000000000000002
           0000 2118 0018 0000`),
  );
});
