import t from 'tap';
import type { Shim } from '../../../src/abi/binding.js';
import { FlowMaps } from '../../../src/switch/flows/flow-maps.js';
import { FROM_STATION, TO_STATION } from '../../../src/switch/flows/flow-port.js';
import { hex } from '../../support/hex.js';

const ROWS = 7;
const COUNTS = 8;
const INIT = { rows: ROWS, counts: COUNTS, slots: 256, shared: false, ttl: 64, udpChecksum: true };
const ROW = {
  vni: 0x010203,
  high: 0x0200,
  low: 0x0000000b,
  direction: FROM_STATION,
  until: 10_000,
  peer: new Int32Array(hex('c0000201').buffer)[0],
  frameLimit: 1464,
  tos: -1,
  df: true,
  slot: 9,
};

/** Records the system calls in the bytes that the kernel would read. */
function recording() {
  const calls: { call: string; map: number; key: string; words: number[] }[] = [];
  const note = (call: string, map: number, key: Uint8Array, value: Uint8Array = new Uint8Array(0)) => {
    calls.push({
      call,
      map,
      key: Buffer.from(key).toString('hex'),
      words: [...new Int32Array(Uint8Array.from(value).buffer)],
    });
    return 0;
  };
  const shim: Pick<Shim, 'flowPut' | 'flowDelete' | 'flowClear' | 'flowGet'> = {
    flowPut: (map, key, value) => note('put', map, key, value),
    flowDelete: (map, key) => note('delete', map, key),
    flowClear: (map) => note('clear', map, new Uint8Array(0)),
    flowGet: (map, key, value) => {
      new BigUint64Array(value.buffer).set([1n, 2n, 3n, 2n ** 40n]);
      return note('get', map, key);
    },
  };
  return { calls, shim: shim as Shim };
}

t.test('a row has the layout of struct row_key and struct row', async (t) => {
  const { calls, shim } = recording();
  t.ok(new FlowMaps(shim, INIT).put(ROW));
  const key = '03020100' + '02000000000b' + '0100';
  t.same(calls, [{ call: 'put', map: ROWS, key, words: [10_000, ROW.peer, 1464, 256, 64, 1, 9, 0] }]);
  const plain = recording();
  new FlowMaps(plain.shim, { ...INIT, udpChecksum: false }).put({ ...ROW, tos: 0xb8, df: false });
  t.same(plain.calls[0].words.slice(3, 6), [0xb8, 64, 2], 'TOS, TTL, no checksum');
});

t.test('put returns false when the map is full', async (t) => {
  const shim = { flowPut: () => -7 } as unknown as Shim;
  t.notOk(new FlowMaps(shim, INIT).put(ROW));
});

t.test('removes rows, clears the map and reads counts', async (t) => {
  const { calls, shim } = recording();
  const maps = new FlowMaps(shim, INIT);
  maps.remove(ROW.vni, ROW.high, ROW.low, TO_STATION);
  maps.clear();
  const cells = new Float64Array(6);
  t.ok(maps.counts(9, cells, 2));
  t.same([...cells], [0, 0, 1, 2, 3, 2 ** 40]);
  t.match(calls, [
    { call: 'delete', map: ROWS, key: '0302010002000000000b0000' },
    { call: 'clear', map: ROWS },
    { call: 'get', map: COUNTS, key: /^09000000/ },
  ]);
  const broken = new FlowMaps({ flowGet: () => -9 } as unknown as Shim, INIT);
  t.notOk(broken.counts(9, cells, 0), 'a closed map has no counts');
  t.same([...cells.subarray(0, 2)], [0, 0], 'if there are no counts, no cell is written');
});
