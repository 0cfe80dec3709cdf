/**
 * Pings only while every worker turns. That a thread which is held does stop them is shown by test/lab/service.test.ts.
 */
import t from 'tap';
import type { Service } from '../../src/daemon/service.js';
import { ServiceWatch } from '../../src/daemon/service-watch.js';
import { eventually } from '../support/wait.js';

/** Two workers, whose rounds the test counts. */
function workers(watchdogMs = 1000) {
  const heartbeats = [5, 5];
  const told: string[] = [];
  const stalls: boolean[] = [];
  const service = {
    watchdogMs,
    listens: true,
    ping: () => told.push('ping'),
    status: (text: string) => told.push(text),
  } as unknown as Service;
  let status = 'two workers';
  const watch = new ServiceWatch(service, {
    heartbeats: () => [...heartbeats],
    status: () => status,
    stalled: (isStalled) => stalls.push(isStalled),
  });
  const look = (...turning: number[]) => {
    for (const worker of turning) heartbeats[worker]++;
    watch.check();
    return told.splice(0).filter((word) => word === 'ping').length;
  };
  return { watch, look, told, stalls, heartbeats, say: (text: string) => (status = text) };
}

t.test('no ping unless every worker has turned since the last look', (t) => {
  const { look } = workers();
  t.equal(look(0, 1), 1, 'both');
  t.equal(look(0), 0, 'the second is still');
  t.equal(look(1), 0, 'the first is');
  t.equal(look(), 0, 'both are');
  t.equal(look(0, 1), 1, 'both turn again');
  t.end();
});

t.test('the first look is compared with the beginning', (t) => {
  t.equal(workers().look(), 0);
  t.end();
});

t.test('a stall is said once, and so is its end; a single look in vain is not', (t) => {
  const { look, stalls } = workers();
  look();
  look(0, 1);
  t.same(stalls, []);
  look();
  look();
  look();
  t.same(stalls, [true]);
  look(0, 1);
  look(0, 1);
  t.same(stalls, [true, false]);
  t.end();
});

t.test('the line for people is renewed, whether or not pings are wanted', (t) => {
  const { watch, told, say, stalls } = workers(0);
  say('three peers');
  watch.check();
  watch.check();
  t.same(told, ['three peers', 'three peers'], 'and no ping');
  t.same(stalls, []);
  t.end();
});

t.test('it looks four times within the patience of the manager, until it is stopped', async (t) => {
  const { watch, told, heartbeats } = workers(40);
  const turning = setInterval(() => {
    for (const worker of heartbeats.keys()) heartbeats[worker]++;
  }, 1);
  t.teardown(() => clearInterval(turning));
  watch.start();
  await eventually('three pings', () => told.filter((word) => word === 'ping').length >= 3);
  watch.stop();
  const before = told.length;
  await new Promise((resolve) => setTimeout(resolve, 60));
  t.equal(told.length, before);
});
