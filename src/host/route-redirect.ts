/**
 * Devices whose incoming frames leave by the route to their IPv4 destination, led by a program at their ingress
 * (native-shims/tunnel_device.c): the host's stack never sees them. Forwarding is a setting of such a device alone.
 */
import { writeFileSync } from 'node:fs';
import type { Shim } from '../abi/binding.js';
import { ERRNO, errnoName } from '../abi/errno.js';
import { HostError } from './host-error.js';
import { getLink, setLink } from './link.js';

/** The machine could, but the process may not. */
export class NotPermittedError extends HostError {}

/** The device up, its program in place. @returns fd that keeps it so @throws HostError, NotPermittedError */
export async function redirectToRoute(shim: Shim, name: string): Promise<number> {
  turnOn(`/proc/sys/net/ipv4/conf/${name}/forwarding`);
  await quiet(name);
  const { index } = await getLink(name);
  return attached(shim.tunnelAttach(index));
}

/** The device up; nothing of the host's own leaves by it. */
export async function quiet(name: string): Promise<void> {
  writeSetting(`/proc/sys/net/ipv6/conf/${name}/disable_ipv6`, '1');
  await setLink(name, 'arp', 'off', 'up');
}

/** @param linkFd what the shim has answered @throws HostError that says what it takes */
export function attached(linkFd: number): number {
  if (linkFd === -ERRNO.EPERM)
    throw new NotPermittedError('no program may be attached (EPERM): it takes CAP_BPF, see docs/systemd.md');
  if (linkFd < 0) throw new HostError(`no program can be attached (${errnoName(linkFd)})`);
  return linkFd;
}

/** @throws HostError that says what it takes */
function turnOn(path: string): void {
  try {
    writeFileSync(path, '1');
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code ?? '';
    const message = `cannot write ${path} (${code})`;
    if (!['EACCES', 'EPERM', 'EROFS'].includes(code)) throw new HostError(message);
    throw new NotPermittedError(`${message}: it takes a writable /proc/sys and CAP_BPF, see docs/systemd.md`);
  }
}

/** A machine without IPv6 has no such setting. */
function writeSetting(path: string, value: string): void {
  try {
    writeFileSync(path, value);
  } catch {}
}
