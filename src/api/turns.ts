/**
 * A semaphore with a bounded FIFO queue and shares per client.
 *
 * It limits responses that cost memory while they are written: each running response holds one of a
 * fixed number of places. A client can use only a share of the places and of the queue, so that
 * room is left for other clients. A holder that exceeds its time limit is ended as soon as a queued
 * client could use its place.
 */

export interface TurnLimits {
  /** Maximum holders. */
  readonly places: number;
  /** Maximum holders of one client. */
  readonly perClient: number;
  /** Maximum length of the queue. */
  readonly waiting: number;
  /** Maximum queue entries of one client. */
  readonly waitingPerClient: number;
  /** Milliseconds after which a holder may be ended for a queued client. */
  readonly placeMs?: number;
}

export interface Turn {
  /** Resolves to true when a place is acquired, to false if `leave` was called earlier. */
  readonly admitted: Promise<boolean>;
  /** Releases the place or leaves the queue. Idempotent. */
  readonly leave: () => void;
}

const PLACE_MS = 30_000;

interface Visitor {
  readonly client: string;
  readonly end: () => void;
  readonly admit: (admitted: boolean) => void;
  untilMs: number;
  ended: boolean;
}

export class Turns {
  readonly #limits: TurnLimits;
  readonly #placeMs: number;
  #waiting: Visitor[] = [];
  /** Visitors with a place, in order of admission. */
  readonly #holders = new Set<Visitor>();
  #timer: NodeJS.Timeout | undefined;

  constructor(limits: TurnLimits) {
    this.#limits = limits;
    this.#placeMs = limits.placeMs ?? PLACE_MS;
  }

  /** The limits as text for an error message. */
  get limits(): string {
    const { places, perClient, waiting, waitingPerClient } = this.#limits;
    return `${places} running and ${waiting} waiting, per client ${perClient} and ${waitingPerClient}`;
  }

  /**
   * @param end called when the time limit of the holder is over and a queued client could use the
   * place; the holder should call `leave` soon after
   * @returns undefined when the queue, or the share of the client, is full
   */
  enter(client: string, end: () => void): Turn | undefined {
    let admit: (admitted: boolean) => void = () => {};
    const admitted = new Promise<boolean>((resolve) => (admit = resolve));
    const visitor: Visitor = { client, end, admit, untilMs: 0, ended: false };
    if (!this.#hasPlace(client) && this.#isFull(client)) return undefined;
    this.#waiting.push(visitor);
    this.#fill();
    return { admitted, leave: () => this.#leave(visitor) };
  }

  #isFull(client: string): boolean {
    const { waiting, waitingPerClient } = this.#limits;
    const theirs = this.#waiting.filter((visitor) => visitor.client === client).length;
    return this.#waiting.length >= waiting || theirs >= waitingPerClient;
  }

  #hasPlace(client: string): boolean {
    return this.#holders.size < this.#limits.places && this.#mayHold(client);
  }

  #mayHold(client: string): boolean {
    let held = 0;
    for (const holder of this.#holders) if (holder.client === client) held++;
    return held < this.#limits.perClient;
  }

  #fill(): void {
    const still: Visitor[] = [];
    for (const visitor of this.#waiting) {
      if (this.#hasPlace(visitor.client)) this.#admit(visitor);
      else still.push(visitor);
    }
    this.#waiting = still;
    this.#hurry();
  }

  #admit(visitor: Visitor): void {
    visitor.untilMs = performance.now() + this.#placeMs;
    this.#holders.add(visitor);
    visitor.admit(true);
  }

  #leave(visitor: Visitor): void {
    visitor.admit(false);
    this.#holders.delete(visitor);
    this.#waiting = this.#waiting.filter((other) => other !== visitor);
    this.#fill();
  }

  /**
   * Ends the oldest holder whose place a queued client could use, as soon as the holder's time
   * limit is over.
   */
  #hurry(): void {
    clearTimeout(this.#timer);
    const oldest = this.#oldestWaitedFor();
    if (oldest === undefined) return;
    const leftMs = oldest.untilMs - performance.now();
    if (leftMs > 0) {
      this.#timer = setTimeout(() => this.#hurry(), Math.ceil(leftMs)).unref();
      return;
    }
    oldest.ended = true;
    oldest.end();
  }

  #oldestWaitedFor(): Visitor | undefined {
    for (const holder of this.#holders) if (!holder.ended && this.#isWaitedFor(holder)) return holder;
    return undefined;
  }

  /**
   * True when a queued client could use the place of `holder`. A client with a full share could use
   * only the places of its own holders.
   */
  #isWaitedFor(holder: Visitor): boolean {
    return this.#waiting.some(({ client }) => client === holder.client || this.#mayHold(client));
  }
}
