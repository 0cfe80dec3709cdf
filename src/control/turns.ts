/**
 * A few at a time: who comes when all places are taken waits, and is served in the order of coming. A place is one's own for
 * a while; who has it for longer loses it to the first who waits, so that nobody keeps others out by being slow.
 */

/** A place is nobody else's for so long, ms. */
const PLACE_MS = 30_000;

interface Holder {
  readonly untilMs: number;
  readonly end: () => void;
}

export class Turns {
  #free: number;
  readonly #placeMs: number;
  readonly #waiting: (() => void)[] = [];
  /** The one that came first is the first. */
  readonly #holders = new Set<Holder>();
  #timer: NodeJS.Timeout | undefined;

  /** @param placeMs how long a place is nobody else's */
  constructor(places: number, placeMs = PLACE_MS) {
    this.#free = places;
    this.#placeMs = placeMs;
  }

  /**
   * @param end called when somebody waits and the time is over: the place is to be given back soon
   * @returns when there is a place, what gives it back: to be called once
   */
  async take(end: () => void): Promise<() => void> {
    if (this.#free > 0) this.#free--;
    else await this.#wait();
    const holder = { untilMs: performance.now() + this.#placeMs, end };
    this.#holders.add(holder);
    this.#hurry();
    return () => {
      this.#holders.delete(holder);
      this.#give();
    };
  }

  #wait(): Promise<void> {
    return new Promise((resolve) => {
      this.#waiting.push(resolve);
      this.#hurry();
    });
  }

  #give(): void {
    const next = this.#waiting.shift();
    if (next) next();
    else this.#free++;
  }

  /** While somebody waits, who has had a place for longest is looked at. */
  #hurry(): void {
    clearTimeout(this.#timer);
    const [oldest] = this.#holders;
    if (this.#waiting.length === 0 || oldest === undefined) return;
    const leftMs = oldest.untilMs - performance.now();
    if (leftMs > 0) {
      this.#timer = setTimeout(() => this.#hurry(), Math.ceil(leftMs)).unref();
      return;
    }
    this.#holders.delete(oldest);
    oldest.end();
  }
}
