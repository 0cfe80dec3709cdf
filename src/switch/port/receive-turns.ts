/**
 * Deficit round robin over receiving sockets, with time as the cost.
 *
 * The cost of a turn is the time of this thread from the receive call until all received datagrams
 * are delivered. Numbers of datagrams or bytes do not measure this cost: a train of 64 KB that is
 * written to a TAP as one superframe costs ten times as much as a small datagram, and a train whose
 * datagrams go to 64 stations costs a hundred times as much as a small datagram.
 *
 * The cost of a datagram or train is known only after its delivery. The number of datagrams that a
 * call requests therefore depends on the cost of previous calls: a call that exceeds its time limit
 * halves the number, and any other call raises it slightly. While several sockets are readable, the
 * number never exceeds SHARED_SLOTS. Calls have a lower time limit while TAPs also have frames.
 * After ALONE_CALLS calls in which no other socket was readable, a socket is not charged. A turn of
 * the strangers' socket is a single call.
 */
import { BATCH_CAP, STRANGERS_SOCKET } from '../../abi/limits.js';

/** Credit that a socket gets for each turn, µs. */
const TURN_US = 200;
/** Time limit of a call, µs; a longer call halves the datagrams allowed in the next. */
const CALL_US = 500;
/**
 * Time limit of a call while other sockets and TAPs wait, µs. A VM's TCP throughput depends on how
 * soon its TAP is read (tcp_limit_output_bytes).
 */
const CROWDED_CALL_US = 100;
/** Datagrams added to the limit after a call within the time limit. */
const STEP = 4;
/**
 * Most time that a call is charged for, µs. If a call takes longer, the scheduler has possibly
 * preempted this thread, which is not the fault of the peer.
 */
const MAX_DEBT_US = 8 * TURN_US;
/** Consecutive calls without another readable socket after which a socket counts as alone. */
const ALONE_CALLS = 64;
/** Datagrams per call while other sockets wait. */
const SHARED_SLOTS = 64;
/** Datagrams per call on the strangers' socket. */
const STRANGERS_SLOTS = 16;

/** A receiving socket. */
export class Receiver {
  readonly fd: number;
  readonly forStrangers: boolean;
  /** True when datagrams are possibly waiting. */
  readable = false;
  /** Time left to spend, µs. */
  credit = 0;
  /**
   * Datagrams to request, based on the size of the last datagrams; `ReceiveTurns.slots` applies the
   * limits.
   */
  slots: number;
  /** Limit of datagrams per call, based on the cost of the last calls. */
  slotLimit = BATCH_CAP;

  /** @param place index in the receive group of its family */
  constructor(fd: number, place: number) {
    this.fd = fd;
    this.forStrangers = place === STRANGERS_SOCKET;
    this.slots = this.forStrangers ? STRANGERS_SLOTS : BATCH_CAP;
  }
}

export class ReceiveTurns<T extends Receiver> {
  readonly #receivers: readonly T[];
  readonly #now: () => number;
  /** Index of the receiver whose turn is next. */
  #next = 0;
  /** Receiver of the current or last turn. */
  #last: T | undefined;
  /** Start of the call of `#last`, ms. */
  #beginMs = 0;
  /** True when another socket waits or waited within the last ALONE_CALLS calls. */
  #isShared = false;
  /** Consecutive calls during which no other socket waited. */
  #callsAlone = 0;

  /** @param now returns the time in ms, with fractions */
  constructor(receivers: readonly T[], now: () => number) {
    this.#receivers = receivers;
    this.#now = now;
  }

  /**
   * Begins a turn.
   *
   * @returns the receiver to read from, until `end`; undefined: no socket is readable
   */
  begin(): T | undefined {
    const waiting = this.#countReadable();
    if (waiting === 0) return undefined;
    let receiver = this.#last;
    if (receiver === undefined || !receiver.readable || receiver.credit <= 0)
      receiver = this.#nextWithCredit();
    this.#callsAlone = waiting === 1 && receiver === this.#last ? this.#callsAlone + 1 : 0;
    this.#last = receiver;
    this.#isShared = this.#callsAlone < ALONE_CALLS;
    this.#beginMs = this.#now();
    return receiver;
  }

  /**
   * Returns the next readable receiver with credit. The caller ensures that a receiver is readable.
   * Each pass of the loop adds credit, and debt is bounded, so the loop ends after a few passes.
   */
  #nextWithCredit(): T {
    const receivers = this.#receivers;
    for (;;) {
      const receiver = receivers[this.#next];
      this.#next = (this.#next + 1) % receivers.length;
      if (!receiver.readable) continue;
      // Unused credit of a turn is not kept.
      receiver.credit = Math.min(TURN_US, receiver.credit + TURN_US);
      if (receiver.credit > 0) return receiver;
    }
  }

  /** Datagrams to request from the receiver of the current turn. */
  slots({ slots, slotLimit }: T): number {
    return Math.min(slots, slotLimit, this.#isShared ? SHARED_SLOTS : BATCH_CAP);
  }

  /**
   * Charges the receiver for the time of its call.
   *
   * @param tapsWait true in a round in which TAPs had frames
   */
  end(tapsWait: boolean): void {
    const receiver = this.#last;
    if (receiver === undefined) return;
    const us = (this.#now() - this.#beginMs) * 1000;
    const bound = tapsWait && this.#isShared ? CROWDED_CALL_US : CALL_US;
    receiver.slotLimit =
      us > bound ? Math.max(1, receiver.slotLimit >> 1) : Math.min(BATCH_CAP, receiver.slotLimit + STEP);
    if (!this.#isShared) return;
    receiver.credit -= Math.min(MAX_DEBT_US, us);
    if (receiver.forStrangers) receiver.credit = Math.min(0, receiver.credit);
  }

  #countReadable(): number {
    const receivers = this.#receivers;
    let count = 0;
    for (let i = 0; i < receivers.length; i++) if (receivers[i].readable) count++;
    return count;
  }
}
