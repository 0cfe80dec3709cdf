import t from 'tap';
import { LogLimit } from '../src/log-limit.js';

t.test('some at once, then one a period, each key for itself', async (t) => {
  const limit = new LogLimit({ burst: 3, periodMs: 1000 });
  const many = (key: string, nowMs: number) =>
    Array.from({ length: 10 }, () => limit.allows(key, nowMs)).filter(Boolean).length;
  t.equal(many('a', 0), 3);
  t.equal(many('b', 0), 3);
  t.equal(many('a', 999), 0);
  t.equal(many('a', 1999), 1);
  t.equal(many('a', 1_000_000), 3, 'no more than at once');
});
