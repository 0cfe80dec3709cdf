/**
 * The TAP of one VNI: opens, configures, reopens and reverts it.
 *
 * The TAP gets a MAC, an MTU and optionally a bridge. The addresses of the VNI are those of the
 * bridge, if there is one: the host's stack receives nothing by a port of a bridge. The kernel
 * removes a new TAP when its descriptor is closed, so even a killed daemon leaves none behind. A TAP
 * that vtepd makes ignores what the overlay asks of this host (`obedience.ts`). An existing TAP is
 * adopted with its MAC and restored on close. A TAP that was deleted is opened again under its name:
 * as it was if vtepd makes it again, adopted if another program has made it meanwhile.
 *
 * The device and its bridge are identified by interface indexes; their names are those that the
 * configuration asks for. The composition root opens the device before the workers start, and calls
 * `close` after they have ended. This module neither reads nor writes frames.
 */
import type { Shim } from '../abi/binding.js';
import { formatMac, parseMac } from '../wire/mac.js';
import { AddedAddresses } from './added-addresses.js';
import { recordTap, restoreLeftover, restoreTap } from './adopted-tap.js';
import { bridgedMtu, leaveBridge, type OpenBridge, openBridge } from './bridge.js';
import { HostError } from './host-error.js';
import type { Mac } from './mac-address.js';
import type { Link, Machine } from './machine.js';
import { addAddress } from './netlink/addresses.js';
import {
  ALL_MULTICAST,
  DEFAULT_MULTICAST,
  type LinkSettings,
  MULTICAST_ROUTER,
  setLink,
  setPort,
} from './netlink/links.js';
import { ignoreOverlay } from './obedience.js';
import { Rollback } from './rollback.js';
import { isTapThere, type OpenTap, openTap, type TapSpec } from './tap.js';
import { VniAddresses } from './vni-addresses.js';

export interface OverlayDeviceSpec extends TapSpec {
  readonly vni: number;
  /** Bridge that the TAP joins; '' none. */
  readonly bridge: string;
  /** Addresses in the form `ADDRESS/LENGTH`. */
  readonly addresses: readonly string[];
  /** Configured MAC; '' uses the derived MAC, or that of an adopted TAP. */
  readonly mac: string;
  readonly derivedMac: Mac;
  /** Device MTU outside a bridge, bytes. */
  readonly unbridgedMtu: number;
}

/** Last known settings and addresses of a device. */
export interface Seen {
  readonly link: Link;
  /** Addresses of other programs, as `ADDRESS/LENGTH`. */
  readonly addresses: readonly string[];
}

const NO_BRIDGE: OpenBridge = { index: 0, isOurs: false };

export class OverlayDevice {
  readonly #shim: Shim;
  readonly #machine: Machine;
  readonly #addresses: VniAddresses;
  readonly #spec: OverlayDeviceSpec;
  #tap!: OpenTap;
  #link!: Link;
  #isOurs = false;
  #queueDroppedBefore = 0;
  /** Steps that close the TAP. */
  #undo = new Rollback();
  #bridge: string;
  #joined: OpenBridge = NO_BRIDGE;
  /** Steps that run when the device leaves its bridge. */
  #leave = new Rollback();

  private constructor(shim: Shim, machine: Machine, spec: OverlayDeviceSpec, own: AddedAddresses) {
    this.#shim = shim;
    this.#machine = machine;
    this.#spec = spec;
    this.#bridge = spec.bridge;
    this.#addresses = new VniAddresses(own, spec.addresses);
  }

  /**
   * @param own addresses of all devices
   * @throws HostError; all changes made before the failure are reverted
   */
  static async open(
    shim: Shim,
    machine: Machine,
    spec: OverlayDeviceSpec,
    own = new AddedAddresses(machine),
  ): Promise<OverlayDevice> {
    const device = new OverlayDevice(shim, machine, spec, own);
    try {
      // The bridge is prepared first, so that it is removed last, after the TAP has left it.
      await device.#openBridge(undefined);
      await device.#open(spec.unbridgedMtu, undefined);
    } catch (error) {
      await device.close().catch(() => undefined);
      throw error;
    }
    return device;
  }

