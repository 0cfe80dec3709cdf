/**
 * Names for the negative errnos that the shim answers. The numbers are those of the machine it runs on.
 */
import { constants } from 'node:os';

const NAMES = new Map<number, string>();
// Of two names for one number the first in the list stays: EAGAIN, not EWOULDBLOCK.
for (const [name, value] of Object.entries(constants.errno)) if (!NAMES.has(value)) NAMES.set(value, name);

/** errno(3) numbers by name, positive: `ERRNO.EIO`. */
export const ERRNO = constants.errno;

/** `errnoName(-22)` is 'EINVAL'. A number without a name comes back as text: 'errno 9999'. */
export function errnoName(negativeErrno: number): string {
  return NAMES.get(-negativeErrno) ?? `errno ${-negativeErrno}`;
}
