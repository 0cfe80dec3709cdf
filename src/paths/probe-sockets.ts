/**
 * Sockets that send path probes, one per address family.
 *
 * DF is set regardless of `--df`. The sockets are bound like the pool of sending sockets, with a
 * source port from the same range, so that a firewall that allows frames also allows probes. With a
 * single source port, probes leave from a socket of the receive group instead
 * (`host/underlay-sockets.ts`).
 *
 * Probing is best effort: paths of a family whose socket cannot be opened are not probed.
 */
import type { Shim } from '../abi/binding.js';
import { ERRNO } from '../abi/errno.js';
import { spreadOver } from '../host/source-ports.js';
import { openSocket, type UnderlaySpec } from '../host/underlay-sockets.js';

/** Options of `udpOpen`: error queue, DF. */
const SEND_WITH_DF = 2 | 4;
/**
 * Datagrams sent to the socket are not read; the error queue needs a few hundred bytes per message.
 */
const RECEIVE_BUFFER_LEN = 4096;
const SEND_BUFFER_LEN = 256 * 1024;

export interface ProbeFds {
  /** fd of the IPv4 socket; negative when there is none. */
  readonly ipv4: number;
  /** fd of the IPv6 socket; negative when there is none. */
  readonly ipv6: number;
}

export interface ProbeSockets extends ProbeFds {
  /** Binds sockets to their device again. @returns 0 or a negative errno */
  rebind(device: string, families: readonly (4 | 6)[]): number;
  close(): void;
}

export function openProbeSockets(
  shim: Shim,
  spec: Pick<UnderlaySpec, 'local4' | 'local6' | 'scopeId' | 'device' | 'mark' | 'sourcePorts' | 'ttl'>,
): ProbeSockets {
  const open = (family: 4 | 6): number => {
    const [fd = -1] = spreadOver(spec.sourcePorts, 1, (port) => {
      const answer = openSocket(shim, spec, family, port, SEND_WITH_DF, RECEIVE_BUFFER_LEN, SEND_BUFFER_LEN);
      return answer === -ERRNO.EADDRINUSE ? undefined : answer;
    });
    return fd;
  };
  const sockets = { ipv4: open(4), ipv6: open(6) };
  const close = () => {
    for (const fd of [sockets.ipv4, sockets.ipv6]) if (fd >= 0) shim.close(fd);
  };
  const rebind = (device: string, families: readonly (4 | 6)[]) =>
    families
      .map((family) => (family === 4 ? sockets.ipv4 : sockets.ipv6))
      .reduce((error, fd) => (fd < 0 ? error : error || shim.udpBindDevice(fd, device)), 0);
  return { ...sockets, rebind, close };
}
