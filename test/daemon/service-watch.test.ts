/**
 * Watchdog pings depend on the progress of every worker. test/lab/service.test.ts shows that a
 * stopped thread ends the pings.
 */
import t from 'tap';
import type { Service } from '../../src/daemon/service.js';
import { ServiceWatch } from '../../src/daemon/service-watch.js';
import { eventually } from '../support/wait.js';

/** Two workers, whose heartbeats the test advances. */
function workers(watchdogMs = 1000) {
  const heartbeats = [5, 5];
  const sent: string[] = [];
  const stalls: boolean[] = [];
  const service = {
    watchdogMs,
    listens: true,
    ping: () => sent.push('ping'),
    status: (text: string) => sent.push(text),
  } as unknown as Service;
  let status = 'two workers';
  const watch = new ServiceWatch(service, {
    heartbeats: () => [...heartbeats],
    status: () => status,
    stalled: (isStalled) => stalls.push(isStalled),
  });
  const check = (...turning: number[]) => {
    for (const worker of turning) heartbeats[worker]++;
    watch.check();
    return sent.splice(0).filter((message) => message === 'ping').length;
  };
  return { watch, check, sent, stalls, heartbeats, setStatus: (text: string) => (status = text) };
}

t.test('pings only if every worker has made progress since the last check', (t) => {
  const { check } = workers();
  t.equal(check(0, 1), 1, 'both workers run');
  t.equal(check(0), 0, 'the second worker stalls');
  t.equal(check(1), 0, 'the first worker stalls');
  t.equal(check(), 0, 'both workers stall');
  t.equal(check(0, 1), 1, 'both workers run again');
  t.end();
});

t.test('compares the heartbeats of the first check with those at creation', (t) => {
  t.equal(workers().check(), 0);
  t.end();
});

t.test('reports start and end of a stall once each, but no single check without progress', (t) => {
  const { check, stalls } = workers();
  check();
  check(0, 1);
  t.same(stalls, []);
  check();
  check();
  check();
  t.same(stalls, [true]);
  check(0, 1);
  check(0, 1);
  t.same(stalls, [true, false]);
  t.end();
});

t.test('sends the status line also if no pings are due', (t) => {
  const { watch, sent, setStatus, stalls } = workers(0);
  setStatus('three peers');
  watch.check();
  watch.check();
  t.same(sent, ['three peers', 'three peers'], 'only status lines are sent');
  t.same(stalls, []);
  t.end();
});

t.test('checks four times per watchdog period until stopped', async (t) => {
  const { watch, sent, heartbeats } = workers(40);
  const turning = setInterval(() => {
    for (const worker of heartbeats.keys()) heartbeats[worker]++;
  }, 1);
  t.teardown(() => clearInterval(turning));
  watch.start();
  await eventually('three pings', () => sent.filter((message) => message === 'ping').length >= 3);
  watch.stop();
  const before = sent.length;
  await new Promise((resolve) => setTimeout(resolve, 60));
  t.equal(sent.length, before);
});
