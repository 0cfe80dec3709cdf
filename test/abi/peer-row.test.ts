/** Packed peer rows in the layout of `struct peer_row`. */
import t from 'tap';
import { addressOfRow, writeRowAddress } from '../../src/abi/peer-row.js';
import { hex } from '../support/hex.js';

const IPV6 = hex('fe80 0000 0000 0000 0000 0000 0000 0011');

t.test('an address is read back as written', async (t) => {
  const bytes = new Uint8Array(16);
  bytes.set([192, 0, 2, 1]);
  for (const address of [
    { family: 4, bytes, port: 4789, scopeId: 0 },
    { family: 6, bytes: IPV6, port: 65_535, scopeId: 0xffff_ffff },
  ] as const) {
    const rows = new Uint8Array(64);
    writeRowAddress(rows.subarray(32), address);
    t.same(addressOfRow(new Int32Array(rows.buffer), 8), address);
    t.same([...rows.subarray(0, 32)], new Array(32).fill(0), 'the row in front of it is unchanged');
  }
});

t.test('family and port are in host order, the address in network order', async (t) => {
  const row = new Uint8Array(32);
  writeRowAddress(row, { family: 6, bytes: IPV6, port: 4789, scopeId: 7 });
  const words = new Uint16Array(row.buffer, 0, 2);
  t.same([...words], [10, 4789]);
  t.same([...row.subarray(4, 20)], [...IPV6]);
  t.equal(new Uint32Array(row.buffer)[5], 7);
});
