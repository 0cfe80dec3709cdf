/**
 * Deficit round robin over receiving sockets, paid in time: what one turn costs this thread, from the receive call until
 * all that it gave is delivered. Datagrams and bytes are no measure of that: a train of 64 KB that is written to a TAP
 * as one superframe costs ten times a small datagram, one whose datagrams go to 64 stations a hundred times.
 *
 * How many datagrams a call may give follows from what the calls before have cost: a slot may hold a train of 64 datagrams, each
 * for another station, and only its delivery tells. A call that took too long halves the number, any other one raises it
 * a little. While several sockets have something it is small from the beginning, and calls are shorter while TAPs wait,
 * too. A socket that has been alone for some calls pays nothing. A turn of strangers is one call.
 */
import { BATCH_CAP, STRANGERS_SOCKET } from '../../abi/limits.js';

/** What a socket may cost in a turn on average while others wait, µs. */
const TURN_US = 200;
/** Bound of a call, µs; a longer one halves the number of datagrams that the next may give. */
const CALL_US = 500;
/** The same while other sockets and TAPs wait: TCP of a VM is as fast as its TAP is read soon (tcp_limit_output_bytes). */
const CROWDED_CALL_US = 100;
/** Datagrams by which a shorter call raises that number. */
const STEP = 4;
/** Largest debt of one turn, µs: the scheduler may have stopped this thread for longer, which no peer caused. */
const MOST_US = 8 * TURN_US;
/** Calls in a row after which a socket is alone. */
const ALONE_CALLS = 64;
/** Datagrams of a call while others wait. */
const SHARED_SLOTS = 64;
/** Datagrams of strangers in a call. */
const STRANGERS_SLOTS = 16;

/** A receiving socket. */
export class Receiver {
  readonly fd: number;
  readonly ofStrangers: boolean;
  /** Something may be waiting. */
  readable = false;
  /** Time that it may cost, µs. */
  credit = 0;
  /** Datagrams to ask for, as the size of the last ones suggests; `ReceiveTurns.slots` says how many it may have. */
  slots: number;
  /** Datagrams that a call may give, as the cost of the last ones suggests. */
  most = BATCH_CAP;

  /** @param place in its family's receive group */
  constructor(fd: number, place: number) {
    this.fd = fd;
    this.ofStrangers = place === STRANGERS_SOCKET;
    this.slots = this.ofStrangers ? STRANGERS_SLOTS : BATCH_CAP;
  }
}

export class ReceiveTurns<T extends Receiver> {
  readonly #receivers: readonly T[];
  readonly #now: () => number;
  /** Place of the one whose turn is next. */
  #next = 0;
  /** The receiver whose turn it is or was. */
  #last: T | undefined;
  /** Begin of its call, ms. */
  #beginMs = 0;
  /** Other sockets wait, or waited within the last ALONE_CALLS calls. */
  #isShared = false;
  /** Consecutive calls for which no other socket waited. */
  #lonely = 0;

  /** @param now time, ms with fractions */
  constructor(receivers: readonly T[], now: () => number) {
    this.#receivers = receivers;
    this.#now = now;
  }

  /** @returns the receiver to read from, until `end`; undefined: no socket is readable */
  begin(): T | undefined {
    const waiting = this.#countReadable();
    if (waiting === 0) return undefined;
    let receiver = this.#last;
    if (receiver === undefined || !receiver.readable || receiver.credit <= 0)
      receiver = this.#nextWithCredit();
    this.#lonely = waiting === 1 && receiver === this.#last ? this.#lonely + 1 : 0;
    this.#last = receiver;
    this.#isShared = this.#lonely < ALONE_CALLS;
    this.#beginMs = this.#now();
    return receiver;
  }

  /** One is readable. A debt is bounded, so this ends after some rounds of credit. */
  #nextWithCredit(): T {
    const receivers = this.#receivers;
    for (;;) {
      const receiver = receivers[this.#next];
      this.#next = (this.#next + 1) % receivers.length;
      if (!receiver.readable) continue;
      // What a turn left over is not kept.
      receiver.credit = Math.min(TURN_US, receiver.credit + TURN_US);
      if (receiver.credit > 0) return receiver;
    }
  }

  /** Datagrams that the receiver whose turn it is may give. */
  slots({ slots, most }: T): number {
    return Math.min(slots, most, this.#isShared ? SHARED_SLOTS : BATCH_CAP);
  }

  /** Charges the receiver for the time of its call. @param tapsWait true in a round in which TAPs had frames */
  end(tapsWait: boolean): void {
    const receiver = this.#last;
    if (receiver === undefined) return;
    const us = (this.#now() - this.#beginMs) * 1000;
    const bound = tapsWait && this.#isShared ? CROWDED_CALL_US : CALL_US;
    receiver.most = us > bound ? Math.max(1, receiver.most >> 1) : Math.min(BATCH_CAP, receiver.most + STEP);
    if (!this.#isShared) return;
    receiver.credit -= Math.min(MOST_US, us);
    if (receiver.ofStrangers) receiver.credit = Math.min(0, receiver.credit);
  }

  #countReadable(): number {
    const receivers = this.#receivers;
    let count = 0;
    for (let i = 0; i < receivers.length; i++) if (receivers[i].readable) count++;
    return count;
  }
}
