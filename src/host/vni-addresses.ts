/**
 * The addresses of one VNI (`--address`), on one device at a time: the bridge of its TAP, or the TAP.
 */
import { parseCidr } from '../wire/ip-address.js';
import type { AddedAddresses } from './added-addresses.js';
import { HostError } from './host-error.js';
import type { Rollback } from './rollback.js';

export class VniAddresses {
  readonly #added: AddedAddresses;
  #list: readonly string[];

  /**
   * @param added addresses of all VNIs
   * @param addresses in the form `ADDRESS/LENGTH`
   * @throws HostError
   */
  constructor(added: AddedAddresses, addresses: readonly string[]) {
    this.#added = added;
    this.#list = addresses.map(canonical);
  }

  /** In canonical form. */
  get list(): readonly string[] {
    return this.#list;
  }

  /** @param index interface index @throws HostError */
  add(index: number): Promise<void> {
    return this.#added.add(this, index, this.#list);
  }

  /** @param index interface index @throws HostError */
  remove(index: number): Promise<void> {
    return this.#added.remove(this, index, this.#list);
  }

  /**
   * @param from interface index
   * @param to interface index
   * @param undo collects the steps that move them back
   * @throws HostError
   */
  async move(from: number, to: number, undo: Rollback): Promise<void> {
    undo.push(() => this.add(from));
    await this.remove(from);
    undo.push(() => this.remove(to));
    await this.add(to);
  }

  /**
   * Replaces the addresses.
   *
   * @param index interface index of their device
   * @throws HostError; `undo` then restores the addresses before
   */
  async replace(index: number, addresses: readonly string[], undo: Rollback): Promise<void> {
    const [before, after] = [this.#list, addresses.map(canonical)];
    undo.push(() => this.#exchange(index, after, before));
    await this.#exchange(index, before, after);
    this.#list = after;
  }

  async #exchange(index: number, before: readonly string[], after: readonly string[]): Promise<void> {
    const unwanted = before.filter((address) => !after.includes(address));
    await this.#added.remove(this, index, unwanted);
    await this.#added.add(this, index, after);
  }
}

/** Formats an address as the kernel shows it, for comparison with the addresses of a device. */
function canonical(cidr: string): string {
  const parsed = parseCidr(cidr);
  if (!parsed) throw new HostError(`${cidr} is not an address with a prefix length, such as 10.10.10.1/24`);
  return `${parsed.address.text}/${parsed.length}`;
}
