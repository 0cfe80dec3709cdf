/**
 * The underlay through the shim (engine `batch`): one receiving socket a family, and a pool of sending sockets a
 * family, so that the source port can follow the inner flow (RFC 7348 §5). Sockets are opened and closed by the main
 * thread; here are only their descriptors.
 *
 * A receive call needs a slot for the largest datagram, but offering many large slots to large datagrams would
 * spread a batch over more memory than the cache holds. So the number of slots follows the size seen last.
 */
import type { Batch } from '../frame/batch.js';
import { BATCH_CAP, PEER_ROW_LEN, RECEIVE_SLOT_STRIDE, UNDERLAY_ROUND_LEN } from '../frame/limits.js';
import { PathErrors } from '../frame/path-errors.js';
import type { Shim } from '../native/binding.js';
import type { UnderlayPort } from './port.js';
import { SocketDrops } from './socket-drops.js';

const FEWEST_SLOTS = 16;
/** Datagrams in a UDP_SEGMENT train: what every kernel that has it takes (newer ones take 128). */
const TRAIN_MAX = 64;

export interface UdpFds {
  /** −1: no socket of that family. */
  ipv4: number;
  ipv6: number;
  /** SOURCE_SOCKETS a family, IPv4 first. */
  send: Int32Array;
}

export class UdpPort implements UnderlayPort {
  readonly arena = new Uint8Array(BATCH_CAP * RECEIVE_SLOT_STRIDE);
  readonly sources = new Uint8Array(BATCH_CAP * PEER_ROW_LEN);
  readonly #shim: Shim;
  readonly #fds: UdpFds;
  readonly #peers: Uint8Array;
  readonly #receivers: Receiver[];
  readonly #trainMax: number;
  readonly #pathErrors = new PathErrors();
  #slots = BATCH_CAP;
  #next = 0;

  /** @param peers packed peer rows @param trains join neighbours to trains when sending */
  constructor(shim: Shim, fds: UdpFds, peers: Uint8Array, trains: boolean) {
    this.#shim = shim;
    this.#fds = fds;
    this.#peers = peers;
    this.#trainMax = trains ? TRAIN_MAX : 1;
    this.#receivers = [fds.ipv4, fds.ipv6].filter((fd) => fd >= 0).map((fd) => new Receiver(shim, fd));
    // Touched once, so that memory does not seem to grow when a flood of large datagrams uses the last slots.
    this.arena.fill(1);
  }

  /** The families take turns, so that neither can starve the other. */
  receive(batch: Batch): number {
    batch.count = 0;
    for (let tries = 0; tries < this.#receivers.length && batch.count === 0; tries++) {
      const receiver = this.#receivers[this.#next];
      this.#next = (this.#next + 1) % this.#receivers.length;
      this.#receiveFrom(receiver, batch);
    }
    return batch.count;
  }

  send(batch: Batch, arena: Uint8Array): number {
    return this.#shim.udpSendBatch(
      this.#fds.send,
      this.#peers,
      arena,
      batch.bytes,
      batch.count,
      this.#trainMax,
    );
  }

  completions(batch: Batch): number {
    batch.count = 0;
    return 0;
  }

  takeOverflow(): number {
    let overflow = 0;
    for (const receiver of this.#receivers) overflow += receiver.drops.take();
    return overflow;
  }

  drainErrors(fd: number): void {
    this.#shim.udpDrainErrors(fd);
  }

  takePathErrors(report: PathErrors): number {
    return report.takeFrom(this.#pathErrors);
  }

  peersChanged(): void {}

  #receiveFrom(receiver: Receiver, batch: Batch): void {
    const got = this.#shim.udpReceiveBatch(
      receiver.fd,
      this.arena,
      batch.bytes,
      this.sources,
      0,
      this.#slots,
      0,
      RECEIVE_SLOT_STRIDE,
      receiver.info,
    );
    if (got <= 0) return;
    batch.count = got;
    let bytes = 0;
    for (let i = 0; i < got; i++) bytes += batch.len[i];
    this.#slots = Math.max(
      FEWEST_SLOTS,
      Math.min(BATCH_CAP, Math.floor((UNDERLAY_ROUND_LEN * got) / (bytes + 1))),
    );
  }
}

/** A receiving socket. */
class Receiver {
  readonly fd: number;
  readonly drops: SocketDrops;
  readonly info = new Int32Array(1);

  constructor(shim: Shim, fd: number) {
    this.fd = fd;
    this.drops = new SocketDrops(shim, fd);
  }
}
