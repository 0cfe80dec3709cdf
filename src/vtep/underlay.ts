/**
 * What a VTEP needs below its VNIs, made from settings: the sockets of the underlay and the
 * descriptors of its workers. The caller closes them.
 */

import type { Shim } from '../abi/binding.js';
import type { Settings } from '../config/settings.js';
import type { WorkerDescriptors } from '../controller/handle.js';
import type { NewPeer } from '../exchange/data-plane.js';
import type { Rollback } from '../host/rollback.js';
import { openUnderlaySockets, type UnderlaySockets } from '../host/underlay-sockets.js';

export function engineOf({ io }: Settings): 'batch' | 'dgram' {
  return io === 'dgram' ? 'dgram' : 'batch';
}

/** @param peers whose families must be there @throws HostError */
export function openSockets(
  shim: Shim,
  settings: Settings,
  peers: readonly NewPeer[],
): Promise<UnderlaySockets> {
  const { local, port, underlayDev, sourcePorts, udpChecksum, df, ttl, workers } = settings;
  const ofFamily = (family: 4 | 6) => local.find((address) => address.family === family)?.text ?? '';
  return openUnderlaySockets(shim, {
    local4: ofFamily(4),
    local6: ofFamily(6),
    needed: {
      ipv4: peers.some(({ address }) => address.family === 4),
      ipv6: peers.some(({ address }) => address.family === 6),
    },
    port,
    device: underlayDev,
    sourcePorts,
    udpChecksum,
    plain: engineOf(settings) === 'dgram',
    df,
    ttl,
    workers,
  });
}

/**
 * Source ports of whose datagrams no error queue tells what ICMP says: those of `node:dgram`, and those among which the
 * kernel chooses for TCP flows that it passes; some of these are the pool's as well, and told of twice. undefined: there are none.
 */
export function portsWithoutErrorQueue(
  shim: Shim,
  settings: Settings,
  { sendFds }: UnderlaySockets,
): ((port: number) => boolean) | undefined {
  const { flowOffload, sourcePorts } = settings;
  if (engineOf(settings) === 'batch')
    return flowOffload ? (port) => port >= sourcePorts.min && port <= sourcePorts.max : undefined;
  const pool = new Set(sendFds.filter((fd) => fd >= 0).map((fd) => shim.udpPort(fd)));
  return (port) => pool.has(port);
}

/** What each worker has for itself. @param undo takes how each is closed @throws Error */
export function workerDescriptors(shim: Shim, sockets: UnderlaySockets, undo: Rollback): WorkerDescriptors[] {
  const own = (fd: number, what: string): number => {
    if (fd < 0)
      throw new Error(`cannot make an ${what} (errno ${-fd}): raise the limit of open files (ulimit -n)`);
    undo.push(() => void shim.close(fd));
    return fd;
  };
  return sockets.receiveFds.map((fds) => {
    const waitFd = own(shim.waitCreate(), 'epoll');
    const wakeFd = own(shim.eventCreate(), 'eventfd');
    return { waitFd, wakeFd, wake: () => void shim.eventFire(wakeFd), receiveFds: { ...fds } };
  });
}
