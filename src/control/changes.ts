/**
 * Changes through the API come one at a time, from the look at what holds to the answer: so that nothing lies between
 * an `If-Match` that was true and the change that it allowed.
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
