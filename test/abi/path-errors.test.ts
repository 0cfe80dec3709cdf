import t from 'tap';
import { PATH_ERRORS_CAP } from '../../src/abi/limits.js';
import { ORIGIN_ICMP, ORIGIN_LOCAL, PATH_ERRORS_LEN, PathErrors } from '../../src/abi/path-errors.js';
import { hex } from '../support/hex.js';

/** Path errors as written by the shim; little-endian like every supported machine. */
const ROWS = hex(`
  0200 b512  c0a8500b 00000000 00000000 00000000  00000000  14050000  02000000   # AF_INET, port 4789, 192.168.80.11, MTU 1300, ICMP
  0a00 0000  fe800000 00000000 00000000 00000011  07000000  dc050000  01000000   # AF_INET6, no port, fe80::11 scope 7, MTU 1500, local
`);

function filled(): PathErrors {
  const errors = new PathErrors();
  errors.bytes.set(ROWS);
  new Int32Array(errors.bytes.buffer)[PATH_ERRORS_CAP * 8] = 2;
  return errors;
}

t.test('path errors are read as the shim wrote them', async (t) => {
  const errors = filled();
  t.equal(errors.bytes.length, PATH_ERRORS_LEN);
  t.equal(errors.count, 2);
  t.same([errors.port(0), errors.mtu(0), errors.origin(0)], [4789, 1300, ORIGIN_ICMP]);
  t.same([errors.port(1), errors.mtu(1), errors.origin(1)], [0, 1500, ORIGIN_LOCAL]);
  t.equal(errors.words[0] & 0xffff, 2, 'the family is at the same offset as in a peer row');
  t.equal(errors.words[8 + 5], 7, 'the scope id is at the same offset as in a peer row');
});

t.test('moveFrom moves the path errors and empties the source', async (t) => {
  const from = filled();
  const to = filled();
  to.words.fill(-1, 0, 16);
  t.equal(to.moveFrom(from), 2);
  t.equal(to.count, 2);
  t.same(to.bytes.slice(0, ROWS.length), ROWS);
  t.equal(from.count, 0);
  t.equal(to.moveFrom(from), 0);
  t.equal(to.count, 0, 'a path error is not moved twice');
});
