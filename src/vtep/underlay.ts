/**
 * Creates the underlay sockets and worker descriptors of a VTEP from its settings.
 *
 * The caller closes the sockets; an undo step closes each descriptor.
 */

import type { Shim } from '../abi/binding.js';
import type { Settings } from '../config/settings.js';
import type { WorkerDescriptors } from '../controller/handle.js';
import type { NewPeer } from '../exchange/data-plane.js';
import type { Machine } from '../host/machine.js';
import type { Rollback } from '../host/rollback.js';
import { openUnderlaySockets, type UnderlaySockets } from '../host/underlay-sockets.js';

export function engineOf({ io }: Settings): 'batch' | 'dgram' {
  return io === 'dgram' ? 'dgram' : 'batch';
}

/**
 * @param peers peers whose address families need sockets
 * @throws HostError
 */
export function openSockets(
  shim: Shim,
  machine: Machine,
  settings: Settings,
  peers: readonly NewPeer[],
): Promise<UnderlaySockets> {
  const { local, port, underlayDev, fwmark, sourcePorts, udpChecksum, df, ttl, workers } = settings;
  const ofFamily = (family: 4 | 6) => local.find((address) => address.family === family)?.text ?? '';
  return openUnderlaySockets(shim, {
    local4: ofFamily(4),
    local6: ofFamily(6),
    scopeId: (scope) => machine.scopeId(scope),
    needed: {
      ipv4: peers.some(({ address }) => address.family === 4),
      ipv6: peers.some(({ address }) => address.family === 6),
    },
    port,
    device: underlayDev,
    mark: fwmark,
    sourcePorts,
    udpChecksum,
    plain: engineOf(settings) === 'dgram',
    df,
    ttl,
    workers,
  });
}

/**
 * Predicate for the ports of the sending sockets of the engine `dgram`, whose ICMP errors are in no
 * error queue and must be read from raw sockets.
 */
export function portsOfDgram(shim: Shim, { sendFds }: UnderlaySockets): (port: number) => boolean {
  const pool = new Set(sendFds.filter((fd) => fd >= 0).map((fd) => shim.udpPort(fd)));
  return (port) => pool.has(port);
}

/**
 * Predicate for the source ports that the kernel chooses for the TCP flows that it forwards, all of
 * them over IPv4; their ICMP errors reach no socket. The range includes the ports of the source-port
 * pool, so errors about these ports are reported twice, which is harmless.
 */
export function portsOfFlows({ sourcePorts }: Settings): (port: number, family: 4 | 6) => boolean {
  return (port, family) => family === 4 && port >= sourcePorts.min && port <= sourcePorts.max;
}

/**
 * Creates the descriptors of each worker.
 *
 * @param undo collects one step per descriptor, which closes it
 * @throws Error when the limit of open files is reached
 */
export function workerDescriptors(shim: Shim, sockets: UnderlaySockets, undo: Rollback): WorkerDescriptors[] {
  const own = (fd: number, what: string): number => {
    if (fd < 0)
      throw new Error(
        `cannot create an ${what} descriptor (errno ${-fd}): raise the limit of open files (ulimit -n)`,
      );
    undo.push(() => void shim.close(fd));
    return fd;
  };
  return sockets.receiveFds.map((fds) => {
    const waitFd = own(shim.waitCreate(), 'epoll');
    const wakeFd = own(shim.eventCreate(), 'eventfd');
    return { waitFd, wakeFd, wake: () => void shim.eventFire(wakeFd), receiveFds: { ...fds } };
  });
}
