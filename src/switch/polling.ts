/**
 * Decides when to busy-poll before blocking.
 *
 * Waking a sleeping thread costs about 10 µs, and so does waking an idle core. A round trip between
 * two VTEPs has four such wake-ups. Requests and replies are single small frames in alternating
 * directions. While they arrive in close succession, the wait begins with a busy-poll (`waitFor`,
 * spinUs) that yields the core between two polls (sched_yield). Superframes or several frames in a
 * round end busy-polling at once, because their senders and receivers need the core more. A one-way
 * stream also ends busy-polling, because no request waits for a reply.
 *
 * Similar to the kernel's haltpoll governor (Documentation/virt/guest-halt-polling.rst), but it
 * also considers the received frames.
 */
import { ROUND_OTHER } from './forward/loop.js';

/**
 * Longest busy-poll, µs: more than a round trip between two hosts of one network. When traffic
 * pauses, one busy-poll is wasted.
 */
const SPIN_US = 100;
/** Changes of direction, each soon after the previous one, before busy-polling begins. */
const TURNS_BEFORE = 16;
/**
 * Frames in the same direction, one after the other, that are tolerated: a reply and the
 * acknowledgement before it.
 */
const SAME_DIRECTION_MAX = 2;

export class Polling {
  /** Busy-poll time of the next wait, µs. */
  spinUs = 0;
  #turns = 0;
  #direction = ROUND_OTHER;
  #sameDirection = 0;

  /**
   * Updates the decision after a round.
   * @param direction result of `Loop.takeDirection`
   * @param waitedUs duration of the wait, µs, an integer
   */
  after(direction: number, waitedUs: number): void {
    this.#sameDirection = direction === this.#direction ? this.#sameDirection + 1 : 1;
    if (direction === ROUND_OTHER || waitedUs > SPIN_US || this.#sameDirection > SAME_DIRECTION_MAX)
      this.#turns = 0;
    else if (direction !== this.#direction && this.#turns < TURNS_BEFORE) this.#turns++;
    this.#direction = direction;
    this.spinUs = this.#turns === TURNS_BEFORE ? SPIN_US : 0;
  }
}
