import t from 'tap';
import {
  ETHERNET_LEN,
  ETHERTYPE_ARP,
  ETHERTYPE_IPV4,
  ETHERTYPE_VLAN,
  etherType,
  hasVlanTag,
  networkEtherType,
  networkOffset,
} from '../../src/wire/ethernet.js';
import { concat, hex } from '../support/hex.js';

const ADDRESSES = hex('ff ff ff ff ff ff  02 00 00 00 00 01');
const untagged = concat(ADDRESSES, hex('08 06  00 01'));
const tagged = concat(ADDRESSES, hex('81 00 ef ff  08 00  45 00'));
const doubleTagged = concat(ADDRESSES, hex('88 a8 00 64  81 00 00 c8  86 dd  60 00'));
const tripleTagged = concat(ADDRESSES, hex('88 a8 00 64  81 00 00 c8  81 00 00 01  08 00'));

t.test('finds no network header in a frame truncated within its headers', async (t) => {
  // Behind a tag's type field Linux reads two more bytes; it discards a shorter frame without
  // counting the drop.
  for (const [frame, headers, least] of [
    [untagged, 14, 14],
    [tagged, 18, 20],
    [doubleTagged, 22, 24],
    [tripleTagged, 22, 24],
  ] as const) {
    for (let len = 0; len < least; len++) {
      t.equal(networkOffset(frame, 0, len), -1, `${len} of ${least}, the buffer has more bytes`);
      t.equal(networkOffset(frame.slice(0, len), 0, len), -1, `${len} of ${least}, the buffer ends there`);
    }
    t.equal(networkOffset(frame, 0, least), headers);
  }
});

t.test('skips up to two tags', async (t) => {
  t.equal(networkOffset(untagged, 0, untagged.length), ETHERNET_LEN);
  t.equal(networkEtherType(untagged, 14), ETHERTYPE_ARP);
  t.equal(networkOffset(tagged, 0, tagged.length), 18);
  t.equal(networkEtherType(tagged, 18), ETHERTYPE_IPV4);
  t.equal(networkOffset(doubleTagged, 0, doubleTagged.length), 22);
  t.equal(networkEtherType(doubleTagged, 22), 0x86dd);
  t.equal(networkOffset(tripleTagged, 0, tripleTagged.length), 22);
  t.equal(networkEtherType(tripleTagged, 22), ETHERTYPE_VLAN, 'a third tag is not skipped');
});

t.test('offsets are relative to the frame, not to the buffer', async (t) => {
  const b = concat(hex('81 00 81 00 81 00'), tagged);
  t.equal(networkOffset(b, 6, b.length), 24);
  t.equal(etherType(b, 6), ETHERTYPE_VLAN);
});

t.test('recognizes VLAN tags', async (t) => {
  t.equal(hasVlanTag(untagged, 0), false);
  t.equal(hasVlanTag(tagged, 0), true);
  t.equal(hasVlanTag(doubleTagged, 0), true, 'a service tag is a tag');
});
