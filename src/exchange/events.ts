/**
 * Event stream of a VTEP for its subscribers: REST, the library, tests.
 *
 * Publishers and subscribers do not know each other. Each subscriber has a bounded queue of its
 * own. A subscriber that reads too slowly loses its oldest events and receives their number, so
 * that a stalled subscriber uses bounded memory and does not delay other subscribers.
 *
 * Publishing is cheap and never fails. Past events are not replayed. No I/O.
 */
import type { Report } from './report.js';

/** Addresses and MACs are canonical text. */
export type VtepEvent =
  | { type: 'learned' | 'aged'; vni: number; mac: string; peer: string }
  | { type: 'moved'; vni: number; mac: string; peer: string; from: string }
  /** A frame for a MAC without an FDB entry; reported once per MAC and second. */
  | { type: 'miss'; vni: number; mac: string }
  | {
      type: 'peer';
      vni: number;
      peer: string;
      /** Name that the peer was resolved from; '' if it was configured by address. */
      name: string;
      action: 'added' | 'removed' | 'heard' | 'silent';
    }
  | { type: 'vni'; vni: number; action: 'added' | 'changed' | 'removed' }
  /** `error` is '' if the name was resolved. */
  | { type: 'resolve'; name: string; addresses: string[]; error: string }
  | { type: 'path-mtu'; peer: string; pathMtu: number; before: number }
  | ({ type: 'warning' } & Report)
  /**
   * Number of events that were not delivered, because this subscriber reads too slowly or because
   * there were too many to report.
   */
  | { type: 'lost'; count: number };

/** All event types; `satisfies` makes a missing type a compile error. */
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
  /** Increases with every event. The id of `lost` is that of the last lost event. */
  readonly id: number;
  /** ISO 8601, UTC. */
  readonly at: string;
  readonly event: VtepEvent;
}

export interface EventSubscription extends AsyncIterable<StampedEvent> {
  /** Ends the iteration, also for a waiting reader, and discards queued events. */
  close(): void;
}

export interface EventSource {
  /**
   * Subscribes one reader to all events that are published after this call. Events are queued until
   * read; leaving the `for await` loop closes the subscription.
   *
   * @param options capacity: most queued events, default 1024
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

  /**
   * Calls back when the number of subscribers changes, so that costly events are produced for
   * subscribers only.
   */
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

  /** Ends every subscription. */
  close(): void {
    for (const queue of [...this.#queues]) queue.close();
  }

  #notifyWatchers(): void {
    for (const watcher of this.#watchers) watcher(this.#queues.size);
  }
}

type Resolve = (result: IteratorResult<StampedEvent>) => void;

const DONE: IteratorReturnResult<undefined> = { done: true, value: undefined };

/** Queue of one subscriber: holds unread events or waiting readers, never both. */
class Queue implements EventSubscription, AsyncIterator<StampedEvent> {
  readonly #capacity: number;
  readonly #onClose: () => void;
  #waiting: StampedEvent[] = [];
  #readers: Resolve[] = [];
  /** Number of events lost since the last read. */
  #lostCount = 0;
  /** Newest lost event. */
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

  /** The `lost` event that replaces the lost events. */
  #lostEvent(): StampedEvent | undefined {
    const last = this.#lastLost;
    if (!last) return undefined;
    const count = this.#lostCount;
    this.#lastLost = undefined;
    this.#lostCount = 0;
    return { ...last, event: { type: 'lost', count } };
  }
}
