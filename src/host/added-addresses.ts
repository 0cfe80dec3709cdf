/**
 * Addresses that vtepd adds to devices, and removes again.
 *
 * An address that moves from one VNI to another on a shared bridge stays there: it is removed when
 * the last user gives it up. An address that was on the device before belongs to another program
 * and is never removed, unless it carries the mark of vtepd (`OWN_PROTOCOL`): then a killed daemon
 * has left it.
 */
import { cidrOf } from './device-tables.js';
import { HostError } from './host-error.js';
import type { Address, Machine } from './machine.js';
import { addAddress, deleteAddress, OWN_PROTOCOL } from './netlink/addresses.js';

export class AddedAddresses {
  readonly #machine: Machine;
  /** Users of the addresses that vtepd may remove, by interface index and address. */
  readonly #users = new Map<string, Set<object>>();

  constructor(machine: Machine) {
    this.#machine = machine;
  }

  /**
   * Adds the addresses that the device does not have yet.
   *
   * @param user keeps the addresses until it removes them
   * @param index interface index
   * @param addresses canonical, `ADDRESS/LENGTH`
   * @throws HostError
   */
  async add(user: object, index: number, addresses: readonly string[]): Promise<void> {
    const machine = this.#machine;
    if (addresses.length === 0) return;
    const name = machine.nameOf(index);
    if (name === '') throw new HostError(`cannot add ${addresses.join(', ')}: the device was deleted`);
    for (const cidr of new Set(addresses)) {
      const key = `${index} ${cidr}`;
      const present = this.#on(index).find((address) => cidrOf(address) === cidr);
      if (present === undefined) await machine.change(addAddress(cidr, index, name, OWN_PROTOCOL));
      else if (!this.#users.has(key) && present.protocol !== OWN_PROTOCOL) continue;
      const users = this.#users.get(key) ?? new Set();
      this.#users.set(key, users.add(user));
    }
  }

  /**
   * Releases addresses; an address without another user is removed from the device.
   *
   * @throws HostError
   */
  async remove(user: object, index: number, addresses: readonly string[]): Promise<void> {
    const unused = addresses.filter((cidr) => this.#isLast(user, `${index} ${cidr}`));
    const before = this.#on(index);
    for (const cidr of unused) {
      // The kernel possibly removed it together with another address.
      if (!this.#machine.addressesOf(index).includes(cidr)) continue;
      await this.#machine.change(deleteAddress(cidr, index, this.#machine.nameOf(index)));
    }
    await this.#restore(before.filter((address) => !unused.includes(cidrOf(address))));
  }

  #isLast(user: object, key: string): boolean {
    const users = this.#users.get(key);
    if (!users?.delete(user) || users.size > 0) return false;
    this.#users.delete(key);
    return true;
  }

  /**
   * Adds addresses that are gone: with the first IPv4 address of a subnet the kernel removes the
   * others, unless `promote_secondaries` is on.
   */
  async #restore(addresses: readonly Address[]): Promise<void> {
    for (const address of addresses) {
      const { index, family, protocol } = address;
      const cidr = cidrOf(address);
      if (family === 6 || this.#machine.addressesOf(index).includes(cidr)) continue;
      await this.#machine.change(addAddress(cidr, index, this.#machine.nameOf(index), protocol));
    }
  }

  #on(index: number): Address[] {
    return [...this.#machine.addresses].filter((address) => address.index === index);
  }
}
