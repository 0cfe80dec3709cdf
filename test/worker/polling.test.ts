import t from 'tap';
import { Polling } from '../../src/worker/polling.js';

/** Rounds until looking begins. */
const ROUNDS = 16;

t.test('looks once requests and answers come close after one another', (t) => {
  const polling = new Polling();
  for (let round = 1; round < ROUNDS; round++) {
    polling.after(true, 40);
    t.equal(polling.spinUs, 0, `not yet after ${round}`);
  }
  polling.after(true, 40);
  t.ok(polling.spinUs > 0);
  polling.after(true, polling.spinUs);
  t.ok(polling.spinUs > 0, 'and goes on as long as they do');
  t.end();
});

for (const [what, light, waitedUs] of [
  ['load', false, 5],
  ['a pause', true, 101],
] as const) {
  t.test(`${what} ends it at once`, (t) => {
    const polling = new Polling();
    for (let round = 0; round < ROUNDS; round++) polling.after(true, 40);
    polling.after(light, waitedUs);
    t.equal(polling.spinUs, 0);
    for (let round = 1; round < ROUNDS; round++) polling.after(true, 40);
    t.equal(polling.spinUs, 0, 'and it has to be earned again');
    t.end();
  });
}
