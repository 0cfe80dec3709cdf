import t from 'tap';
import { ROUND_IN, ROUND_OTHER, ROUND_OUT } from '../../src/switch/forward/loop.js';
import { Polling } from '../../src/switch/polling.js';

/** Turns until looking begins. */
const TURNS = 16;
const SOON_US = 40;

/** @returns whether it looks after so many turns to and fro */
function turn(polling: Polling, turns: number): boolean {
  for (let i = 0; i < turns; i++) polling.after(i % 2 === 0 ? ROUND_OUT : ROUND_IN, SOON_US);
  return polling.spinUs > 0;
}

t.test('looks once requests and answers come close after one another', (t) => {
  const polling = new Polling();
  t.notOk(turn(polling, TURNS - 1), 'not yet');
  polling.after(ROUND_IN, SOON_US);
  t.ok(polling.spinUs > 0);
  polling.after(ROUND_OUT, polling.spinUs);
  t.ok(polling.spinUs > 0, 'and goes on as long as they do');
  polling.after(ROUND_IN, SOON_US);
  polling.after(ROUND_IN, SOON_US);
  t.ok(polling.spinUs > 0, 'an answer may have two frames');
  t.end();
});

for (const [what, way, waitedUs] of [
  ['load', ROUND_OTHER, 5],
  ['a pause', ROUND_OUT, 101],
] as const) {
  t.test(`${what} ends it at once`, (t) => {
    const polling = new Polling();
    t.ok(turn(polling, TURNS));
    polling.after(way, waitedUs);
    t.equal(polling.spinUs, 0);
    t.notOk(turn(polling, TURNS - 2), 'and it has to be earned again');
    t.end();
  });
}

t.test('a stream that goes one way is not waited for', (t) => {
  const polling = new Polling();
  for (let i = 0; i < 10 * TURNS; i++) polling.after(ROUND_OUT, SOON_US);
  t.equal(polling.spinUs, 0);
  t.ok(turn(polling, 2 * TURNS));
  for (let i = 0; i < 3; i++) polling.after(ROUND_IN, SOON_US);
  t.equal(polling.spinUs, 0, 'and ends the looking');
  t.end();
});
