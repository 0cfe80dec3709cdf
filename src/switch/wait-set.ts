/**
 * The descriptors that the data-plane thread waits for, and those that are ready.
 *
 * TAPs and receiving sockets become readable, sending sockets have an error queued, and the wake-up
 * eventfd announces requests. A token identifies each descriptor. Each wait refills the arrays.
 */

import type { Shim } from '../abi/binding.js';
import { errnoName } from '../abi/errno.js';

const KIND_MASK = 0x30000000;
const TAP = 0x00000000;
const RECEIVER = 0x10000000;
const SENDER = 0x20000000;
const WAKE = 0x30000000;
/** Set by the shim when the descriptor is in error (WAIT_ERROR_BIT). */
const ERROR_BIT = 0x40000000;
const VALUE_MASK = 0x0fffffff;

/** Cells of `times`. */
export const WAIT_NOW_MS = 0;
export const WAIT_WAITED_MS = 1;

export class WaitSet {
  /** Monotonic time after the last wait, and the duration of that wait, ms. */
  readonly times: Float64Array;
  /** VNI rows of the TAPs that are ready. */
  readonly taps: Int32Array;
  tapCount = 0;
  /** Sockets with an error queued. */
  readonly errors: Int32Array;
  errorCount = 0;
  /** Receiving sockets that are readable or in error. */
  readonly receivers: Int32Array;
  receiverCount = 0;
  woken = false;
  readonly #shim: Shim;
  readonly #fd: number;
  readonly #result: Uint8Array;
  readonly #tokens: Int32Array;
  /** Tokens of TAPs and receivers by descriptor, until `open`. */
  #closed: Map<number, number> | undefined = new Map();

  constructor(shim: Shim, fd: number) {
    const { layout } = shim;
    const capacity = layout.WAIT_CAP;
    const buffer = new ArrayBuffer(layout['sizeof.waitResult']);
    this.#shim = shim;
    this.#fd = fd;
    this.#result = new Uint8Array(buffer);
    this.times = new Float64Array(buffer, 0, 2);
    this.#tokens = new Int32Array(buffer, layout['offsetof.waitResult.tokens'], capacity);
    this.taps = new Int32Array(capacity);
    this.errors = new Int32Array(capacity);
    this.receivers = new Int32Array(capacity);
  }

  /** Reports readable TAPs and receivers from now on. Until then only their errors are reported. */
  open(): void {
    const closed = this.#closed ?? new Map<number, number>();
    this.#closed = undefined;
    for (const [fd, token] of closed) this.#mustAdd(fd, token, true);
  }

  /** @returns 0, or the negative errno when the descriptor cannot be polled */
  addTap(fd: number, vniIdx: number): number {
    return this.#addSource(fd, TAP | vniIdx);
  }

  addReceiver(fd: number): void {
    const status = this.#addSource(fd, RECEIVER | fd);
    if (status < 0) throw cannotPoll(fd, status);
  }

  addSender(fd: number): void {
    this.#mustAdd(fd, SENDER | fd, false);
  }

  addWake(fd: number): void {
    this.#mustAdd(fd, WAKE | fd, true);
  }

  remove(fd: number): void {
    this.#closed?.delete(fd);
    this.#shim.waitRemove(this.#fd, fd);
  }

  /**
   * Waits and fills `taps`, `receivers`, `errors` and `woken` with the ready descriptors.
   * @param timeoutMs longest wait, ms @param spinUs part of it spent busy-polling, µs
   */
  wait(timeoutMs: number, spinUs: number): void {
    this.tapCount = 0;
    this.errorCount = 0;
    this.receiverCount = 0;
    this.woken = false;
    const ready = this.#shim.waitFor(this.#fd, timeoutMs, spinUs, this.#result);
    for (let i = 0; i < ready; i++) this.#sort(this.#tokens[i]);
  }

  #sort(token: number): void {
    const kind = token & KIND_MASK;
    if (kind === TAP) this.taps[this.tapCount++] = token & VALUE_MASK;
    else if (kind === RECEIVER) {
      this.receivers[this.receiverCount++] = token & VALUE_MASK;
      if ((token & ERROR_BIT) !== 0) this.errors[this.errorCount++] = token & VALUE_MASK;
    } else if (kind === SENDER) this.errors[this.errorCount++] = token & VALUE_MASK;
    else if (kind === WAKE) this.woken = true;
  }

  #addSource(fd: number, token: number): number {
    const status = this.#shim.waitAdd(this.#fd, fd, token, this.#closed === undefined);
    if (status === 0) this.#closed?.set(fd, token);
    return status;
  }

  /**
   * Adds a descriptor that stays open while the process exists and that the thread cannot work
   * without. A successor finds the descriptors of its predecessor in the set, and changes them.
   */
  #mustAdd(fd: number, token: number, readable: boolean): void {
    const status = this.#shim.waitAdd(this.#fd, fd, token, readable);
    if (status < 0) throw cannotPoll(fd, status);
  }
}

function cannotPoll(fd: number, status: number): Error {
  return new Error(`cannot poll descriptor ${fd} (${errnoName(status)})`);
}
