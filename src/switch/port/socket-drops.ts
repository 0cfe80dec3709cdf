/**
 * Drops of one socket since the last query.
 *
 * The kernel counts the drops of a socket from its creation on, in 32 bits that wrap.
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

  /** @returns new drops since the last call; 0 if the kernel reports an error */
  take(): number {
    const drops = this.#shim.udpDrops(this.#fd);
    if (drops < 0) return 0;
    const fresh = (drops - this.#reported) >>> 0;
    this.#reported = drops;
    return fresh;
  }
}
