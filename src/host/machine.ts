/**
 * The devices and addresses of this network namespace, kept current by netlink (rtnetlink(7)).
 *
 * The one owner of what the kernel says about them: every part reads from here, changes devices and
 * addresses through `change`, and subscribes to changes that others make. Devices are identified by
 * their interface index; a name can move to another device.
 *
 * Notifications are applied in their order. When the kernel had to discard some (ENOBUFS), all
 * devices and addresses are listed again, and the difference is reported like any other change.
 * After `change` the tables hold its result: the kernel queues notifications before it acknowledges
 * a request, and devices that were set are read again, because the kernel does not report each
 * property. Of a device that is down it reports no change of alias, IPv6 mode and port options, and
 * never one of the queues of a TAP: `reread`.
 *
 * Routes and rules are only watched (`network-watch.ts`), because a table can have a million routes.
 */
import type { Shim } from '../abi/binding.js';
import { ERRNO, errnoName } from '../abi/errno.js';
import { applyAddress, applyLink, type Changes, cidrOf, DeviceTables } from './device-tables.js';
import { HostError } from './host-error.js';
import { type Address, dumpAddresses, RTM_DELADDR, RTM_NEWADDR } from './netlink/addresses.js';
import { dumpLinks, type Link, RTM_DELLINK, RTM_NEWLINK, readLink } from './netlink/links.js';
import { type Message, messagesIn } from './netlink/message.js';
import { change, NETLINK_ROUTE, type Operation } from './netlink/request.js';

export type { Changes, LinkChange } from './device-tables.js';
export type { Address } from './netlink/addresses.js';
export type { Link } from './netlink/links.js';

/** Must not throw. */
export type Observer = (changes: Changes) => void;

/** Notifications to which the tables subscribe: group of linux/rtnetlink.h, and what applies them. */
const SUBSCRIPTIONS: readonly { group: number; types: readonly number[]; apply: Apply }[] = [
  { group: 1, types: [RTM_NEWLINK, RTM_DELLINK], apply: applyLink },
  { group: 5, types: [RTM_NEWADDR, RTM_DELADDR], apply: applyAddress },
  { group: 9, types: [RTM_NEWADDR, RTM_DELADDR], apply: applyAddress },
];
type Apply = (tables: DeviceTables, message: Message) => void;

/** Longest datagram of notifications, bytes. */
const DATAGRAM_LEN = 65_536;
/** Time from a listing that failed to the next one, ms. */
const RETRY_MS = 5000;

export class Machine {
  readonly #shim: Shim;
  readonly #fd: number;
  readonly #tables = new DeviceTables();
  readonly #buffer = new Uint8Array(DATAGRAM_LEN);
  readonly #observers = new Set<Observer>();
  readonly #failed: (error: Error) => void;
  #poll: object | undefined;
  /** Listing after lost notifications. */
  #listing: Promise<void> | undefined;
  #retry: NodeJS.Timeout | undefined;
  #closed = false;

  private constructor(shim: Shim, fd: number, failed: (error: Error) => void) {
    this.#shim = shim;
    this.#fd = fd;
    this.#failed = failed;
  }

  /**
   * Subscribes to changes and lists what is there.
   *
   * @param failed called when a listing after lost notifications failed; the tables are out of date
   *   until a later listing succeeds
   * @throws HostError
   */
  static async open(shim: Shim, failed: (error: Error) => void = () => {}): Promise<Machine> {
    const fd = shim.netlinkOpen(
      NETLINK_ROUTE,
      Int32Array.from(SUBSCRIPTIONS, ({ group }) => group),
    );
    if (fd < 0) throw new HostError(`cannot subscribe to changes of network devices (${errnoName(fd)})`);
    const machine = new Machine(shim, fd, failed);
    try {
      await machine.#list();
      machine.#tables.takeChanges();
    } catch (error) {
      machine.close();
      throw error;
    }
    machine.#poll = shim.pollStart(fd, () => machine.#read());
    return machine;
  }

  /**
   * Returns the index of a device, which is the scope id of a link-local address (ipv6(7)).
   *
   * @param name device name, or device index as text
   * @returns 0 when there is no such device
   */
  scopeId(name: string): number {
    return /^\d+$/.test(name) ? Number(name) : (this.find(name)?.index ?? 0);
  }

  /** All devices. */
  get links(): IterableIterator<Link> {
    return this.#tables.links.values();
  }

