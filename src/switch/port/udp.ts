/**
 * Underlay port through the shim (engine `batch`).
 *
 * It has one group of receiving sockets per family and one pool of sending sockets per family and
 * DF, so that the source port can follow the inner flow (RFC 7348 §5). The main thread opens and
 * closes the sockets; this port holds only their descriptors.
 *
 * A receive call gets a number of slots, each large enough for the largest datagram. Many slots
 * have two costs: large datagrams in all of them exceed the CPU cache, and a call that receives few
 * datagrams takes a microsecond longer. The number of slots therefore depends on the size and
 * number of the datagrams received last.
 */
import type { Batch } from '../../abi/batch.js';
import type { Shim } from '../../abi/binding.js';
import {
  BATCH_CAP,
  PEER_ROW_LEN,
  RECEIVE_SLOT_STRIDE,
  SOURCE_SOCKETS,
  UNDERLAY_ROUND_LEN,
} from '../../abi/limits.js';
import { PathErrors } from '../../abi/path-errors.js';
import type { UnderlayPort } from './port.js';
import { Receiver, ReceiveTurns } from './receive-turns.js';
import { SocketDrops } from './socket-drops.js';

const FEWEST_SLOTS = 16;
/**
 * Most datagrams of a train. Every kernel that supports UDP_SEGMENT accepts 64; newer kernels
 * accept 128.
 */
const TRAIN_MAX = 64;

export interface UdpFds {
  /** Receiving sockets by index in the receive group; an empty array: the family has no socket. */
  ipv4: readonly number[];
  ipv6: readonly number[];
  /**
   * SEND_SOCKETS descriptors: one pool each for IPv4 and IPv6 with DF set, then for both with DF
   * clear; −1: that pool is not open.
   */
  send: Int32Array;
}

export class UdpPort implements UnderlayPort {
  readonly arena = new Uint8Array(BATCH_CAP * RECEIVE_SLOT_STRIDE);
  readonly sources = new Uint8Array(BATCH_CAP * PEER_ROW_LEN);
  /** True to send adjacent datagrams as trains. */
  trains = false;
  /**
   * The last refused train: negative errno, peer row. `send` sets it if the kernel refused the
   * train and then accepted datagrams of that train one by one. The reader resets the errno to 0.
   */
  readonly refusedTrain = new Int32Array(2);
  readonly #shim: Shim;
  readonly #fds: UdpFds;
  /** Sockets of the source-port pools, also of held families. */
  readonly #sendFds: Int32Array;
  readonly #peers: Uint8Array;
  readonly #tunnel: Uint8Array;
  readonly #receivers: UdpReceiver[];
  readonly #turns: ReceiveTurns<UdpReceiver>;
  readonly #pathErrors = new PathErrors();

  /**
   * @param peers packed peer rows
   * @param tunnel row of the outer TAP for superframes to peers marked in `peers`
   *   (`abi/tunnel-row.ts`)
   * @param now monotonic time, ms with fractions
   */
  constructor(shim: Shim, fds: UdpFds, peers: Uint8Array, tunnel: Uint8Array, now: () => number) {
    this.#shim = shim;
    this.#fds = fds;
    this.#sendFds = fds.send.slice();
    this.#peers = peers;
    this.#tunnel = tunnel;
    this.#receivers = [fds.ipv4, fds.ipv6].flatMap((family) =>
      family.map((fd, place) => new UdpReceiver(shim, fd, place)),
    );
    this.#turns = new ReceiveTurns(this.#receivers, now);
    // Touches every page, so that memory use does not appear to grow when a flood of large
    // datagrams uses the last slots.
    this.arena.fill(1);
  }

  markReadable(fd: number): void {
    const receivers = this.#receivers;
    for (let i = 0; i < receivers.length; i++) if (receivers[i].fd === fd) receivers[i].readable = true;
  }

  receive(batch: Batch): number {
    batch.count = 0;
    while (batch.count === 0) {
      const receiver = this.#turns.begin();
      if (receiver === undefined) return 0;
      this.#receiveFrom(receiver, batch);
    }
    return batch.count;
  }

  hold(ipv4: boolean, ipv6: boolean): void {
    const { send } = this.#fds;
    for (let i = 0; i < send.length; i++) {
      const isIpv6 = Math.floor(i / SOURCE_SOCKETS) % 2 === 1;
      send[i] = (isIpv6 ? ipv6 : ipv4) ? -1 : this.#sendFds[i];
    }
  }

  /** Nothing to do: datagrams wait in the sockets until the wait set reports them. */
  open(): void {}

  delivered(tapsWait: boolean): void {
    this.#turns.end(tapsWait);
  }

  send(batch: Batch, arena: Uint8Array): number {
    return this.#shim.udpSendBatch(
      this.#fds.send,
      this.#peers,
      arena,
      batch.bytes,
      batch.count,
      this.trains ? TRAIN_MAX : 1,
      this.refusedTrain,
      this.#tunnel,
      this.#pathErrors.bytes,
    );
  }

  completions(batch: Batch): number {
    batch.count = 0;
    return 0;
  }

  /** Nothing to do: every send completes at once. */
  vniRemoved(_vniIdx: number): void {}

  takeOverflow(): number {
    const receivers = this.#receivers;
    let overflow = 0;
    for (let i = 0; i < receivers.length; i++)
      if (!receivers[i].forStrangers) overflow += receivers[i].drops.take();
    return overflow;
  }

  takeStrangersOverflow(): number {
    const receivers = this.#receivers;
    let overflow = 0;
    for (let i = 0; i < receivers.length; i++)
      if (receivers[i].forStrangers) overflow += receivers[i].drops.take();
    return overflow;
  }

  drainErrors(fd: number): void {
    this.#shim.udpReadErrors(fd, this.#pathErrors.bytes);
  }

  takePathErrors(report: PathErrors): number {
    return report.moveFrom(this.#pathErrors);
  }

  peersChanged(): void {}

  #receiveFrom(receiver: UdpReceiver, batch: Batch): void {
    const slots = this.#turns.slots(receiver);
    const got = this.#shim.udpReceiveBatch(
      receiver.fd,
      this.arena,
      batch.bytes,
      this.sources,
      slots,
      RECEIVE_SLOT_STRIDE,
    );
    receiver.readable = got === slots;
    if (got <= 0) return;
    batch.count = got;
    let bytes = 0;
    for (let i = 0; i < got; i++) bytes += batch.len[i];
    if (!receiver.forStrangers) receiver.slots = slotsFor(got, bytes);
  }
}

/**
 * Returns the slots to offer after a call that received `got` datagrams of `bytes` in total: up to
 * four times `got`, within the cache size.
 */
function slotsFor(got: number, bytes: number): number {
  const cached = Math.floor((UNDERLAY_ROUND_LEN * got) / (bytes + 1));
  return Math.max(FEWEST_SLOTS, Math.min(BATCH_CAP, 4 * got, cached));
}

class UdpReceiver extends Receiver {
  readonly drops: SocketDrops;

  constructor(shim: Shim, fd: number, place: number) {
    super(fd, place);
    this.drops = new SocketDrops(shim, fd);
  }
}
