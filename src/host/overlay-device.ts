/**
 * The overlay's device: a TAP with MAC, MTU, addresses and perhaps a bridge (Documentation/networking/tuntap.rst of
 * the kernel). A new TAP lives as long as its descriptor, so that not even a killed daemon leaves one behind. A TAP
 * that was there before is adopted with its MAC and left as it was found.
 *
 * Called by the composition root before the worker starts; `close` after the worker has returned. Reads and
 * writes no frames.
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
  /** '' none. */
  readonly bridge: string;
  /** `ADDRESS/LENGTH` each. */
  readonly addresses: readonly string[];
  /** MAC that the user asked for; '' the derived one, or that of an adopted TAP. */
  readonly mac: string;
  readonly derivedMac: Mac;
  /** Device MTU while it is in no bridge, bytes. */
  readonly unbridgedMtu: number;
  /** Take superframes and unfinished checksums from the kernel, where it has them to give. */
  readonly offload: boolean;
  /** How many threads read and write it: each gets a queue of its own. */
  readonly queues: number;
}

export interface OverlayDevice {
  /** Descriptors of the TAP, one a queue, non-blocking; this module closes them. */
  readonly fds: readonly number[];
  /** '' when each flow stays on its queue; else why the kernel may change a flow's queue under way. */
  readonly unsteered: string;
  readonly name: string;
  readonly mac: Mac;
  /** Device MTU, bytes: not what frames are judged by. */
  readonly mtu: number;
  /** Offloads that the kernel granted, by their names in linux/if_tun.h; none unless asked for. */
  readonly offloads: readonly TapOffload[];
  /** Negative errno by which the others were refused; 0: none was. */
  readonly offloadError: number;
  /** Frames that the kernel had dropped at its queue before it was opened here. */
  readonly queueDroppedBefore: number;
  /** The bridge that we have put it into; '' none. */
  readonly bridge: string;
  /** Puts it into another bridge, or into none ('') @throws HostError, after which it is where it was */
  moveTo(bridge: string, unbridgedMtu: number): Promise<void>;
  /** @param addresses those that it is to have of us @throws HostError, after which it has those it had */
  readdress(addresses: readonly string[]): Promise<void>;
  /** Takes back every change. @throws HostError naming what could not be taken back */
  close(): Promise<void>;
}

/** TUN_F_* of linux/if_tun.h. Headers of Debian 12 lack the last two, kernels before 6.2 what they mean. */
const OFFLOADS = {
  TUN_F_CSUM: 0x01,
  TUN_F_TSO4: 0x02,
  TUN_F_TSO6: 0x04,
  TUN_F_TSO_ECN: 0x08,
  TUN_F_USO4: 0x20,
  TUN_F_USO6: 0x40,
} as const;

export type TapOffload = keyof typeof OFFLOADS;

/** What to ask for, step by step down: the kernel takes all of a set or nothing. */
const OFFLOAD_STEPS: readonly (readonly TapOffload[])[] = [
  ['TUN_F_CSUM', 'TUN_F_TSO4', 'TUN_F_TSO6', 'TUN_F_TSO_ECN', 'TUN_F_USO4', 'TUN_F_USO6'],
  ['TUN_F_CSUM', 'TUN_F_TSO4', 'TUN_F_TSO6', 'TUN_F_TSO_ECN'],
  ['TUN_F_CSUM', 'TUN_F_TSO4', 'TUN_F_TSO6'],
  ['TUN_F_CSUM'],
];

/** Every offload, as `OverlayDevice.offloads` has it when none is refused. */
export const ALL_OFFLOADS = OFFLOAD_STEPS[0];

const NO_OFFLOADS = { offloads: [], offloadError: 0 };

/**
 * Turns on as much as the kernel grants. Once on, they stay: nothing asks again while the device is open, and a
 * device whose features somebody turns off gives smaller frames, which are forwarded like any other.
 *
 * @param set asks for a set of TUN_F_* bits; 0, or a negative errno
 * @returns names of those that are on, and the errno that kept the others off
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

/** @throws HostError; everything done until then is taken back */
export async function openOverlayDevice(shim: Shim, spec: OverlayDeviceSpec): Promise<OverlayDevice> {
  const undo = new Rollback();
  return undo.guard(async () => {
    const place = new Place(spec);
    // The bridge first: undone last, when the TAP has left it.
    undo.push(() => place.leave());
    await place.prepare();
    const fds = await openTap(shim, spec, undo);
    const queueDroppedBefore = Math.max(0, shim.deviceTxDropped(spec.tap));
    const unsteered = fds.length > 1 ? steer(shim, fds[0], undo) : '';
    // Of the device, not of the queue; and opening a queue turns them off.
    const granted = spec.offload ? probeOffloads((bits) => shim.tapSetOffload(fds[0], bits)) : NO_OFFLOADS;
    await configure(spec);
    const link = await getLink(spec.tap);
    return {
      fds,
      unsteered,
      queueDroppedBefore,
      ...granted,
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

/** Where a device is in the network: its bridge and its addresses, which may change while it is open. */
class Place {
  readonly #spec: OverlayDeviceSpec;
  #bridge: string;
  #addresses: readonly string[];
  /** How the bridge is left. */
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

  /** Removes the bridge if it is ours and nobody is in it any more. */
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
    // What was registered for a failure is not to be done when the bridge is left.
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

  /** With the first address of a subnet the kernel takes the others of it away: what stays is looked at last. */
  async #exchange(before: readonly string[], after: readonly string[]): Promise<void> {
    const { tap } = this.#spec;
    for (const address of await addressesOf(tap))
      if (before.includes(address) && !after.includes(address)) await removeAddress(address, tap);
    await addAddresses(tap, after);
  }
}

/** Another bridge, or none. MTU before the bridge, which shrinks to its smallest port. */
async function enter(tap: Link, bridge: string, unbridgedMtu: number): Promise<void> {
  if (bridge === '') {
    await setLink(tap.name, 'nomaster');
    if (tap.addrGenMode !== '') await setLink(tap.name, 'addrgenmode', 'eui64');
  }
  const deviceMtu = bridge === '' ? unbridgedMtu : await bridgedMtu(bridge, tap.name);
  await setLink(tap.name, 'mtu', String(deviceMtu));
  if (bridge !== '') await joinBridge(tap, bridge);
}

/** It may have gone with another one. */
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

/** Each flow on one queue, so that no thread overtakes another. @returns '' or why that cannot be had */
function steer(shim: Shim, fd: number, undo: Rollback): string {
  const status = shim.tapSteer(fd);
  if (status < 0) return errnoName(status);
  // A device that stays keeps its program.
  undo.push(() => void shim.tapUnsteer(fd));
  return '';
}

/** A device of our own: MAC and mark. */
async function furnish({ tap, vni, mac, derivedMac }: OverlayDeviceSpec): Promise<void> {
  const address = mac === '' ? formatMac(derivedMac.high, derivedMac.low) : mac;
  await setLink(tap, 'address', address, 'alias', `vtepd vni ${vni}`);
}

/** Someone else's device: remember how it was, change its MAC only when told to. */
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
    // Whoever opens it next may not know vnet headers: frames must reach it whole and with checksums.
    shim.tapSetOffload(fd, 0);
    await restoreTap(tap.name, before);
  });
  if (mac !== '') await setLink(tap.name, 'address', mac);
}

