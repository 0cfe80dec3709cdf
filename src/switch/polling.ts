/**
 * When it is worth looking for work for a moment before going to sleep. A thread that sleeps has to be woken, and a core
 * that idles has to be woken first: some ten microseconds each, four times in a round trip between two VTEPs. So while
 * single small frames go to and fro, close after one another, as requests and their answers do, the wait begins with looking
 * (`waitFor`, spinUs), and gives the core away between two looks. Whatever carries load, superframes or several frames at a
 * time, ends that at once: there the core is better used by whoever makes and takes the frames. So does a stream that goes
 * one way, for which nobody waits.
 *
 * As the kernel's haltpoll governor has it (Documentation/virt/guest-halt-polling.rst), but judged by what came, too.
 */
import { ROUND_OTHER } from './forward/loop.js';

/** Longest look, µs: more than a round trip to a neighbour takes. What it can cost for nothing, once a pause begins. */
const SPIN_US = 100;
/** Turns to and fro, each soon after the one before, until looking begins. */
const TURNS_BEFORE = 16;
/** Frames that may go the same way, one after the other, as an answer and the acknowledgement before it do. */
const SAME_DIRECTION_MAX = 2;

export class Polling {
  /** How long the next wait looks before it sleeps, µs. */
  spinUs = 0;
  #turns = 0;
  #direction = ROUND_OTHER;
  #sameDirection = 0;

  /**
   * A round is over.
   * @param way what it brought, as `Loop.takeDirection` says
   * @param waitedUs how long it was waited for, a whole number
   */
  after(way: number, waitedUs: number): void {
    this.#sameDirection = way === this.#direction ? this.#sameDirection + 1 : 1;
    if (way === ROUND_OTHER || waitedUs > SPIN_US || this.#sameDirection > SAME_DIRECTION_MAX)
      this.#turns = 0;
    else if (way !== this.#direction && this.#turns < TURNS_BEFORE) this.#turns++;
    this.#direction = way;
    this.spinUs = this.#turns === TURNS_BEFORE ? SPIN_US : 0;
  }
}
