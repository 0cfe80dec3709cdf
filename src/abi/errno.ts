/**
 * Names of the negative errnos that the shim returns.
 *
 * The numbers are those of the machine that runs this code.
 */
import { constants } from 'node:os';

const NAMES = new Map<number, string>();
// The first name of a number wins: EAGAIN, not EWOULDBLOCK.
for (const [name, value] of Object.entries(constants.errno)) if (!NAMES.has(value)) NAMES.set(value, name);

/** errno(3) numbers by name, positive: `ERRNO.EIO`. */
export const ERRNO = constants.errno;

/**
 * Name of a negative errno: `errnoName(-22)` is 'EINVAL'. An unknown number is returned as 'errno
 * 9999'.
 */
export function errnoName(negativeErrno: number): string {
  return NAMES.get(-negativeErrno) ?? `errno ${-negativeErrno}`;
}
