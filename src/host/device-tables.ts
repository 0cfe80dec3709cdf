/**
 * Tables of the devices and addresses of a network namespace, and what changed in them.
 *
 * `machine.ts` owns the tables and receives the notifications that are applied here. A change is the
 * difference between two reports, however many notifications it took.
 */
import { type Address, parseAddress, RTM_NEWADDR } from './netlink/addresses.js';
import { type Link, parseLink, parsePort, parseRemoval, RTM_DELLINK } from './netlink/links.js';
import type { Message } from './netlink/message.js';

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

export class DeviceTables {
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

export function applyLink(tables: DeviceTables, message: Message): void {
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

export function applyAddress(tables: DeviceTables, message: Message): void {
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
