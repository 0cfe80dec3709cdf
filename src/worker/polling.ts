/**
 * When it is worth looking for work for a moment before going to sleep. A thread that sleeps has to be woken, and a core
 * that idles has to be woken first: some ten microseconds each, four times in a round trip between two VTEPs. So while
 * single small frames come close after one another, as requests and their answers do, the wait begins with looking
 * (`waitFor`, spinUs), and gives the core away between two looks. Whatever carries load, superframes or several frames at a
 * time, ends that at once: there the core is better used by whoever makes and takes the frames.
 *
 * As the kernel's haltpoll governor has it (Documentation/virt/guest-halt-polling.rst), but judged by what came, too.
 */

/** Longest look, µs: more than a round trip to a neighbour takes. What it can cost for nothing, once a pause begins. */
const SPIN_US = 100;
/** Rounds with one small frame, soon after the one before, until looking begins. */
const ROUNDS_BEFORE = 16;

export class Polling {
  /** How long the next wait looks before it sleeps, µs. */
  spinUs = 0;
  #rounds = 0;

  /**
   * A round is over.
   * @param light it brought one small frame
   * @param waitedUs how long it was waited for
   */
  after(light: boolean, waitedUs: number): void {
    if (!light || waitedUs > SPIN_US) this.#rounds = 0;
    else if (this.#rounds < ROUNDS_BEFORE) this.#rounds++;
    this.spinUs = this.#rounds === ROUNDS_BEFORE ? SPIN_US : 0;
  }
}
