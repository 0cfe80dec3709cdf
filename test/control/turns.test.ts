import { setTimeout as delay, setImmediate as nextTurn } from 'node:timers/promises';
import t from 'tap';
import { Turns } from '../../src/control/turns.js';

t.test('as many at a time as there are places, in the order of coming', async (t) => {
  const turns = new Turns(2);
  const served: string[] = [];
  const come = async (name: string) => {
    const give = await turns.take(() => {});
    served.push(name);
    return give;
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

t.test(
  'who has a place for too long loses it to who waits, the one that came first before the other',
  async (t) => {
    const turns = new Turns(2, 20);
    const told: string[] = [];
    const come = async (name: string) => {
      const give = await turns.take(() => {
        told.push(`${name} ended`);
        give();
      });
      told.push(name);
      return give;
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
  },
);
