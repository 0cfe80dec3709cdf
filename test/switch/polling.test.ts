import t from 'tap';
import { ROUND_IN, ROUND_OTHER, ROUND_OUT } from '../../src/switch/forward/loop.js';
import { Polling } from '../../src/switch/polling.js';

/** Changes of direction before busy-polling begins. */
const TURNS = 16;
const SOON_US = 40;

/** @returns true when the next wait busy-polls after this many changes of direction */
function turn(polling: Polling, turns: number): boolean {
  for (let i = 0; i < turns; i++) polling.after(i % 2 === 0 ? ROUND_OUT : ROUND_IN, SOON_US);
  return polling.spinUs > 0;
}

t.test('busy-polling begins after several requests and replies in close succession', (t) => {
  const polling = new Polling();
  t.notOk(turn(polling, TURNS - 1), 'busy-polling does not begin one change of direction earlier');
  polling.after(ROUND_IN, SOON_US);
  t.ok(polling.spinUs > 0);
  polling.after(ROUND_OUT, polling.spinUs);
  t.ok(polling.spinUs > 0, 'busy-polling continues while requests and replies alternate');
  polling.after(ROUND_IN, SOON_US);
  polling.after(ROUND_IN, SOON_US);
  t.ok(polling.spinUs > 0, 'busy-polling continues if a reply has two frames');
  t.end();
});

for (const [what, direction, waitedUs] of [
  ['load', ROUND_OTHER, 5],
  ['a pause', ROUND_OUT, 101],
] as const) {
  t.test(`${what} ends busy-polling at once`, (t) => {
    const polling = new Polling();
    t.ok(turn(polling, TURNS));
    polling.after(direction, waitedUs);
    t.equal(polling.spinUs, 0);
    t.notOk(turn(polling, TURNS - 2), 'the changes of direction are counted from zero again');
    t.end();
  });
}

t.test('a one-way stream causes no busy-polling', (t) => {
  const polling = new Polling();
  for (let i = 0; i < 10 * TURNS; i++) polling.after(ROUND_OUT, SOON_US);
  t.equal(polling.spinUs, 0);
  t.ok(turn(polling, 2 * TURNS));
  for (let i = 0; i < 3; i++) polling.after(ROUND_IN, SOON_US);
  t.equal(polling.spinUs, 0, 'a one-way stream ends busy-polling');
  t.end();
});
