import t from 'tap';
import { networkOffset } from '../../src/wire/ethernet.js';
import { flowHash, flowSeed } from '../../src/wire/flow-hash.js';
import { concat, hex, patched } from '../support/hex.js';

const ETHERNET = hex('02 00 00 00 00 02  02 00 00 00 00 01');
const ipv4Packet = hex(`
  45 00 00 20 00 00 40 00 40 11 00 00
  0a 0a 0a 01   # 10.10.10.1
  0a 0a 0a 02   # 10.10.10.2
  c0 00 00 35 00 0c 00 00   # 49152 → 53
  ab cd ef 01
`);
const ipv6Packet = hex(`
  60 00 00 00 00 0c 11 40
  fd 00 00 00 00 00 00 00 00 00 00 00 00 00 00 01
  fd 00 00 00 00 00 00 00 00 00 00 00 00 00 00 02
  c0 00 00 35 00 0c 00 00   # 49152 → 53
  ab cd ef 01
`);
const fragmentHeader = hex('11 00 00 01 00 00 00 01');
const ipv4 = concat(ETHERNET, hex('08 00'), ipv4Packet);
const ipv6 = concat(ETHERNET, hex('86 dd'), ipv6Packet);
const ipv6Fragment = concat(
  ETHERNET,
  hex('86 dd'),
  patched(ipv6Packet.slice(0, 40), 4, 0, 20, 44),
  fragmentHeader,
  ipv6Packet.slice(40),
);
const arp = concat(ETHERNET, hex('08 06  00 01 08 00 06 04 00 01'), new Uint8Array(20));
const tagged = concat(ETHERNET, hex('81 00 00 64  08 00'), ipv4Packet);
const doubleTagged = concat(ETHERNET, hex('88 a8 00 64  81 00 00 c8  08 00'), ipv4Packet);

/** Offset in ipv4, behind 14 bytes of Ethernet header. */
const IP = 14;
const PORTS4 = IP + 20;
const PORTS6 = IP + 40;

function hashOf(b: Uint8Array, off: number, len: number, seed = 0): number {
  return flowHash(b, off, networkOffset(b, off, off + len), off + len, seed);
}

const hash = (b: Uint8Array) => hashOf(b, 0, b.length);

t.test('never reads beyond the frame', async (t) => {
  for (const frame of [ipv4, ipv6, ipv6Fragment, arp, tagged, doubleTagged]) {
    for (let len = 0; len <= frame.length; len++) {
      const zeros = concat(frame.slice(0, len), new Uint8Array(64));
      const ones = concat(frame.slice(0, len), new Uint8Array(64).fill(0xff));
      const h = hashOf(zeros, 0, len);
      t.equal(h, hashOf(ones, 0, len), `${len} bytes: the hash does not depend on later bytes`);
      t.equal(h, hashOf(frame.slice(0, len), 0, len), `${len} bytes: the buffer ends there`);
      t.equal(h, h | 0, `${len} bytes: the hash is an int32`);
    }
  }
  for (let len = 0; len < 14; len++)
    t.equal(hashOf(ipv4, 0, len), 0, `${len} bytes: the hash of a frame without addresses is 0`);
});

t.test('the hash of random bytes is an int32', async (t) => {
  let seed = 1;
  for (let round = 0; round < 2000; round++) {
    const b = Uint8Array.from(
      { length: round % 100 },
      () => (seed = (Math.imul(seed, 1103515245) + 12345) >>> 0) >>> 24,
    );
    if (b.length >= 14)
      b.set([0x08, 0x00, 0x86, 0xdd, 0x81, 0x00].slice((round % 3) * 2, (round % 3) * 2 + 2), 12);
    const h = hash(b);
    if (h !== (h | 0)) t.fail(`round ${round}: ${h}`);
  }
});

t.test('the hash depends on the fields of a flow', async (t) => {
  const changes: [string, Uint8Array, Uint8Array][] = [
    ['IPv4 source', ipv4, patched(ipv4, IP + 15, 9)],
    ['IPv4 destination', ipv4, patched(ipv4, IP + 19, 9)],
    ['IPv4 protocol', ipv4, patched(ipv4, IP + 9, 6)],
    ['source port', ipv4, patched(ipv4, PORTS4, 0xc0, 0x01)],
    ['destination port', ipv4, patched(ipv4, PORTS4 + 2, 0, 0x36)],
    ['IPv6 source, first byte', ipv6, patched(ipv6, IP + 8, 0xfe)],
    ['IPv6 destination, last byte', ipv6, patched(ipv6, IP + 39, 3)],
    ['IPv6 ports', ipv6, patched(ipv6, PORTS6, 0xc0, 0x01)],
    ['ARP: source MAC', arp, patched(arp, 11, 9)],
    ['ARP: destination MAC', arp, patched(arp, 0, 4)],
    ['EtherType', arp, patched(arp, 12, 0x88, 0xcc)],
    ['TCP ports', patched(ipv4, IP + 9, 6), patched(patched(ipv4, IP + 9, 6), PORTS4, 1, 1)],
    ['SCTP ports', patched(ipv4, IP + 9, 132), patched(patched(ipv4, IP + 9, 132), PORTS4, 1, 1)],
  ];
  for (const [what, a, b] of changes) t.not(hash(a), hash(b), what);
});

