import t from 'tap';
import { BATCH_LEN, Batch, COLUMNS } from '../../src/abi/batch.js';
import { loadShim } from '../../src/abi/binding.js';
import { checkLayout, EXPECTED_LAYOUT } from '../../src/abi/layout.js';
import {
  BATCH_CAP,
  PATH_ERRORS_CAP,
  PEER_ROW_LEN,
  SEND_SOCKETS,
  SOURCE_SOCKETS,
} from '../../src/abi/limits.js';
import { PATH_ERRORS_LEN } from '../../src/abi/path-errors.js';

t.test('a shim of another build is rejected; the error names number and remedy', async (t) => {
  for (const name of Object.keys(EXPECTED_LAYOUT)) {
    const other = { ...EXPECTED_LAYOUT, [name]: EXPECTED_LAYOUT[name] + 4 };
    t.throws(() => checkLayout({ layout: other }), { message: new RegExp(`\\(${name} is .*npm run build`) });
    const { [name]: _removed, ...missing } = EXPECTED_LAYOUT;
    t.throws(() => checkLayout({ layout: missing }), { message: `${name} is missing` });
  }
});

t.test('the compiled shim has exactly the expected layout', async (t) => {
  t.same(loadShim().layout, EXPECTED_LAYOUT);
});

t.test('the columns of a batch lie at the offsets of the shim', async (t) => {
  const { layout } = loadShim();
  const batch = new Batch();
  t.equal(layout['sizeof.batch'], BATCH_LEN);
  for (const name of COLUMNS) {
    const column: Int32Array = batch[name];
    t.equal(column.byteOffset, layout[`offsetof.batch.${name}`], `${name} lies at the shim's offset`);
    t.equal(column.length, layout.BATCH_CAP, `${name} has the shim's length`);
  }
  const columns = Object.keys(layout).filter((name) => name.startsWith('offsetof.batch.'));
  t.equal(columns.length, COLUMNS.length, 'the shim has no other columns');
});

t.test('both sides have the same limits', async (t) => {
  const { layout } = loadShim();
  t.equal(layout.BATCH_CAP, BATCH_CAP);
  t.equal(layout.SOURCE_SOCKETS, SOURCE_SOCKETS);
  t.equal(layout.SEND_SOCKETS, SEND_SOCKETS);
  t.equal(layout.PATH_ERRORS_CAP, PATH_ERRORS_CAP);
  t.equal(layout['sizeof.peerRow'], PEER_ROW_LEN);
  t.equal(layout['sizeof.pathErrors'], PATH_ERRORS_LEN);
});
