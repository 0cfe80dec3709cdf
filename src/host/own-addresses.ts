/**
 * The addresses of this host, for the question whether a peer is this host.
 *
 * An address counts while it is usable: an address that duplicate address detection (RFC 4862 §5.4)
 * still examines, or that another host has, does not. Loopback addresses (RFC 1122 §3.2.1.3,
 * RFC 4291 §2.5.3) are always those of this host. A link-local address belongs to its device.
 */
import { PEER_ROW_LEN } from '../abi/limits.js';
import { writeRowAddress } from '../abi/peer-row.js';
import { type IpAddress, isLinkLocal, parseIpAddress } from '../wire/ip-address.js';
import type { Machine } from './machine.js';

/** First byte of IPv4 loopback addresses. */
const LOOPBACK_NET = 127;
const IPV6_LOOPBACK = '::1';

export class OwnAddresses {
  readonly #machine: Pick<Machine, 'addresses' | 'scopeId' | 'subscribe'>;
  /** Text, and text with `%index`, of each usable address. */
  #usable = new Set<string>();
  #unsubscribe = () => {};

  /** @param changed called after the usable addresses have changed */
  constructor(machine: Pick<Machine, 'addresses' | 'scopeId' | 'subscribe'>, changed: () => void = () => {}) {
    this.#machine = machine;
    this.#read();
    this.#unsubscribe = machine.subscribe(({ addresses }) => {
      if (addresses && this.#read()) changed();
    });
  }

  has({ family, bytes, scope, text }: IpAddress): boolean {
    if (family === 4 ? bytes[0] === LOOPBACK_NET : text === IPV6_LOOPBACK) return true;
    if (scope === '') return this.#usable.has(text);
    const [bare] = text.split('%');
    return this.#usable.has(`${bare}%${this.#machine.scopeId(scope)}`);
  }

  /** The usable addresses as packed rows (`abi/peer-row.ts`), for the data plane. */
  rows(): Int32Array<ArrayBuffer> {
    const usable = [...this.#machine.addresses].filter((address) => address.usable);
    const rows = new Uint8Array(usable.length * PEER_ROW_LEN);
    for (const [i, { text, index }] of usable.entries()) {
      const address = parseIpAddress(text)!;
      const scopeId = isLinkLocal(address) ? index : 0;
      const row = rows.subarray(i * PEER_ROW_LEN, (i + 1) * PEER_ROW_LEN);
      writeRowAddress(row, { family: address.family, bytes: address.bytes, port: 0, scopeId });
    }
    return new Int32Array(rows.buffer);
  }

  stop(): void {
    this.#unsubscribe();
  }

  /** @returns true when the usable addresses differ from before */
  #read(): boolean {
    const before = this.#usable;
    this.#usable = new Set();
    for (const { text, index, usable } of this.#machine.addresses)
      if (usable) this.#usable.add(text).add(`${text}%${index}`);
    return this.#usable.size !== before.size || [...this.#usable].some((text) => !before.has(text));
  }
}