  /** Descriptors of the TAP, one per queue; closed by `close`. */
  get fds(): readonly number[] {
    return this.#tap.fds;
  }

  /** As in `OpenTap`. */
  get unsteered(): string {
    return this.#tap.unsteered;
  }

  /** As in `OpenTap`. */
  get offloads(): OpenTap['offloads'] {
    return this.#tap.offloads;
  }

  /** As in `OpenTap`. */
  get offloadError(): number {
    return this.#tap.offloadError;
  }

  /** Name that the configuration asks for. */
  get name(): string {
    return this.#spec.tap;
  }

  get index(): number {
    return this.#link.index;
  }

  /** True when vtepd made the TAP, so that it ends with its descriptors. */
  get isOurs(): boolean {
    return this.#isOurs;
  }

  /** Returns false when the TAP was deleted, also in another network namespace. */
  isThere(): Promise<boolean> {
    return isTapThere(this.#tap.fds[0]);
  }

  get mac(): Mac {
    return macOf(this.#link);
  }

  /** Device MTU when it was opened, bytes; frames are checked against the overlay MTU instead. */
  get mtu(): number {
    return this.#link.mtu;
  }

  /** Frames that the kernel had dropped at the TAP's queue before vtepd opened it. */
  get queueDroppedBefore(): number {
    return this.#queueDroppedBefore;
  }

  /** Name of the bridge that the configuration asks for; '' none. */
  get bridge(): string {
    return this.#bridge;
  }

  /** Interface index of the bridge that vtepd has put the TAP into; 0 none. */
  get bridgeIndex(): number {
    return this.#joined.index;
  }

  /** True when vtepd made the bridge. */
  get isBridgeOurs(): boolean {
    return this.#joined.isOurs;
  }

  /**
   * Opens the TAP again after it was deleted, or adopts the device that has its name now.
   *
   * @param unbridgedMtu device MTU outside a bridge, bytes
   * @param seen returns what a device was like before its deletion; a new one becomes it again
   * @returns releases what was open before; to be called when no worker uses its descriptors
   * @throws HostError; the device stays closed
   */
  async reopen(
    unbridgedMtu: number,
    seen: (index: number) => Seen | undefined,
  ): Promise<() => Promise<void>> {
    const [before, opened, link, isOurs] = [this.#undo, this.#tap, this.#link, this.#isOurs];
    // The kernel has removed them with the device.
    await this.#addresses.remove(link.index);
    this.#undo = new Rollback();
    try {
      if (this.#machine.link(this.bridgeIndex) === undefined && this.#mayOpenBridge())
        await this.#openBridge(seen(this.bridgeIndex));
      await this.#open(unbridgedMtu, seen(this.index));
    } catch (error) {
      await this.#undo.run().catch(() => undefined);
      [this.#undo, this.#tap, this.#link, this.#isOurs] = [before, opened, link, isOurs];
      throw error;
    }
    return () => before.run();
  }

  /**
   * Makes the bridge again after it was deleted, or joins the one that has its name now.
   *
   * @param seen the bridge before its deletion, which a new bridge becomes again
   * @param staysOut true when another program took the TAP out of the bridge before
   * @throws HostError
   */
  async rejoin(seen: Seen | undefined, staysOut: boolean): Promise<void> {
    const former = this.#joined.index;
    await this.#openBridge(seen);
    const link = this.#machine.link(this.index);
    if (link && !staysOut) await this.#join(link, undefined);
    await this.#addresses.remove(former);
    await this.#addresses.add(this.#joined.index);
  }

  /**
   * Sets the options of the bridge port again if they have the kernel's defaults, as after another
   * program has put the TAP into its bridge. Other values are an administrator's.
   */
  async keepPort(): Promise<void> {
    const link = this.#machine.link(this.index);
    if (link?.port?.get(MULTICAST_ROUTER)?.[0] === DEFAULT_MULTICAST) await this.#passMulticast(link);
  }

  /**
   * Adds the addresses of the VNI that its device has lost: IPv6 addresses go when a device is down,
   * all of them when it moves to another network namespace.
   *
   * @throws HostError
   */
  keepAddresses(): Promise<void> {
    return this.#addresses.add(this.#home(this.#joined));
  }

  /**
   * Moves the TAP to another bridge, or out of its bridge if `bridge` is ''. The addresses of the VNI
   * move with it.
   *
   * @throws HostError; the TAP is unchanged after a failure
   */
  async moveTo(bridge: string, unbridgedMtu: number): Promise<void> {
    const machine = this.#machine;
    const before = this.#present();
    const undo = new Rollback();
    let joined = NO_BRIDGE;
    await undo.guard(async () => {
      if (bridge !== '') joined = await openBridge(machine, bridge, this.#spec.derivedMac, undo);
      undo.push(() => this.#set(before, { master: machine.link(before.master) ? before.master : 0 }));
      if (joined.index === 0) {
        const addrGenMode = this.#isOurs || before.addrGenMode === '' ? {} : { addrGenMode: 'eui64' };
        await this.#set(before, { master: 0, ...addrGenMode });
        await this.#set(before, { mtu: unbridgedMtu });
      } else await this.#enter(before, joined.index);
      await this.#addresses.move(this.#home(this.#joined), this.#home(joined), undo);
    });
    // Steps registered for a failed move must not run when the bridge is left later.
    const left = this.#leave;
    this.#leave = new Rollback();
    if (joined.index !== 0) this.#leave.push(() => leaveBridge(machine, joined.index));
    const former = this.#joined;
    [this.#bridge, this.#joined] = [bridge, joined];
    await left.run();
    // A bridge that other ports kept alive is removed at the end, if they have left it by then.
    if (former.isOurs) this.#leave.push(() => leaveBridge(machine, former.index));
  }

  /**
   * Replaces the addresses that vtepd has added.
   *
   * @throws HostError; the addresses are unchanged after a failure
   */
  async readdress(addresses: readonly string[]): Promise<void> {
    const undo = new Rollback();
    await undo.guard(() => this.#addresses.replace(this.#home(this.#joined), addresses, undo));
  }

  /** Reverts every change. @throws HostError naming what could not be reverted */
  async close(): Promise<void> {
    const steps = [() => this.#removeAddresses(), () => this.#undo.run(), () => this.#leave.run()];
    const failures: unknown[] = [];
    for (const step of steps) await step().catch((error: Error) => failures.push(error));
    if (failures.length > 0) throw failures[0];
  }

  /** False for a bridge of another program that is missing: it is awaited. */
  #mayOpenBridge(): boolean {
    return this.#joined.isOurs || this.#machine.find(this.#bridge) !== undefined;
  }

  async #openBridge(seen: Seen | undefined): Promise<void> {
    if (this.#bridge === '') return;
    const machine = this.#machine;
    const isNew = machine.find(this.#bridge) === undefined;
    this.#joined = await openBridge(machine, this.#bridge, this.#spec.derivedMac, this.#leave);
    const bridge = machine.link(this.#joined.index);
    if (isNew && seen !== undefined && bridge !== undefined) await this.#resemble(bridge, seen);
  }

  async #open(unbridgedMtu: number, seen: Seen | undefined): Promise<void> {
    const machine = this.#machine;
    const { tap, vni, mac, derivedMac } = this.#spec;
    const found = machine.find(tap);
    const existing = found && (await machine.reread(found.index));
    this.#tap = openTap(this.#shim, this.#spec, existing, this.#undo);
    await machine.current();
    const link = machine.get(tap);
    this.#link = link;
    this.#queueDroppedBefore = Math.max(0, this.#shim.deviceTxDropped(link.index));
    this.#isOurs = existing === undefined;
    if (existing) await this.#adopt(existing);
    else {
      await ignoreOverlay(machine, link);
      const derived = seen?.link.mac ?? formatMac(derivedMac.high, derivedMac.low);
      await this.#set(link, { mac: mac === '' ? derived : mac, alias: `vtepd vni ${vni}` });
    }
    await this.#configure(link, unbridgedMtu, existing ? undefined : seen);
    this.#link = machine.link(link.index) ?? link;
  }

  /** Records the settings of an existing device; changes its MAC only if one is configured. */
  async #adopt(existing: Link): Promise<void> {
    const machine = this.#machine;
    const [fd] = this.#tap.fds;
    const tap = await restoreLeftover(machine, existing);
    const before = await recordTap(machine, tap, this.#joined.index === 0 ? this.#addresses.list : []);
    this.#undo.push(async () => {
      // The next program that opens the TAP possibly does not support vnet headers. So the kernel
      // must give that program no superframes, and only frames with complete checksums.
      this.#shim.tapSetOffload(fd, 0);
      await restoreTap(machine, tap.index, before);
    });
    if (this.#spec.mac !== '') await this.#set(tap, { mac: this.#spec.mac });
  }

  /**
   * Configures the device. The MTU is set before joining the bridge, because a bridge lowers its
   * MTU to that of its smallest port. The device is brought up last.
   */
  async #configure(tap: Link, unbridgedMtu: number, seen: Seen | undefined): Promise<void> {
    const machine = this.#machine;
    const link = machine.link(tap.index) ?? tap;
    if (machine.link(this.bridgeIndex) !== undefined) await this.#join(link, seen);
    else await this.#set(link, { mtu: link.master === 0 ? unbridgedMtu : this.#bridgedMtu(link.master) });
    await this.#addresses.add(this.#home(this.#joined));
    if (seen !== undefined) await this.#resemble(link, seen);
    await this.#set(link, { up: true });
  }

  async #join(link: Link, seen: Seen | undefined): Promise<void> {
    await this.#enter(link, this.#joined.index);
    if (seen?.link.port === undefined) return;
    await this.#machine.change(setPort(`set the port options of ${link.name}`, link.index, seen.link.port));
  }

  /**
   * Joins a bridge without a link-local address, so that the port sends no router solicitations.
   */
  async #enter(link: Link, bridge: number): Promise<void> {
    await this.#set(link, { mtu: this.#bridgedMtu(bridge) });
    // Read after the MTU was set: a device with an MTU below 1280 has no IPv6.
    const mode = this.#machine.link(link.index)?.addrGenMode ?? '';
    const isGenerated = mode !== '' && mode !== 'none';
    await this.#set(link, { master: bridge, ...(isGenerated ? { addrGenMode: 'none' } : {}) });
    await this.#passMulticast(link);
  }

  /** Passes all multicast of the bridge to the VNI: with snooping, members behind peers are unknown. */
  async #passMulticast({ index, name }: Link): Promise<void> {
    if (!this.#isOurs) return;
    const option = new Map([[MULTICAST_ROUTER, Uint8Array.of(ALL_MULTICAST)]]);
    await this.#machine.change(setPort(`pass all multicast to ${name}`, index, option));
  }

  #bridgedMtu(bridge: number): number {
    return bridgedMtu(this.#machine, bridge, new Set([this.index]));
  }

  /** Gives a new device the MTU, MAC, alias and addresses of the one before. */
  async #resemble({ index, name }: Link, { link, addresses }: Seen): Promise<void> {
    const { mtu, mac, alias } = link;
    await this.#machine.change(setLink(`restore ${name}`, index, { mtu, mac, alias }));
    const present = this.#machine.addressesOf(index);
    for (const address of addresses)
      if (!present.includes(address)) await this.#machine.change(addAddress(address, index, name));
  }

  /** Interface index of the device that has the addresses of the VNI. */
  #home(joined: OpenBridge): number {
    return joined.index === 0 ? this.index : joined.index;
  }

  async #removeAddresses(): Promise<void> {
    // A device that failed to open has possibly neither.
    if (this.#link === undefined && this.#joined.index === 0) return;
    await this.#addresses.remove(this.#home(this.#joined));
  }

  #set(link: Link, settings: LinkSettings): Promise<void> {
    return this.#machine.change(setLink(`configure ${link.name}`, link.index, settings));
  }

  #present(): Link {
    const link = this.#machine.link(this.index);
    if (link) return link;
    throw new HostError(`network device ${this.name} does not exist`);
  }
}

function macOf(link: Link): Mac {
  const mac = parseMac(link.mac);
  if (!mac) throw new HostError(`${link.name} has no Ethernet address ("${link.mac}")`);
  return mac;
}