t.test('the hash does not depend on fields that vary within a flow', async (t) => {
  const icmp = patched(ipv4, IP + 9, 1);
  const changes: [string, Uint8Array, Uint8Array][] = [
    ['payload', ipv4, patched(ipv4, PORTS4 + 8, 9, 9, 9, 9)],
    ['UDP length and checksum', ipv4, patched(ipv4, PORTS4 + 4, 9, 9, 9, 9)],
    [
      'IPv4 identification, TOS, TTL',
      ipv4,
      patched(patched(patched(ipv4, IP + 4, 7, 7), IP + 1, 3), IP + 8, 1),
    ],
    ['DF', ipv4, patched(ipv4, IP + 6, 0, 0)],
    ['MAC addresses of IP', ipv4, patched(ipv4, 6, 2, 7, 7, 7, 7, 7)],
    ['VLAN tag', ipv4, tagged],
    ['two VLAN tags', ipv4, doubleTagged],
    ['priority of a tag', tagged, patched(tagged, 14, 0xe0)],
    ['Ethernet padding', ipv4, concat(ipv4, new Uint8Array(14).fill(7))],
    ['IPv6 traffic class and flow label', ipv6, patched(ipv6, IP, 0x6f, 0xff, 0xff, 0xff)],
    ['ICMP: the bytes where ports would be', icmp, patched(icmp, PORTS4, 8, 8, 8, 8)],
    ['802.3 length in place of an EtherType', patched(arp, 12, 0, 30), patched(arp, 12, 0, 20)],
  ];
  for (const [what, a, b] of changes) t.equal(hash(a), hash(b), what);
  const shifted = concat(new Uint8Array(9).fill(0xee), ipv4);
  t.equal(hashOf(shifted, 9, ipv4.length), hash(ipv4), 'the hash does not depend on the offset of the frame');
});

t.test('all fragments of a datagram have the same hash, including the first', async (t) => {
  const first = patched(ipv4, IP + 6, 0x20, 0x00);
  const later = patched(patched(ipv4, IP + 6, 0x20, 0x01), PORTS4, 7, 7, 7, 7);
  const last = patched(patched(ipv4, IP + 6, 0x00, 0xb9), PORTS4, 8, 8, 8, 8);
  t.equal(hash(later), hash(first));
  t.equal(hash(last), hash(first));
  const later6 = patched(patched(ipv6Fragment, IP + 42, 0x05, 0xa9), IP + 48, 7, 7, 7, 7);
  const last6 = patched(patched(ipv6Fragment, IP + 42, 0x0b, 0x50), IP + 48, 8, 8, 8, 8);
  t.equal(hash(later6), hash(ipv6Fragment));
  t.equal(hash(last6), hash(ipv6Fragment));
});

t.test('an extension header does not hide the ports', async (t) => {
  const options = hex('11 00 01 04 00 00 00 00');
  const packet = concat(patched(ipv6Packet.slice(0, 40), 4, 0, 20, 0), options, ipv6Packet.slice(40));
  t.equal(hash(concat(ETHERNET, hex('86 dd'), packet)), hash(ipv6));
});

t.test('200 similar flows spread over the buckets of the port pool', async (t) => {
  const families: [string, (i: number) => Uint8Array][] = [
    ['IPv4, source ports in a row', (i) => patched(ipv4, PORTS4, 0xc0, i)],
    ['IPv4, destination ports in a row', (i) => patched(ipv4, PORTS4 + 2, 0, i)],
    ['IPv4, hosts in a row', (i) => patched(ipv4, IP + 15, i)],
    ['IPv4, subnets in a row', (i) => patched(ipv4, IP + 18, i)],
    ['IPv4, hosts in a row, ICMP', (i) => patched(patched(ipv4, IP + 9, 1), IP + 19, i)],
    ['IPv6, source ports in a row', (i) => patched(ipv6, PORTS6 + 1, i)],
    ['IPv6, networks in a row', (i) => patched(ipv6, IP + 8 + 7, i)],
    ['ARP, MAC addresses in a row', (i) => patched(arp, 11, i)],
    ['ARP, vendors in a row', (i) => patched(arp, 7, i)],
  ];
  for (const [what, frame] of families) {
    const buckets = new Set(Array.from({ length: 200 }, (_, i) => hash(frame(i)) & 63));
    // 200 random hashes leave 64 · (1 − 1/64)^200 ≈ 2.7 of 64 buckets empty; more than nine are
    // improbable.
    t.ok(buckets.size >= 55, `${what}: ${buckets.size} of 64 buckets are used`);
  }
});

t.test('without the secret, the port of the same flow in another VNI is unpredictable', async (t) => {
  for (const frame of [ipv4, ipv6, arp, ipv6Fragment]) {
    const differences = new Set<number>();
    let equal = 0;
    for (let i = 0; i < 640; i++) {
      const secret = Math.imul(i, 0x9e3779b1);
      const victim = hashOf(frame, 0, frame.length, flowSeed(secret, 100)) & 63;
      const copy = hashOf(frame, 0, frame.length, flowSeed(secret, 200)) & 63;
      differences.add(victim ^ copy);
      if (victim === copy) equal++;
    }
    // With random ports, 10 of 640 secrets give both flows the same port, and all 64 differences
    // occur.
    t.ok(equal < 40, `${equal} of 640 secrets give both flows the same port`);
    t.ok(differences.size >= 60, `${differences.size} of 64 differences occur`);
  }
});

t.test('the seed depends on secret and VNI only', async (t) => {
  t.equal(flowSeed(-5, 100), flowSeed(-5, 100));
  t.not(flowSeed(-5, 100), flowSeed(-5, 101));
  t.not(flowSeed(-5, 100), flowSeed(-4, 100));
  t.equal(flowSeed(-5, 0xffffff), flowSeed(-5, 0xffffff) | 0, 'an int32');
});
