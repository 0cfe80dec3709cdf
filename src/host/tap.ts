/**
 * Opening a TAP: its queues, offloads and steering (Documentation/networking/tuntap.rst).
 *
 * The errors name the cause and the cure. `overlay-device.ts` configures the opened device.
 */
import { readFile } from 'node:fs/promises';
import type { Shim } from '../abi/binding.js';
import { ERRNO, errnoName } from '../abi/errno.js';
import { HostError, NEEDS_RIGHTS } from './host-error.js';
import type { Link } from './machine.js';
import type { Rollback } from './rollback.js';

export interface TapSpec {
  readonly tap: string;
  /** True to accept superframes and partial checksums from the kernel, if it supports them. */
  readonly offload: boolean;
  /** Number of threads that read and write the TAP; each gets its own queue. */
  readonly queues: number;
}

export interface OpenTap {
  /** Non-blocking descriptors, one per queue. */
  readonly fds: readonly number[];
  /**
   * '' when each flow stays on its queue; otherwise the errno name that explains why flows may
   * change queues.
   */
  readonly unsteered: string;
  /** Enabled offloads, by their names in linux/if_tun.h; empty unless requested. */
  readonly offloads: readonly TapOffload[];
  /** Negative errno of the refused offloads; 0 when none was refused. */
  readonly offloadError: number;
}

/**
 * TUN_F_* of linux/if_tun.h. The headers of Debian 12 lack TUN_F_USO4 and TUN_F_USO6, and Linux
 * supports them since 6.2.
 */
const OFFLOADS = {
  TUN_F_CSUM: 0x01,
  TUN_F_TSO4: 0x02,
  TUN_F_TSO6: 0x04,
  TUN_F_TSO_ECN: 0x08,
  TUN_F_USO4: 0x20,
  TUN_F_USO6: 0x40,
} as const;

export type TapOffload = keyof typeof OFFLOADS;

/** Sets of offloads to request, largest first: the kernel accepts a whole set or nothing. */
const OFFLOAD_STEPS: readonly (readonly TapOffload[])[] = [
  ['TUN_F_CSUM', 'TUN_F_TSO4', 'TUN_F_TSO6', 'TUN_F_TSO_ECN', 'TUN_F_USO4', 'TUN_F_USO6'],
  ['TUN_F_CSUM', 'TUN_F_TSO4', 'TUN_F_TSO6', 'TUN_F_TSO_ECN'],
  ['TUN_F_CSUM', 'TUN_F_TSO4', 'TUN_F_TSO6'],
  ['TUN_F_CSUM'],
];

/** All offloads: `OpenTap.offloads` when none is refused. */
export const ALL_OFFLOADS = OFFLOAD_STEPS[0];

const NO_OFFLOADS = { offloads: [], offloadError: 0 };

/**
 * Opens all queues of a TAP. The kernel creates the device if there is none of that name.
 *
 * @param existing device of that name before
 * @param undo collects the steps that close the TAP
 * @throws HostError
 */
export function openTap(shim: Shim, spec: TapSpec, existing: Link | undefined, undo: Rollback): OpenTap {
  if (existing) assertTap(existing, spec.queues);
  const fds: number[] = [];
  for (let queue = 0; queue < spec.queues; queue++) {
    const fd = shim.tapOpen(spec.tap, spec.queues > 1);
    if (fd < 0) throw new HostError(explainTapOpen(spec.tap, fd, existing));
    undo.push(() => void shim.close(fd));
    fds.push(fd);
  }
  const unsteered = fds.length > 1 ? steer(shim, fds[0], undo) : '';
  // The offloads are set after all queues are open, because opening a queue turns off the offloads
  // of the whole device.
  const offloads = spec.offload ? probeOffloads((bits) => shim.tapSetOffload(fds[0], bits)) : NO_OFFLOADS;
  return { fds, unsteered, ...offloads };
}

/**
 * Enables the largest set of offloads that the kernel accepts. The offloads are not probed again
 * while the device is open: if an administrator turns them off, the device delivers smaller frames,
 * which are forwarded as usual.
 *
 * @param set requests a set of TUN_F_* bits; returns 0 or a negative errno
 * @returns names of the enabled offloads, and the errno of the refused ones
 */
