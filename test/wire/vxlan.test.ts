import t from 'tap';
import {
  FLAG_I,
  hasReservedBits,
  hasVni,
  MAX_VNI,
  VXLAN_LEN,
  vni,
  writeVxlanHeader,
} from '../../src/wire/vxlan.js';
import { hex } from '../support/hex.js';

t.test('every bit of the header has the meaning of RFC 7348', async (t) => {
  for (let bit = 0; bit < VXLAN_LEN * 8; bit++) {
    const b = new Uint8Array(VXLAN_LEN);
    b[bit >>> 3] = 0x80 >>> (bit & 7);
    const isI = bit === 4;
    const isVni = bit >= 32 && bit < 56;
    t.equal(hasVni(b, 0), isI, `bit ${bit}: I`);
    t.equal(hasReservedBits(b, 0), !isI && !isVni, `bit ${bit}: reserved`);
    t.equal(vni(b, 0), isVni ? 2 ** (55 - bit) : 0, `bit ${bit}: VNI`);
  }
});

t.test('reads every value of the flags byte', async (t) => {
  for (let flags = 0; flags < 256; flags++) {
    const b = Uint8Array.of(flags, 0, 0, 0, 0, 0, 100, 0);
    t.equal(hasVni(b, 0), [...flags.toString(2).padStart(8, '0')][4] === '1', `flags ${flags}: I`);
    t.equal(hasReservedBits(b, 0), flags !== 0x00 && flags !== 0x08, `flags ${flags}: reserved`);
  }
});

t.test('reads and writes headers', async (t) => {
  const rows: [string, number][] = [
    ['08 00 00 00  # flags: I\n 00 00 00 00  # VNI 0', 0],
    ['08 00 00 00  # flags: I\n 00 00 01 00  # VNI 1', 1],
    ['08 00 00 00  # flags: I\n 00 00 64 00  # VNI 100', 100],
    ['08 00 00 00  # flags: I\n 80 00 00 00  # VNI 2^23: the sign bit of a 24-bit word', 2 ** 23],
    ['08 00 00 00  # flags: I\n ff ff ff 00  # VNI 2^24 - 1', MAX_VNI],
  ];
  for (const [bytes, id] of rows) {
    const b = hex(bytes);
    t.equal(vni(b, 0), id);
    t.equal(hasVni(b, 0), true);
    t.equal(hasReservedBits(b, 0), false);
    const written = new Uint8Array(VXLAN_LEN).fill(0xff);
    writeVxlanHeader(written, 0, id);
    t.same(written, b, `VNI ${id} is written completely, with zero reserved bits`);
  }
  t.equal(FLAG_I, 0x08);
});

t.test('writing a header changes only its eight bytes', async (t) => {
  const b = new Uint8Array(20).fill(0xee);
  writeVxlanHeader(b, 6, 0x123456);
  t.same(b, hex('eeeeeeeeeeee 08000000 12345600 eeeeeeeeeeee'));
  t.equal(vni(b, 6), 0x123456);
});
