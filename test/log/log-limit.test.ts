import { pino } from 'pino';
import t from 'tap';
import { LimitedLog } from '../../src/log/log-limit.js';

t.test('some lines at once, then one a minute, each key for itself', async (t) => {
  const lines: { level: number; key: string; msg: string }[] = [];
  let nowMs = 0;
  const log = pino({ base: null, level: 'debug' }, { write: (line: string) => lines.push(JSON.parse(line)) });
  const limited = new LimitedLog(log, () => nowMs);
  /** How many of 100 lines were written at their level. */
  const loud = (key: string) => {
    lines.length = 0;
    for (let i = 0; i < 100; i++) limited.log(key, 'warn', { key }, 'again');
    t.equal(lines.length, 100, 'none is lost to who asks for all');
    return lines.filter(({ level }) => level === 40).length;
  };
  t.equal(loud('a'), 10);
  t.equal(loud('b'), 10);
  nowMs = 59_000;
  t.equal(loud('a'), 0);
  nowMs = 119_500;
  t.equal(loud('a'), 1);
  nowMs = 1e9;
  t.equal(loud('a'), 10, 'no more than at once');
  t.match(lines[0], { key: 'a', msg: 'again' });
  limited.forget('a');
  t.equal(loud('b'), 10);
  t.equal(loud('a'), 10, 'what is gone begins anew');
});
