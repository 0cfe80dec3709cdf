import t from 'tap';
import { ERRNO, errnoName } from '../../src/abi/errno.js';

t.test('an unknown number is returned as text', async (t) => {
  t.equal(errnoName(-9999), 'errno 9999');
  t.equal(errnoName(22), 'errno -22', 'a positive number is not an errno');
  t.equal(errnoName(0), 'errno 0');
});

t.test('negative errnos have the names of errno(3)', async (t) => {
  t.equal(errnoName(-22), 'EINVAL');
  t.equal(errnoName(-14), 'EFAULT');
  t.equal(errnoName(-ERRNO.EADDRINUSE), 'EADDRINUSE');
});

t.test('the usual name is returned when a number has two names', async (t) => {
  t.equal(ERRNO.EAGAIN, ERRNO.EWOULDBLOCK);
  t.equal(errnoName(-ERRNO.EWOULDBLOCK), 'EAGAIN');
});
