import { setImmediate as nextTurn } from 'node:timers/promises';
import t from 'tap';
import { Turns } from '../../src/control/turns.js';

t.test('as many at a time as there are places, in the order of coming', async (t) => {
  const turns = new Turns(2);
  const served: string[] = [];
  const come = async (name: string) => {
    const give = await turns.take();
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
