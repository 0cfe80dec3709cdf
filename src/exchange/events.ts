/**
 * What happens in a VTEP, as a stream for whoever listens: REST, the library, tests. Who knows of something publishes it;
 * each subscriber has a queue of its own, which is bounded. One that reads too slowly loses the oldest and is told how many,
 * so that nobody who stopped reading holds memory or holds up the others.
 *
 * Publishing is cheap and never fails. Nothing is kept for those who come later. No I/O here, and no word of who publishes.
 */

/** Addresses and MACs are canonical text. */
export type VtepEvent =
  | { type: 'learned' | 'aged'; vni: number; mac: string; peer: string }
  | { type: 'moved'; vni: number; mac: string; peer: string; from: string }
  /** A frame for an unknown MAC; of each MAC the first within a second. */
  | { type: 'miss'; vni: number; mac: string }
  | {
      type: 'peer';
      vni: number;
      peer: string;
      /** What it was resolved from; '' when it was configured by address. */
      name: string;
      action: 'added' | 'removed' | 'heard' | 'silent';
    }
  | { type: 'vni'; vni: number; action: 'added' | 'changed' | 'removed' }
  /** `error` is '' when the name was resolved. */
  | { type: 'resolve'; name: string; addresses: string[]; error: string }
  | { type: 'path-mtu'; peer: string; pathMtu: number; before: number }
  | { type: 'warning'; code: string; detail: string }
  /** Events that this subscriber was too slow for, or that were too many to be told of at all. */
  | { type: 'lost'; count: number };

/** All of them: a type that is left out here does not compile. */
export const EVENT_TYPES = Object.keys({
  learned: true,
  moved: true,
  aged: true,
  miss: true,
  peer: true,
  vni: true,
  resolve: true,
  'path-mtu': true,
  warning: true,
  lost: true,
} satisfies Record<VtepEvent['type'], true>) as VtepEvent['type'][];

export interface StampedEvent {
  /** Rises with every event. That of `lost` is the last one that was lost. */
  readonly id: number;
  /** ISO 8601, UTC. */
  readonly at: string;
  readonly event: VtepEvent;
}

export interface EventSubscription extends AsyncIterable<StampedEvent> {
  /** Ends the iteration, whoever waits in it; what was queued is forgotten. */
  close(): void;
}

export interface EventSource {
  /**
   * Events from now on, for one reader. They are queued until they are read; leaving the loop closes the subscription.
   * @param options capacity: how many events are queued at most, 1024 unless said otherwise
   */
  subscribe(options?: { capacity?: number }): EventSubscription;
}

const DEFAULT_CAPACITY = 1024;

export class Events implements EventSource {
  readonly #nowMs: () => number;
  readonly #queues = new Set<Queue>();
  readonly #watchers: ((count: number) => void)[] = [];
  #lastId = 0;

  /** @param nowMs time since the epoch, ms */
  constructor(nowMs: () => number = Date.now) {
    this.#nowMs = nowMs;
  }

  get subscribers(): number {
    return this.#queues.size;
  }

  /** Calls back whenever somebody begins or ceases to listen: what costs something is made for listeners alone. */
  onSubscribers(callback: (count: number) => void): void {
    this.#watchers.push(callback);
  }

  publish(event: VtepEvent): void {
    const id = ++this.#lastId;
    if (this.#queues.size === 0) return;
    const stamped: StampedEvent = { id, at: new Date(this.#nowMs()).toISOString(), event };
    for (const queue of this.#queues) queue.put(stamped);
  }

  subscribe({ capacity = DEFAULT_CAPACITY }: { capacity?: number } = {}): EventSubscription {
    const queue = new Queue(Math.max(1, capacity), () => {
      this.#queues.delete(queue);
      this.#notifyWatchers();
    });
    this.#queues.add(queue);
    this.#notifyWatchers();
    return queue;
  }

  /** Nothing happens any more: ends every subscription. */
  close(): void {
    for (const queue of [...this.#queues]) queue.close();
  }

  #notifyWatchers(): void {
    for (const watcher of this.#watchers) watcher(this.#queues.size);
  }
}

type Resolve = (result: IteratorResult<StampedEvent>) => void;

const DONE: IteratorReturnResult<undefined> = { done: true, value: undefined };

/** What waits for one subscriber, or who of its readers waits for an event: never both. */
class Queue implements EventSubscription, AsyncIterator<StampedEvent> {
  readonly #capacity: number;
  readonly #onClose: () => void;
  #waiting: StampedEvent[] = [];
  #readers: Resolve[] = [];
  /** How many were lost since the last one was read, and the newest of them. */
  #lostCount = 0;
  #lastLost: StampedEvent | undefined;
  #closed = false;

  constructor(capacity: number, onClose: () => void) {
    this.#capacity = capacity;
    this.#onClose = onClose;
  }

  put(event: StampedEvent): void {
    const reader = this.#readers.shift();
    if (reader) {
      reader({ done: false, value: event });
      return;
    }
    if (this.#waiting.length === this.#capacity) {
      this.#lastLost = this.#waiting.shift();
      this.#lostCount += this.#lastLost?.event.type === 'lost' ? this.#lastLost.event.count : 1;
    }
    this.#waiting.push(event);
  }

  [Symbol.asyncIterator](): this {
    return this;
  }

  async next(): Promise<IteratorResult<StampedEvent>> {
    if (this.#closed) return DONE;
    const value = this.#lostEvent() ?? this.#waiting.shift();
    if (value) return { done: false, value };
    return new Promise((resolve) => this.#readers.push(resolve));
  }

  async return(): Promise<IteratorResult<StampedEvent>> {
    this.close();
    return DONE;
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#waiting = [];
    for (const reader of this.#readers.splice(0)) reader(DONE);
    this.#onClose();
  }

  /** What stands in the place of those that were lost. */
  #lostEvent(): StampedEvent | undefined {
    const last = this.#lastLost;
    if (!last) return undefined;
    const count = this.#lostCount;
    this.#lastLost = undefined;
    this.#lostCount = 0;
    return { ...last, event: { type: 'lost', count } };
  }
}
