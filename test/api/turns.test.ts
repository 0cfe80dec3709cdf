import { setTimeout as delay, setImmediate as nextTurn } from 'node:timers/promises';
import t from 'tap';
import { Turns } from '../../src/api/turns.js';

const MANY = { waiting: 100, waitingPerClient: 100 };

t.test('as many at a time as there are places, in the order of coming', async (t) => {
  const turns = new Turns({ places: 2, perClient: 2, ...MANY });
  const served: string[] = [];
  const come = async (name: string) => {
    const turn = turns.enter('one', () => {})!;
    await turn.mine;
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
  t.same(served.slice(-2), ['e', 'f'], 'places that were given back are free');
});

t.test('a client that has its share waits, another one passes it', async (t) => {
  const turns = new Turns({ places: 3, perClient: 2, waiting: 3, waitingPerClient: 2 });
  const enter = (client: string) => turns.enter(client, () => {});
  const [first, second, third, fourth] = [enter('a')!, enter('a')!, enter('a')!, enter('a')!];
  t.equal(enter('a'), undefined, 'its part of the queue is full');
  const other = enter('b')!;
  t.same(await Promise.all([first.mine, second.mine, other.mine]), [true, true, true]);
  const last = enter('b')!;
  t.equal(enter('c'), undefined, 'the queue is full');
  third.leave();
  t.equal(await third.mine, false, 'it left the queue');
  const next = enter('c')!;
  other.leave();
  other.leave();
  t.equal(await last.mine, true, 'the first in the queue that may hold a place');
  first.leave();
  t.same(await Promise.all([fourth.mine]), [true]);
  last.leave();
  t.equal(await next.mine, true);
});

t.test('who has a place for too long loses it to who waits, the first one before the other', async (t) => {
  const turns = new Turns({ places: 2, perClient: 2, ...MANY, placeMs: 20 });
  const told: string[] = [];
  const come = async (name: string) => {
    const turn = turns.enter('one', () => {
      told.push(`${name} ended`);
      turn.leave();
    })!;
    await turn.mine;
    told.push(name);
  };
  await come('a');
  await come('b');
  await delay(40);
  t.same(told, ['a', 'b'], 'nobody waits');
  await come('c');
  t.same(told.splice(0), ['a', 'b', 'a ended', 'c'], 'at once: its time was over');
  // Its timer does not keep the process alive.
  await Promise.all([come('d'), come('e'), delay(200)]);
  t.same(told, ['b ended', 'd', 'c ended', 'e']);
});

t.test('nobody is ended for one that waits for its own places', async (t) => {
  const turns = new Turns({ places: 3, perClient: 1, ...MANY, placeMs: 0 });
  const ended: string[] = [];
  const enter = (client: string) => turns.enter(client, () => ended.push(client))!;
  enter('b');
  enter('a');
  enter('a');
  t.same(ended, ['a']);
});
