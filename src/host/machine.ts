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
import { HostError } from './host-error.js';
import { type Address, dumpAddresses, parseAddress, RTM_DELADDR, RTM_NEWADDR } from './netlink/addresses.js';
import {
  dumpLinks,
  type Link,
  parseLink,
  parsePort,
  parseRemoval,
  RTM_DELLINK,
  RTM_NEWLINK,
  readLink,
} from './netlink/links.js';
import { type Message, messagesIn } from './netlink/message.js';
import { change, NETLINK_ROUTE, type Operation } from './netlink/request.js';

export type { Address } from './netlink/addresses.js';
export type { Link } from './netlink/links.js';

/** A device before and after a change. */
export interface LinkChange {
  /** Undefined: the device is new. */
  readonly before: Link | undefined;
  /** Undefined: the device has left this namespace. */
  readonly after: Link | undefined;
  /** True when the device moved to another network namespace. */
  readonly isMoved: boolean;
}

/** Changes since the last report. */
export interface Changes {
  /** By interface index. */
  readonly links: ReadonlyMap<number, LinkChange>;
  /** True when an address came, went or changed its state. */
  readonly addresses: boolean;
}

/** Must not throw. */
export type Observer = (changes: Changes) => void;

/** Notifications to which the tables subscribe: group of linux/rtnetlink.h, and what applies them. */
const SUBSCRIPTIONS: readonly { group: number; types: readonly number[]; apply: Apply }[] = [
  { group: 1, types: [RTM_NEWLINK, RTM_DELLINK], apply: applyLink },
  { group: 5, types: [RTM_NEWADDR, RTM_DELADDR], apply: applyAddress },
  { group: 9, types: [RTM_NEWADDR, RTM_DELADDR], apply: applyAddress },
];
type Apply = (tables: Tables, message: Message) => void;

/** Longest datagram of notifications, bytes. */
const DATAGRAM_LEN = 65_536;
/** Time from a listing that failed to the next one, ms. */
const RETRY_MS = 5000;

export class Machine {
  readonly #shim: Shim;
  readonly #fd: number;
  readonly #tables = new Tables();
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

class Tables {
  readonly links = new Map<number, Link>();
  readonly addresses = new Map<string, Address>();
  /** Number of the last notification of each device. */
  readonly #notified = new Map<number, number>();
  #notifications = 0;
  #changed = new Map<number, LinkChange>();
  #addressesChanged = false;

  notified(index: number): void {
    this.#notified.set(index, ++this.#notifications);
  }

  lastNotified(index: number): number {
    return this.#notified.get(index) ?? 0;
  }

  setLink(link: Link): void {
    const before = this.links.get(link.index);
    if (before !== undefined && isSame(before, link)) return;
    this.links.set(link.index, link);
    this.#note(link.index, before, link, false);
  }

  removeLink(index: number, isMoved: boolean): void {
    const before = this.links.get(index);
    if (before === undefined) return;
    this.links.delete(index);
    this.#notified.delete(index);
    for (const [key, address] of this.addresses) if (address.index === index) this.#removeAddress(key);
    this.#note(index, before, undefined, isMoved);
  }

  setAddress(address: Address): void {
    const key = keyOf(address);
    const before = this.addresses.get(key);
    this.addresses.set(key, address);
    if (before?.usable !== address.usable || before.temporary !== address.temporary)
      this.#addressesChanged = true;
  }

  removeAddress(address: Address): void {
    this.#removeAddress(keyOf(address));
  }

  /** Replaces both tables by complete lists. */
  replace(links: readonly Link[], addresses: readonly Address[]): void {
    const indexes = new Set(links.map(({ index }) => index));
    for (const index of [...this.links.keys()]) if (!indexes.has(index)) this.removeLink(index, false);
    for (const link of links) this.setLink(link);
    const keys = new Set(addresses.map(keyOf));
    for (const key of [...this.addresses.keys()]) if (!keys.has(key)) this.#removeAddress(key);
    for (const address of addresses) this.setAddress(address);
  }

  /** @returns undefined when nothing has changed since the last call */
  takeChanges(): Changes | undefined {
    if (this.#changed.size === 0 && !this.#addressesChanged) return undefined;
    const changes = { links: this.#changed, addresses: this.#addressesChanged };
    this.#changed = new Map();
    this.#addressesChanged = false;
    return changes;
  }

  #removeAddress(key: string): void {
    if (this.addresses.delete(key)) this.#addressesChanged = true;
  }

  #note(index: number, before: Link | undefined, after: Link | undefined, isMoved: boolean): void {
    const earlier = this.#changed.get(index);
    this.#changed.set(index, { before: earlier === undefined ? before : earlier.before, after, isMoved });
  }
}

function applyLink(tables: Tables, message: Message): void {
  if (message.type === RTM_DELLINK) {
    const removed = parseRemoval(message);
    if (removed) tables.removeLink(removed.index, removed.isMoved);
    return;
  }
  const link = parseLink(message);
  const port = link === undefined ? parsePort(message) : undefined;
  const before = port && tables.links.get(port.index);
  if (link) {
    tables.notified(link.index);
    tables.setLink(link);
  } else if (before?.port) {
    tables.notified(before.index);
    tables.setLink({ ...before, port: port!.port });
  }
}

function applyAddress(tables: Tables, message: Message): void {
  const address = parseAddress(message);
  if (address === undefined) return;
  if (message.type === RTM_NEWADDR) tables.setAddress(address);
  else tables.removeAddress(address);
}

export function cidrOf({ text, length }: Address): string {
  return `${text}/${length}`;
}

function keyOf(address: Address): string {
  return `${address.index} ${cidrOf(address)}`;
}

/** Compares all properties; the kernel repeats notifications without a change. */
function isSame(a: Link, b: Link): boolean {
  const { port: portA, tun: tunA, ...restA } = a;
  const { port: portB, tun: tunB, ...restB } = b;
  return JSON.stringify([restA, tunA]) === JSON.stringify([restB, tunB]) && arePortsSame(portA, portB);
}

function arePortsSame(a: Link['port'], b: Link['port']): boolean {
  if (a === undefined || b === undefined) return a === b;
  return (
    a.size === b.size &&
    [...a].every(([type, value]) => Buffer.compare(value, b.get(type) ?? Buffer.alloc(0)) === 0)
  );
}
