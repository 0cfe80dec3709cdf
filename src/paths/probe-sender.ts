/**
 * Sends path probes from the main thread, one datagram at a time.
 *
 * The sender has its own sockets with DF set, one per address family. For each probe it makes the
 * sending call of the data plane, with a batch of one datagram.
 */
import { Batch } from '../abi/batch.js';
import type { Shim } from '../abi/binding.js';
import { PEER_ROW_LEN, SEND_SOCKETS, SOURCE_SOCKETS } from '../abi/limits.js';
import { PathErrors } from '../abi/path-errors.js';
import { type RowAddress, writeRowAddress } from '../abi/peer-row.js';
import { makeTunnelRow } from '../abi/tunnel-row.js';

export class ProbeSender {
  readonly #shim: Shim;
  readonly #fds = new Int32Array(SEND_SOCKETS).fill(-1);
  readonly #row = new Uint8Array(PEER_ROW_LEN);
  readonly #batch = new Batch();
  /** Required by the sending call; stays empty because probes are not trains. */
  readonly #refused = new Int32Array(2);
  /** Required by the sending call; describes no outer TAP. */
  readonly #tunnel = new Uint8Array(makeTunnelRow().buffer);
  /** Required by the sending call; not evaluated, because replies confirm probes. */
  readonly #errors = new PathErrors();

  /** @param sockets fd by family; −1 none */
  constructor(shim: Shim, sockets: { readonly ipv4: number; readonly ipv6: number }) {
    this.#shim = shim;
    this.#fds[0] = sockets.ipv4;
    this.#fds[SOURCE_SOCKETS] = sockets.ipv6;
  }

  /** @returns 0, or a negative errno: -EMSGSIZE when the datagram exceeds the local device's MTU */
  send(to: RowAddress, datagram: Uint8Array): number {
    writeRowAddress(this.#row, to);
    this.#batch.len[0] = datagram.length;
    this.#errors.clear();
    this.#shim.udpSendBatch(
      this.#fds,
      this.#row,
      datagram,
      this.#batch.bytes,
      1,
      1,
      this.#refused,
      this.#tunnel,
      this.#errors.bytes,
    );
    return this.#batch.status[0];
  }
}
