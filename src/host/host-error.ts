/**
 * Error for a failure of the host rather than of the configuration.
 *
 * Examples are a missing /dev/net/tun, a port in use, a missing permission. The message is the one
 * line that the user sees before exit code 1: it names the thing, the cause and the cure. All
 * modules of this folder throw it; the data plane never does.
 */

export class HostError extends Error {
  override readonly name = 'HostError';
}

/** Cure that ends every message about missing permissions. */
export const NEEDS_RIGHTS = 'run as root or with CAP_NET_ADMIN and CAP_NET_RAW';