/** MTU before the bridge, which shrinks to its smallest port; addresses and bridge before the device is up. */
async function configure({ tap, bridge, addresses, unbridgedMtu }: OverlayDeviceSpec): Promise<void> {
  const link = await getLink(tap);
  const joined = bridge === '' ? link.master : bridge;
  const deviceMtu = joined === '' ? unbridgedMtu : await bridgedMtu(joined, tap);
  await setLink(tap, 'mtu', String(deviceMtu));
  if (bridge !== '') await joinBridge(link, bridge);
  await addAddresses(tap, addresses.map(canonical));
  await setLink(tap, 'up');
}

/** A port has no business of its own on the overlay: without a link-local address it solicits no router. */
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

/** As the kernel will show it, so that what is there already can be recognised. */
function canonical(cidr: string): string {
  const parsed = parseCidr(cidr);
  if (!parsed) throw new HostError(`${cidr} is no address with a prefix length: write 10.10.10.1/24`);
  return `${parsed.address.text}/${parsed.length}`;
}

function macOf(link: Link): Mac {
  const mac = parseMac(link.mac);
  if (!mac) throw new HostError(`${link.name} has no Ethernet address ("${link.mac}")`);
  return mac;
}

/** @throws HostError when the name belongs to something that frames cannot be read from */
function assertTap(link: Link, queues: number): void {
  const { name, kind, data } = link;
  const other = 'give --tap another name, or remove that device';
  if (kind !== 'tun') {
    throw new HostError(
      `${name} exists and is ${kind === '' ? 'no' : `a ${kind} device, not a`} TAP: ${other}`,
    );
  }
  if (data.type !== 'tap')
    throw new HostError(`${name} exists and is a TUN (IP packets), not a TAP: ${other}`);
  // Of a device with one queue the kernel says so; one with several would let us in beside its user.
  if (Number(data.numqueues ?? 0) + Number(data.numdisabled ?? 0) > 0)
    throw new HostError(explainTapOpen(name, -ERRNO.EBUSY, link));
  if (data.multi_queue === true && queues === 1) {
    throw new HostError(`${name} was made with multi_queue, which takes --workers 2 or more: ${other}`);
  }
  if (data.multi_queue !== true && queues > 1) {
    throw new HostError(
      `${name} was made without multi_queue, which --workers ${queues} needs: make it anew (ip tuntap add dev ${name} mode tap multi_queue), give --tap another name, or leave --workers out`,
    );
  }
}

/** @param answer negative errno of tapOpen. @param existing the device as it was before the attempt */
export function explainTapOpen(tap: string, answer: number, existing: Link | undefined): string {
  switch (-answer) {
    case ERRNO.ENOENT:
    case ERRNO.ENXIO:
    case ERRNO.ENODEV:
      return `no /dev/net/tun (${errnoName(answer)}): run "modprobe tun", or pass the device into the container (--device /dev/net/tun)`;
    case ERRNO.EACCES:
      return `not permitted to open TAP ${tap} (EACCES): /dev/net/tun is closed to this user; chmod 0666 /dev/net/tun, as udev has it, or ${NEEDS_RIGHTS}`;
    case ERRNO.EPERM:
      return `not permitted to open TAP ${tap} (${errnoName(answer)}): ${NEEDS_RIGHTS}`;
    case ERRNO.EBUSY:
      return `TAP ${tap} is in use by another program${markOf(existing)}: stop it, or give --tap another name`;
    case ERRNO.EINVAL:
      return `the kernel refuses ${tap} as the name of a TAP (EINVAL): give --tap another name, of at most 15 bytes`;
    default:
      return `cannot open TAP ${tap}: ${errnoName(answer)}`;
  }
}

function markOf(existing: Link | undefined): string {
  return existing?.alias.startsWith('vtepd ') ? ' (another vtepd)' : '';
}
