import { setTimeout as delay, setImmediate as nextTurn } from 'node:timers/promises';
import t from 'tap';
import { Turns } from '../../src/api/turns.js';

const MANY = { waiting: 100, waitingPerClient: 100 };

t.test('clients are admitted in FIFO order while places are free', async (t) => {
  const turns = new Turns({ places: 2, perClient: 2, ...MANY });
  const served: string[] = [];
  const come = async (name: string) => {
    const turn = turns.enter('one', () => {})!;
    await turn.admitted;
    served.push(name);
    return turn.leave;
  };
  const [first, second, third, fourth] = ['a', 'b', 'c', 'd'].map(come);
  await nextTurn();
  t.same(served, ['a', 'b']);
  (await second)();
  await nextTurn();
  t.same(served, ['a', 'b', 'c']);
  (await first)();
  (await third)();
  await nextTurn();
  t.same(served, ['a', 'b', 'c', 'd']);
  (await fourth)();
  await come('e');
  await come('f');
  t.same(served.slice(-2), ['e', 'f'], 'released places can be used again');
});

t.test('a client with a full share waits while another client is admitted', async (t) => {
  const turns = new Turns({ places: 3, perClient: 2, waiting: 3, waitingPerClient: 2 });
  const enter = (client: string) => turns.enter(client, () => {});
  const [first, second, third, fourth] = [enter('a')!, enter('a')!, enter('a')!, enter('a')!];
  t.equal(enter('a'), undefined, 'the client’s share of the queue is full');
  const other = enter('b')!;
  t.same(await Promise.all([first.admitted, second.admitted, other.admitted]), [true, true, true]);
  const last = enter('b')!;
  t.equal(enter('c'), undefined, 'the queue is full');
  third.leave();
  t.equal(await third.admitted, false, '`leave` removes a client from the queue');
  const next = enter('c')!;
  other.leave();
  other.leave();
  t.equal(await last.admitted, true, 'the first queued client with a free share is admitted');
  first.leave();
  t.same(await Promise.all([fourth.admitted]), [true]);
  last.leave();
  t.equal(await next.admitted, true);
});

t.test('the oldest holder over its time limit is ended for a waiting client', async (t) => {
  const turns = new Turns({ places: 2, perClient: 2, ...MANY, placeMs: 20 });
  const log: string[] = [];
  const come = async (name: string) => {
    const turn = turns.enter('one', () => {
      log.push(`${name} ended`);
      turn.leave();
    })!;
    await turn.admitted;
    log.push(name);
  };
  await come('a');
  await come('b');
  await delay(40);
  t.same(log, ['a', 'b'], 'no holder is ended while no client waits');
  await come('c');
  t.same(log.splice(0), ['a', 'b', 'a ended', 'c'], 'a holder over its time limit is ended at once');
  // The timer does not keep the process alive, but `delay` does.
  await Promise.all([come('d'), come('e'), delay(200)]);
  t.same(log, ['b ended', 'd', 'c ended', 'e']);
});

t.test('for a client with a full share, only its own holder is ended', async (t) => {
  const turns = new Turns({ places: 3, perClient: 1, ...MANY, placeMs: 0 });
  const ended: string[] = [];
  const enter = (client: string) => turns.enter(client, () => ended.push(client))!;
  enter('b');
  enter('a');
  enter('a');
  t.same(ended, ['a']);
});
