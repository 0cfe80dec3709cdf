import t from 'tap';
import { ERRNO, errnoName } from '../../src/abi/errno.js';

t.test('a number without a name comes back as a number', async (t) => {
  t.equal(errnoName(-9999), 'errno 9999');
  t.equal(errnoName(22), 'errno -22', 'errnos are negative here');
  t.equal(errnoName(0), 'errno 0');
});

t.test('negative errnos have the names of errno(3)', async (t) => {
  t.equal(errnoName(-22), 'EINVAL');
  t.equal(errnoName(-14), 'EFAULT');
  t.equal(errnoName(-ERRNO.EADDRINUSE), 'EADDRINUSE');
});

t.test('of two names for one number the usual one is given', async (t) => {
  t.equal(ERRNO.EAGAIN, ERRNO.EWOULDBLOCK);
  t.equal(errnoName(-ERRNO.EWOULDBLOCK), 'EAGAIN');
});
