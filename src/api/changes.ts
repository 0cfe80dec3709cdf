/**
 * Changes through the API come one at a time, from the look at what holds to the answer. What else changes the configuration
 * (a signal, a name server) takes turns with them below, where `If-Match` is judged as well.
 */
export class Changes {
  #last: Promise<unknown> = Promise.resolve();

  /** Runs it when all that came before have ended, however they did. */
  one<T>(change: () => Promise<T>): Promise<T> {
    const mine = this.#last.then(change);
    this.#last = mine.catch(() => {});
    return mine;
  }
}
