/**
 * The outer TAP, by which superframes leave whole (native-shims/tunnel.c).
 *
 * The outer TAP accepts superframes that are already encapsulated, for the network card to segment.
 * This module writes the row that the shim reads when it sends (`struct tunnel`). The main thread
 * opens and closes the device and decides which peers are reached by it.
 */
import {
  makeTunnelRow,
  NO_TUNNEL_FD,
  TUNNEL_ERROR,
  TUNNEL_FD,
  TUNNEL_LOCAL,
  TUNNEL_MTU,
  TUNNEL_OPTIONS,
  TUNNEL_PORTS,
  TUNNEL_TTL,
} from '../../abi/tunnel-row.js';

const DF = 1;
const CHECKSUM = 2;

/** Set-up of the outer TAP, from the main thread. */
export interface TunnelSetup {
  readonly fd: number;
  /** Local IPv4 address, 4 bytes. */
  readonly local: Uint8Array;
  /** Largest outer IP packet, bytes. */
  readonly mtu: number;
  /** Outer TTL. */
  readonly ttl: number;
  /** True: datagrams with DF set use the outer TAP; false: datagrams with DF clear. */
  readonly df: boolean;
  readonly udpChecksum: boolean;
  /** UDP source ports, indexed like the sockets of the pool with that DF. */
  readonly ports: readonly number[];
}

export class Tunnel {
  readonly offload = 'UDP_TUNNEL_GSO';
  /** The row, in the form of the shim. */
  readonly bytes: Uint8Array;
  readonly #words = makeTunnelRow();
  #fd = NO_TUNNEL_FD;

  constructor() {
    this.bytes = new Uint8Array(this.#words.buffer);
  }

  /** Stores the set-up, which takes effect after `use(true)`. */
  set(setup: TunnelSetup): void {
    this.#fd = setup.fd;
    this.bytes.set(setup.local, TUNNEL_LOCAL * 4);
    this.#words[TUNNEL_MTU] = setup.mtu;
    this.#words[TUNNEL_TTL] = setup.ttl;
    this.#words[TUNNEL_OPTIONS] = (setup.df ? DF : 0) | (setup.udpChecksum ? CHECKSUM : 0);
    this.#words.set(setup.ports, TUNNEL_PORTS);
  }

  /** Switches sending of superframes by the outer TAP on or off. */
  use(on: boolean): void {
    this.#words[TUNNEL_FD] = on ? this.#fd : NO_TUNNEL_FD;
  }

  /**
   * Returns and clears the negative errno of a superframe that was refused and sent as its
   * segments; 0 for none.
   */
  takeError(): number {
    const error = this.#words[TUNNEL_ERROR];
    this.#words[TUNNEL_ERROR] = 0;
    return error;
  }
}
