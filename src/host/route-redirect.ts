/**
 * Devices whose ingress BPF program forwards packets by route (native-shims/tunnel_device.c).
 *
 * The program sends each frame out along the route to its IPv4 destination; the host's stack never
 * sees it. IPv4 forwarding is enabled on such a device only.
 */
import { writeFileSync } from 'node:fs';
import type { Shim } from '../abi/binding.js';
import { ERRNO, errnoName } from '../abi/errno.js';
import { HostError } from './host-error.js';
import type { Machine } from './machine.js';
import { setLink } from './netlink/links.js';

/** The kernel supports the operation, but the process lacks the permission. */
export class NotPermittedError extends HostError {
  /** The failed operation, with its errno. */
  readonly operation: string;
  /** The missing permission. */
  readonly missing: string;

  constructor(operation: string, missing: string) {
    super(`${operation}: this requires ${missing}, see docs/systemd.md`);
    this.operation = operation;
    this.missing = missing;
  }
}

/**
 * Brings the device up and attaches the program.
 *
 * @param mark mark of the packets (SO_MARK), by which their route is looked up; 0: none
 * @returns fd that keeps the program attached
 * @throws HostError, NotPermittedError
 */
export async function redirectToRoute(
  shim: Shim,
  machine: Machine,
  name: string,
  mark: number,
): Promise<number> {
  turnOn(`/proc/sys/net/ipv4/conf/${name}/forwarding`);
  await quiet(machine, name);
  return attached(shim.tunnelAttach(machine.get(name).index, mark));
}

/** Brings the device up without IPv6 and ARP, so that the host itself sends nothing through it. */
export async function quiet(machine: Machine, name: string): Promise<void> {
  writeSetting(`/proc/sys/net/ipv6/conf/${name}/disable_ipv6`, '1');
  await machine.current();
  await machine.change(setLink(`set up ${name}`, machine.get(name).index, { arp: false, up: true }));
}

/**
 * @param linkFd result of the shim: fd or negative errno
 * @throws HostError, NotPermittedError, naming the missing capability
 */
export function attached(linkFd: number): number {
  if (linkFd === -ERRNO.EPERM) throw new NotPermittedError('cannot attach a BPF program (EPERM)', 'CAP_BPF');
  if (linkFd < 0) throw new HostError(`cannot attach a BPF program (${errnoName(linkFd)})`);
  return linkFd;
}

/** Writes 1 to a sysctl. @throws HostError, NotPermittedError, naming what is required */
function turnOn(path: string): void {
  try {
    writeFileSync(path, '1');
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code ?? '';
    const message = `cannot write ${path} (${code})`;
    if (!['EACCES', 'EPERM', 'EROFS'].includes(code)) throw new HostError(message);
    throw new NotPermittedError(message, 'a writable /proc/sys and CAP_BPF');
  }
}

/** Best effort: a machine without IPv6 lacks the setting. */
function writeSetting(path: string, value: string): void {
  try {
    writeFileSync(path, value);
  } catch {}
}
