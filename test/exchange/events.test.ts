import { setImmediate as turn } from 'node:timers/promises';
import t from 'tap';
import {
  type EventSubscription,
  Events,
  type StampedEvent,
  type VtepEvent,
} from '../../src/exchange/events.js';

const AT_MS = Date.UTC(2026, 0, 2, 3, 4, 5, 678);

const miss = (n: number): VtepEvent => ({ type: 'miss', vni: 100, mac: `02:00:00:00:00:${n}` });

/** Returns the next `count` events. */
async function readEvents(subscription: EventSubscription, count: number): Promise<StampedEvent[]> {
  const iterator = subscription[Symbol.asyncIterator]();
  const events: StampedEvent[] = [];
  while (events.length < count) events.push((await iterator.next()).value as StampedEvent);
  return events;
}

t.test('every subscriber receives later events in order, with the same id and time', async (t) => {
  const events = new Events(() => AT_MS);
  events.publish(miss(1));
  const one = events.subscribe();
  events.publish(miss(2));
  const other = events.subscribe();
  events.publish(miss(3));
  const at = '2026-01-02T03:04:05.678Z';
  t.same(await readEvents(one, 2), [
    { id: 2, at, event: miss(2) },
    { id: 3, at, event: miss(3) },
  ]);
  t.same(await readEvents(other, 1), [{ id: 3, at, event: miss(3) }]);
});

t.test('the next event wakes a waiting reader', async (t) => {
  const events = new Events();
  const subscription = events.subscribe();
  const waiting = readEvents(subscription, 2);
  await turn();
  events.publish(miss(1));
  events.publish(miss(2));
  t.same(
    (await waiting).map(({ event }) => event),
    [miss(1), miss(2)],
  );
});

t.test('only a slow subscriber loses events: the oldest, reported by one `lost`', async (t) => {
  const events = new Events();
  const slow = events.subscribe({ capacity: 3 });
  const other = events.subscribe();
  for (let n = 1; n <= 10; n++) events.publish(miss(n));
  const [lost, ...rest] = await readEvents(slow, 4);
  t.match(lost, { id: 7, event: { type: 'lost', count: 7 } });
  t.same(
    rest.map(({ id }) => id),
    [8, 9, 10],
  );
  events.publish(miss(11));
  t.match(await readEvents(slow, 1), [{ id: 11, event: miss(11) }], 'lost events are reported once');
  t.equal((await readEvents(other, 11)).length, 11);
});

t.test('if a `lost` event is lost, its count is added to the next `lost` event', async (t) => {
  const events = new Events();
  const slow = events.subscribe({ capacity: 1 });
  events.publish({ type: 'lost', count: 40 });
  events.publish(miss(1));
  events.publish(miss(2));
  t.match(await readEvents(slow, 2), [
    { id: 2, event: { type: 'lost', count: 41 } },
    { id: 3, event: miss(2) },
  ]);
});

t.test('a subscription ends when its loop is left or it is closed; a waiting reader returns', async (t) => {
  const events = new Events();
  const counts: number[] = [];
  events.onSubscribers((count) => counts.push(count));
  const left = events.subscribe();
  const closed = events.subscribe();
  events.publish(miss(1));
  for await (const { event } of left) {
    t.same(event, miss(1));
    break;
  }
  t.match(await readEvents(closed, 1), [{ id: 1, event: miss(1) }]);
  const end = closed[Symbol.asyncIterator]().next();
  closed.close();
  closed.close();
  t.same(await end, { done: true, value: undefined });
  events.publish(miss(2));
  t.same(await closed[Symbol.asyncIterator]().next(), { done: true, value: undefined });
  t.same(counts, [1, 2, 1, 0]);
  t.equal(events.subscribers, 0);
});