  /** @param index interface index */
  link(index: number): Link | undefined {
    return this.#tables.links.get(index);
  }

  find(name: string): Link | undefined {
    for (const link of this.links) if (link.name === name) return link;
    return undefined;
  }

  /** @throws HostError when the device does not exist */
  get(name: string): Link {
    const link = this.find(name);
    if (link) return link;
    throw new HostError(`network device ${name} does not exist`);
  }

  /** Name of a device, for messages; '' when there is no such device. */
  nameOf(index: number): string {
    return this.link(index)?.name ?? '';
  }

  /** Ports of a bridge. @param index interface index of the bridge */
  portsOf(index: number): Link[] {
    return [...this.links].filter(({ master }) => master === index);
  }

  get addresses(): IterableIterator<Address> {
    return this.#tables.addresses.values();
  }

  /** Addresses of a device, as `ADDRESS/LENGTH`. @param index interface index */
  addressesOf(index: number): string[] {
    return [...this.addresses].filter((one) => one.index === index).map(cidrOf);
  }

  /**
   * Calls the observer after changes, with all changes since its last call.
   *
   * @returns ends the subscription
   */
  subscribe(observer: Observer): () => void {
    this.#observers.add(observer);
    return () => void this.#observers.delete(observer);
  }

  /**
   * Makes changes in their order. Afterwards the tables hold their result.
   *
   * @throws NetlinkError of the first change that failed; later ones are made all the same
   */
  async change(...operations: readonly Operation[]): Promise<void> {
    try {
      await change(...operations);
    } finally {
      await this.current();
      const devices = new Set(operations.flatMap(({ device }) => device ?? []));
      await Promise.all(Array.from(devices, (index) => this.reread(index)));
    }
  }

  /**
   * Reads a device again, with the properties whose changes the kernel does not report.
   *
   * @param index interface index
   * @returns undefined when there is no such device
   * @throws NetlinkError
   */
  async reread(index: number): Promise<Link | undefined> {
    await this.current();
    for (;;) {
      const before = this.#tables.lastNotified(index);
      const link = await readLink(index);
      await this.current();
      // A notification that arrived meanwhile is possibly newer than the answer.
      if (this.#tables.lastNotified(index) !== before) continue;
      if (link !== undefined) this.#tables.setLink(link);
      this.#report();
      return link;
    }
  }

  /** @returns when the tables hold everything that the kernel has reported so far */
  async current(): Promise<void> {
    do {
      await this.#listing;
      this.#read();
    } while (this.#listing !== undefined);
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#observers.clear();
    clearTimeout(this.#retry);
    if (this.#poll) this.#shim.pollStop(this.#poll);
    this.#shim.close(this.#fd);
  }

  /** Applies the notifications that wait, and reports the changes. */
  #read(): void {
    if (this.#closed || this.#listing) return;
    for (;;) {
      const got = this.#shim.netlinkReceive(this.#fd, this.#buffer);
      if (got === -ERRNO.EAGAIN) break;
      if (got < 0) {
        this.#listAgain();
        return;
      }
      for (const message of messagesIn(this.#buffer.subarray(0, got)))
        for (const { types, apply } of SUBSCRIPTIONS)
          if (types.includes(message.type)) {
            apply(this.#tables, message);
            break;
          }
    }
    this.#report();
  }

  /**
   * Lists all devices and addresses again. Notifications that arrive meanwhile are applied after the
   * list, so the newest state wins.
   */
  #listAgain(): void {
    clearTimeout(this.#retry);
    if (this.#poll) this.#shim.pollStop(this.#poll);
    this.#poll = undefined;
    this.#listing = this.#list()
      .catch((error: Error) => {
        if (this.#closed) return;
        this.#failed(error);
        this.#retry = setTimeout(() => this.#listAgain(), RETRY_MS);
      })
      .finally(() => {
        this.#listing = undefined;
        if (this.#closed) return;
        this.#poll = this.#shim.pollStart(this.#fd, () => this.#read());
        this.#read();
      });
  }

  async #list(): Promise<void> {
    this.#shim.watchClear(this.#fd);
    this.#tables.replace(await dumpLinks(), await dumpAddresses());
  }

  #report(): void {
    const changes = this.#tables.takeChanges();
    if (changes === undefined) return;
    for (const observer of [...this.#observers]) observer(changes);
  }
}
