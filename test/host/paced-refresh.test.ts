import t from 'tap';
import { PacedRefresh } from '../../src/host/paced-refresh.js';
import { eventually } from '../support/wait.js';

/** A refresh whose duration the test decides. */
function make() {
  const starts: number[] = [];
  let finish = () => {};
  const paced = new PacedRefresh(() => {
    starts.push(performance.now());
    return new Promise((resolve) => {
      finish = resolve;
    });
  });
  return { paced, starts, finish: () => finish() };
}

t.test('a request during a refresh causes one more, after a rest', async (t) => {
  const { paced, starts, finish } = make();
  const first = paced.now();
  paced.due();
  paced.due();
  await new Promise((resolve) => setTimeout(resolve, 50));
  t.equal(starts.length, 1, 'refreshes do not overlap');
  const endMs = performance.now();
  finish();
  await first;
  await eventually('the next refresh', () => starts.length === 2);
  t.ok(starts[1] - endMs >= 9 * 50 - 20, 'the rest is nine times the duration');
  finish();
  await paced.stop();
  t.equal(starts.length, 2);
});

t.test('the rest counts from the end of the refresh, not from the request', async (t) => {
  const { paced, starts, finish } = make();
  const first = paced.now();
  await new Promise((resolve) => setTimeout(resolve, 40));
  finish();
  await first;
  const endMs = performance.now();
  await new Promise((resolve) => setTimeout(resolve, 300));
  paced.due();
  await eventually('the next refresh', () => starts.length === 2);
  t.ok(starts[1] - endMs < 900, `after ${Math.round(starts[1] - endMs)} ms`);
  finish();
  await paced.stop();
});

t.test('no refresh after the stop, which awaits the current one', async (t) => {
  const { paced, starts, finish } = make();
  void paced.now();
  paced.due();
  const stopped = paced.stop();
  finish();
  await stopped;
  paced.due();
  await new Promise((resolve) => setTimeout(resolve, 250));
  t.equal(starts.length, 1);
});
