/**
 * The TAP of one VNI: opens, configures and reverts it.
 *
 * A TAP (Documentation/networking/tuntap.rst of the kernel) gets a MAC, an MTU, addresses and
 * optionally a bridge. The kernel removes a new TAP when its descriptor is closed, so even a killed
 * daemon leaves no new TAP behind. An existing TAP is adopted with its MAC and restored on close.
 *
 * The composition root opens the TAP before the workers start, and calls `close` after the workers
 * have ended. This module neither reads nor writes frames.
 */
import type { Shim } from '../abi/binding.js';
import { ERRNO, errnoName } from '../abi/errno.js';
import { parseCidr } from '../wire/ip-address.js';
import { formatMac, parseMac } from '../wire/mac.js';
import { recordTap, restoreLeftover, restoreTap } from './adopted-tap.js';
import { bridgedMtu, leaveBridge, openBridge } from './bridge.js';
import { HostError, NEEDS_RIGHTS } from './host-error.js';
import { ip } from './ip-command.js';
import { addressesOf, findLink, getLink, type Link, setLink } from './link.js';
import type { Mac } from './mac-address.js';
import { Rollback } from './rollback.js';

export interface OverlayDeviceSpec {
  readonly vni: number;
  readonly tap: string;
  /** Bridge that the TAP joins; '' none. */
  readonly bridge: string;
  /** Addresses in the form `ADDRESS/LENGTH`. */
  readonly addresses: readonly string[];
  /** Configured MAC; '' uses the derived MAC, or that of an adopted TAP. */
  readonly mac: string;
  readonly derivedMac: Mac;
  /** Device MTU outside a bridge, bytes. */
  readonly unbridgedMtu: number;
  /** True to accept superframes and partial checksums from the kernel, if it supports them. */
  readonly offload: boolean;
  /** Number of threads that read and write the TAP; each gets its own queue. */
  readonly queues: number;
}

export interface OverlayDevice {
  /** Non-blocking descriptors of the TAP, one per queue; closed by `close`. */
  readonly fds: readonly number[];
  /**
   * '' when each flow stays on its queue; otherwise the errno name that explains why flows may
   * change queues.
   */
  readonly unsteered: string;
  readonly name: string;
  readonly mac: Mac;
  /** Device MTU, bytes; frames are checked against the overlay MTU instead. */
  readonly mtu: number;
  /** Enabled offloads, by their names in linux/if_tun.h; empty unless requested. */
  readonly offloads: readonly TapOffload[];
  /** Negative errno of the refused offloads; 0 when none was refused. */
  readonly offloadError: number;
  /** Frames that the kernel had dropped at the TAP's queue before vtepd opened it. */
  readonly queueDroppedBefore: number;
  /** The bridge that vtepd has put the TAP into; '' none. */
  readonly bridge: string;
  /**
   * Moves the TAP to another bridge, or out of its bridge if `bridge` is ''.
   * @throws HostError; the TAP is unchanged after a failure
   */
  moveTo(bridge: string, unbridgedMtu: number): Promise<void>;
  /**
   * Replaces the addresses that vtepd has added.
   *
   * @throws HostError; the addresses are unchanged after a failure
   */
  readdress(addresses: readonly string[]): Promise<void>;
  /** Reverts every change. @throws HostError naming what could not be reverted */
  close(): Promise<void>;
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

/** All offloads: `OverlayDevice.offloads` when none is refused. */
export const ALL_OFFLOADS = OFFLOAD_STEPS[0];

const NO_OFFLOADS = { offloads: [], offloadError: 0 };

/**
 * Enables the largest set of offloads that the kernel accepts. The offloads are not probed again
 * while the device is open: if an administrator turns them off, the device delivers smaller frames,
 * which are forwarded as usual.
 *
 * @param set requests a set of TUN_F_* bits; returns 0 or a negative errno
 * @returns names of the enabled offloads, and the errno of the refused ones
 */
export function probeOffloads(
  set: (bits: number) => number,
): Pick<OverlayDevice, 'offloads' | 'offloadError'> {
  let offloadError = 0;
  for (const offloads of OFFLOAD_STEPS) {
    const answer = set(offloads.reduce((bits, name) => bits | OFFLOADS[name], 0));
    if (answer === 0) return { offloads, offloadError };
    offloadError = answer;
  }
  return { offloads: [], offloadError };
}

/** @throws HostError; all changes made before the failure are reverted */
export async function openOverlayDevice(shim: Shim, spec: OverlayDeviceSpec): Promise<OverlayDevice> {
  const undo = new Rollback();
  return undo.guard(async () => {
    const place = new Place(spec);
    // The bridge is prepared first, so that it is removed last, after the TAP has left it.
    undo.push(() => place.leave());
    await place.prepare();
    const fds = await openTap(shim, spec, undo);
    const queueDroppedBefore = Math.max(0, shim.deviceTxDropped(spec.tap));
    const unsteered = fds.length > 1 ? steer(shim, fds[0], undo) : '';
    // The offloads are set after all queues are open, because opening a queue turns off the
    // offloads of the whole device.
    const offloads = spec.offload ? probeOffloads((bits) => shim.tapSetOffload(fds[0], bits)) : NO_OFFLOADS;
    await configure(spec);
    const link = await getLink(spec.tap);
    return {
      fds,
      unsteered,
      queueDroppedBefore,
      ...offloads,
      name: spec.tap,
      mac: macOf(link),
      mtu: link.mtu,
      get bridge() {
        return place.bridge;
      },
      moveTo: (bridge, unbridgedMtu) => place.moveTo(bridge, unbridgedMtu),
      readdress: (addresses) => place.readdress(addresses.map(canonical)),
      close: () => undo.run(),
    };
  });
}

/** The bridge and addresses of a device, which may change while it is open. */
class Place {
  readonly #spec: OverlayDeviceSpec;
  #bridge: string;
  #addresses: readonly string[];
  /** Steps that run when the device leaves its current bridge. */
  #undo = new Rollback();

