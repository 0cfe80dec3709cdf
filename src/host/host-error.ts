/**
 * A failure of the machine around us, not of the configuration: no /dev/net/tun, a port that is taken, no
 * permission. Its message is the one line that a user sees before exit code 1: it names the thing, the cause
 * and the cure. Thrown by everything in this folder; never by the data plane.
 */

export class HostError extends Error {
  override readonly name = 'HostError';
}

/** What every refusal for lack of rights is told. */
export const NEEDS_RIGHTS = 'run as root or with CAP_NET_ADMIN and CAP_NET_RAW';
