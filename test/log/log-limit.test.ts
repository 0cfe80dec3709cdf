import { pino } from 'pino';
import t from 'tap';
import { LimitedLog } from '../../src/log/log-limit.js';

t.test('allows a burst, then one line per minute, for each key separately', async (t) => {
  const lines: { level: number; key: string; msg: string }[] = [];
  let nowMs = 0;
  const log = pino({ base: null, level: 'debug' }, { write: (line: string) => lines.push(JSON.parse(line)) });
  const limited = new LimitedLog(log, () => nowMs);
  /** Logs 100 lines and returns the number of lines that were written at level warn. */
  const loud = (key: string) => {
    lines.length = 0;
    for (let i = 0; i < 100; i++) limited.log(key, 'warn', { key }, 'again');
    t.equal(lines.length, 100, 'the other lines are written at level debug');
    return lines.filter(({ level }) => level === 40).length;
  };
  t.equal(loud('a'), 10);
  t.equal(loud('b'), 10);
  nowMs = 59_000;
  t.equal(loud('a'), 0);
  nowMs = 119_500;
  t.equal(loud('a'), 1);
  nowMs = 1e9;
  t.equal(loud('a'), 10, 'after a long time no more than a burst is allowed');
  t.match(lines[0], { key: 'a', msg: 'again' });
  limited.forget('a');
  t.equal(loud('b'), 10);
  t.equal(loud('a'), 10, 'a forgotten key starts with a full burst');
});

t.test('a key whose bucket was removed among many others has no larger burst than before', async (t) => {
  let nowMs = 0;
  let lines = 0;
  const log = pino({ base: null }, { write: () => void lines++ });
  const limited = new LimitedLog(log, () => nowMs);
  const loud = (key: string) => {
    lines = 0;
    for (let i = 0; i < 20; i++) limited.log(key, 'warn', {}, 'again');
    return lines;
  };
  t.equal(loud('spent'), 10);
  for (let i = 0; i < 3000; i++) limited.log(`key ${i}`, 'warn', {}, 'once');
  t.equal(loud('spent'), 0, 'a spent bucket is kept');
  nowMs = 60_000 * 5;
  for (let i = 0; i < 3000; i++) limited.log(`key ${i}`, 'warn', {}, 'once');
  t.equal(loud('spent'), 5);
});
