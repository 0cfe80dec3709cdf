/**
 * The way on which superframes leave whole: an outer TAP that takes what is tunnelled already (native-shims/tunnel.c).
 * The row that the shim reads when it sends, `struct tunnel`. Opened and closed by the main thread, which also says
 * which peers are reached by it; here is only what the sending thread needs.
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

/** What the main thread says of it. */
export interface TunnelSetup {
  readonly fd: number;
  /** Our IPv4 address, 4 bytes. */
  readonly local: Uint8Array;
  /** Largest outer IP packet, bytes. */
  readonly mtu: number;
  /** Of what says none itself. */
  readonly ttl: number;
  /** What has DF set leaves by it; else what has DF clear. */
  readonly df: boolean;
  readonly udpChecksum: boolean;
  /** UDP source port by socket of the pool with that DF. */
  readonly ports: readonly number[];
}

export class Tunnel {
  readonly offload = 'UDP_TUNNEL_GSO';
  /** The row, as the shim takes it. */
  readonly bytes: Uint8Array;
  readonly #words = makeTunnelRow();
  #fd = NO_TUNNEL_FD;

  constructor() {
    this.bytes = new Uint8Array(this.#words.buffer);
  }

  /** Takes effect with `use`. */
  set(way: TunnelSetup): void {
    this.#fd = way.fd;
    this.bytes.set(way.local, TUNNEL_LOCAL * 4);
    this.#words[TUNNEL_MTU] = way.mtu;
    this.#words[TUNNEL_TTL] = way.ttl;
    this.#words[TUNNEL_OPTIONS] = (way.df ? DF : 0) | (way.udpChecksum ? CHECKSUM : 0);
    this.#words.set(way.ports, TUNNEL_PORTS);
  }

  /** From now on superframes leave by it, or do not. */
  use(on: boolean): void {
    this.#words[TUNNEL_FD] = on ? this.#fd : NO_TUNNEL_FD;
  }

  /** Negative errno of a superframe that was refused and left as its segments; 0 none. Told once. */
  takeError(): number {
    const error = this.#words[TUNNEL_ERROR];
    this.#words[TUNNEL_ERROR] = 0;
    return error;
  }
}