export function probeOffloads(set: (bits: number) => number): Pick<OpenTap, 'offloads' | 'offloadError'> {
  let offloadError = 0;
  for (const offloads of OFFLOAD_STEPS) {
    const answer = set(offloads.reduce((bits, name) => bits | OFFLOADS[name], 0));
    if (answer === 0) return { offloads, offloadError };
    offloadError = answer;
  }
  return { offloads: [], offloadError };
}

/**
 * @param fd descriptor of a TAP
 * @returns false when the TAP was deleted, in whichever network namespace it was
 */
export async function isTapThere(fd: number): Promise<boolean> {
  const info = await readFile(`/proc/self/fdinfo/${fd}`, 'utf8').catch(() => '');
  // drivers/net/tun.c, tun_chr_show_fdinfo(): the name of the interface, if there is one.
  return !/^iff:\s*$/m.test(info);
}

/**
 * Keeps each flow on one queue, so that threads do not reorder its frames.
 *
 * @returns '' or the errno name of the failure
 */
function steer(shim: Shim, fd: number, undo: Rollback): string {
  const status = shim.tapSteer(fd);
  if (status < 0) return errnoName(status);
  // Without this step a persistent device would keep the BPF program.
  undo.push(() => void shim.tapUnsteer(fd));
  return '';
}

/** @throws HostError when the device is not a TAP that vtepd can use */
function assertTap(link: Link, queues: number): void {
  const { name, kind, tun } = link;
  const other = 'choose another --tap name, or remove that device';
  if (tun === undefined) {
    throw new HostError(
      `${name} exists and is ${kind === '' ? 'not a' : `a ${kind} device, not a`} TAP: ${other}`,
    );
  }
  if (!tun.isTap) throw new HostError(`${name} exists and is a TUN (IP packets), not a TAP: ${other}`);
  // The kernel refuses a second user of a single-queue TAP, but would let vtepd share a multi-queue
  // TAP.
  if (tun.queues > 0) throw new HostError(explainTapOpen(name, -ERRNO.EBUSY, link));
  if (tun.isMultiQueue && queues === 1) {
    throw new HostError(`${name} was created with multi_queue, which requires --workers 2 or more: ${other}`);
  }
  if (!tun.isMultiQueue && queues > 1) {
    throw new HostError(
      `${name} was created without multi_queue, which --workers ${queues} needs: recreate it (ip tuntap add dev ${name} mode tap multi_queue), choose another --tap name, or omit --workers`,
    );
  }
}

/**
 * @param answer negative errno of `tapOpen`
 * @param existing the device before the attempt; undefined when there was none
 */
export function explainTapOpen(tap: string, answer: number, existing: Link | undefined): string {
  switch (-answer) {
    case ERRNO.ENOENT:
    case ERRNO.ENXIO:
    case ERRNO.ENODEV:
      return `no /dev/net/tun (${errnoName(answer)}): run "modprobe tun", or pass the device into the container (--device /dev/net/tun)`;
    case ERRNO.EACCES:
      return `not permitted to open TAP ${tap} (EACCES): this user cannot open /dev/net/tun; chmod 0666 /dev/net/tun, which is udev's default, or ${NEEDS_RIGHTS}`;
    case ERRNO.EPERM:
      return `not permitted to open TAP ${tap} (${errnoName(answer)}): ${NEEDS_RIGHTS}`;
    case ERRNO.EBUSY:
      return `TAP ${tap} is in use by another program${markOf(existing)}: stop it, or choose another --tap name`;
    case ERRNO.EINVAL:
      return `the kernel rejects ${tap} as the name of a TAP (EINVAL): choose another --tap name of at most 15 bytes`;
    default:
      return `cannot open TAP ${tap}: ${errnoName(answer)}`;
  }
}

function markOf(existing: Link | undefined): string {
  return existing?.alias.startsWith('vtepd ') ? ' (another vtepd)' : '';
}
