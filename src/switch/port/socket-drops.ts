/**
 * What the kernel dropped of one socket since the last time one asked. Its own count goes on for the socket's life and
 * is 32 bits wide.
 */
import type { Shim } from '../../abi/binding.js';

export class SocketDrops {
  readonly #shim: Shim;
  readonly #fd: number;
  #reported = 0;

  constructor(shim: Shim, fd: number) {
    this.#shim = shim;
    this.#fd = fd;
  }

  /** @returns fresh drops; 0 as well when the kernel does not say */
  take(): number {
    const drops = this.#shim.udpDrops(this.#fd);
    if (drops < 0) return 0;
    const fresh = (drops - this.#reported) >>> 0;
    this.#reported = drops;
    return fresh;
  }
}