  constructor(spec: OverlayDeviceSpec) {
    this.#spec = spec;
    this.#bridge = spec.bridge;
    this.#addresses = spec.addresses.map(canonical);
  }

  get bridge(): string {
    return this.#bridge;
  }

  async prepare(): Promise<void> {
    if (this.#bridge !== '') await openBridge(this.#bridge, this.#spec.derivedMac, this.#undo);
  }

  /** Removes the bridge if vtepd created it and it has no ports. */
  async leave(): Promise<void> {
    await this.#undo.run();
  }

  async moveTo(bridge: string, unbridgedMtu: number): Promise<void> {
    const { tap, derivedMac } = this.#spec;
    const before = await getLink(tap);
    const undo = new Rollback();
    await undo.guard(async () => {
      if (bridge !== '') await openBridge(bridge, derivedMac, undo);
      undo.push(() => setLink(tap, ...(before.master === '' ? ['nomaster'] : ['master', before.master])));
      await enter(before, bridge, unbridgedMtu);
    });
    // Steps registered for a failed move must not run when the bridge is left later.
    const left = this.#undo;
    this.#undo = new Rollback();
    if (bridge !== '') this.#undo.push(() => leaveBridge(bridge));
    this.#bridge = bridge;
    await left.run();
  }

  async readdress(addresses: readonly string[]): Promise<void> {
    const undo = new Rollback();
    undo.push(() => this.#exchange(addresses, this.#addresses));
    await undo.guard(() => this.#exchange(this.#addresses, addresses));
    this.#addresses = addresses;
  }

  /**
   * Removes addresses before it adds any: when the first address of a subnet is removed, the kernel
   * removes all other addresses of that subnet too, even those of `after`.
   */
  async #exchange(before: readonly string[], after: readonly string[]): Promise<void> {
    const { tap } = this.#spec;
    for (const address of await addressesOf(tap))
      if (before.includes(address) && !after.includes(address)) await removeAddress(address, tap);
    await addAddresses(tap, after);
  }
}

/**
 * Joins a bridge, or leaves the current bridge if `bridge` is ''. The MTU is set before joining,
 * because a bridge lowers its MTU to that of its smallest port.
 */
async function enter(tap: Link, bridge: string, unbridgedMtu: number): Promise<void> {
  if (bridge === '') {
    await setLink(tap.name, 'nomaster');
    if (tap.addrGenMode !== '') await setLink(tap.name, 'addrgenmode', 'eui64');
  }
  const deviceMtu = bridge === '' ? unbridgedMtu : await bridgedMtu(bridge, tap.name);
  await setLink(tap.name, 'mtu', String(deviceMtu));
  if (bridge !== '') await joinBridge(tap, bridge);
}

/** Removes an address unless the kernel already removed it together with another address. */
async function removeAddress(address: string, tap: string): Promise<void> {
  if ((await addressesOf(tap)).includes(address)) await ip(['address', 'delete', address, 'dev', tap]);
}

async function openTap(shim: Shim, spec: OverlayDeviceSpec, undo: Rollback): Promise<number[]> {
  const existing = await findLink(spec.tap);
  if (existing) assertTap(existing, spec.queues);
  const fds: number[] = [];
  for (let queue = 0; queue < spec.queues; queue++) {
    const fd = shim.tapOpen(spec.tap, spec.queues > 1);
    if (fd < 0) throw new HostError(explainTapOpen(spec.tap, fd, existing));
    undo.push(() => void shim.close(fd));
    fds.push(fd);
  }
  if (existing) await adopt(shim, fds[0], existing, spec, undo);
  else await furnish(spec);
  return fds;
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

/** Sets the MAC and the ifalias of a new device. */
async function furnish({ tap, vni, mac, derivedMac }: OverlayDeviceSpec): Promise<void> {
  const address = mac === '' ? formatMac(derivedMac.high, derivedMac.low) : mac;
  await setLink(tap, 'address', address, 'alias', `vtepd vni ${vni}`);
}

/** Records the settings of an existing device; changes its MAC only if one is configured. */
async function adopt(
  shim: Shim,
  fd: number,
  existing: Link,
  { addresses, mac }: OverlayDeviceSpec,
  undo: Rollback,
): Promise<void> {
  const tap = await restoreLeftover(existing);
  const before = await recordTap(tap, addresses.map(canonical));
  undo.push(async () => {
    // The next program that opens the TAP possibly does not support vnet headers. So the kernel
    // must give that program no superframes, and only frames with complete checksums.
    shim.tapSetOffload(fd, 0);
    await restoreTap(tap.name, before);
  });
  if (mac !== '') await setLink(tap.name, 'address', mac);
}

/**
 * Configures the device. The MTU is set before joining the bridge, because a bridge lowers its MTU
 * to that of its smallest port. The device is brought up last.
 */
async function configure({ tap, bridge, addresses, unbridgedMtu }: OverlayDeviceSpec): Promise<void> {
  const link = await getLink(tap);
  const joined = bridge === '' ? link.master : bridge;
  const deviceMtu = joined === '' ? unbridgedMtu : await bridgedMtu(joined, tap);
  await setLink(tap, 'mtu', String(deviceMtu));
  if (bridge !== '') await joinBridge(link, bridge);
  await addAddresses(tap, addresses.map(canonical));
  await setLink(tap, 'up');
}

/**
 * Joins the bridge without a link-local address, so that the port sends no router solicitations.
 */
async function joinBridge(tap: Link, bridge: string): Promise<void> {
  if (tap.addrGenMode !== '' && tap.addrGenMode !== 'none') await setLink(tap.name, 'addrgenmode', 'none');
  await setLink(tap.name, 'master', bridge);
}

async function addAddresses(tap: string, addresses: readonly string[]): Promise<void> {
  if (addresses.length === 0) return;
  const present = await addressesOf(tap);
  for (const address of new Set(addresses)) {
    if (!present.includes(address)) await ip(['address', 'add', address, 'dev', tap]);
  }
}

/** Formats an address as the kernel shows it, for comparison with the addresses of a device. */
function canonical(cidr: string): string {
  const parsed = parseCidr(cidr);
  if (!parsed) throw new HostError(`${cidr} is not an address with a prefix length, such as 10.10.10.1/24`);
  return `${parsed.address.text}/${parsed.length}`;
}

function macOf(link: Link): Mac {
  const mac = parseMac(link.mac);
  if (!mac) throw new HostError(`${link.name} has no Ethernet address ("${link.mac}")`);
  return mac;
}

/** @throws HostError when the device is not a TAP that vtepd can use */
function assertTap(link: Link, queues: number): void {
  const { name, kind, data } = link;
  const other = 'choose another --tap name, or remove that device';
  if (kind !== 'tun') {
    throw new HostError(
      `${name} exists and is ${kind === '' ? 'not a' : `a ${kind} device, not a`} TAP: ${other}`,
    );
  }
  if (data.type !== 'tap')
    throw new HostError(`${name} exists and is a TUN (IP packets), not a TAP: ${other}`);
  // The kernel refuses a second user of a single-queue TAP, but would let vtepd share a multi-queue
  // TAP.
  if (Number(data.numqueues ?? 0) + Number(data.numdisabled ?? 0) > 0)
    throw new HostError(explainTapOpen(name, -ERRNO.EBUSY, link));
  if (data.multi_queue === true && queues === 1) {
    throw new HostError(`${name} was created with multi_queue, which requires --workers 2 or more: ${other}`);
  }
  if (data.multi_queue !== true && queues > 1) {
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
