/**
 * Garbage collections of one thread, parsed from the output of `--trace-gc` of Node 20.
 */
import t from 'tap';
import { collectionsBetween } from '../../bench/heap/trace.js';

const WORKER = '[25844:0x7f09b8000f00]';
const MAIN = '[25844:0x2ca79e50]';
const TAIL = '(average mu = 1.000, current mu = 1.000)';
const asked = `${WORKER}      174 ms: Mark-Compact 4.7 (8.5) -> 3.5 (8.7) MB, 21.69 / 0.01 ms  ${TAIL} testing; GC in old space requested`;
const scavenge = (thread: string) =>
  `${thread}      186 ms: Scavenge 5.7 (8.7) -> 3.7 (8.7) MB, 0.12 / 0.00 ms  ${TAIL} allocation failure; `;
const major = (thread: string) =>
  `${thread}      320 ms: Mark-Compact (reduce) 26.9 (58.1) -> 22.0 (54.7) MB, 31.70 / 0.00 ms  (+ 1.5 ms in 23 steps since start of marking) ${TAIL} finalize incremental marking via stack guard; GC in old space requested`;

t.test('a trace without two requested collections of one thread has no result', async (t) => {
  t.equal(collectionsBetween(''), undefined, 'empty');
  t.equal(collectionsBetween(scavenge(WORKER)), undefined, 'there is no requested collection');
  t.equal(
    collectionsBetween(`${asked}\n${scavenge(WORKER)}`),
    undefined,
    'the second requested collection is missing',
  );
  const other = asked.replace(WORKER, MAIN);
  t.equal(
    collectionsBetween([asked, asked, other, other].join('\n')),
    undefined,
    'two threads have requested collections',
  );
});

t.test('collections between the last two requested collections of the thread are counted', async (t) => {
  const lines = [
    asked,
    scavenge(WORKER),
    asked,
    '{"level":"info","msg":"a line of the log"}',
    scavenge(WORKER),
    major(MAIN),
    major(WORKER),
    scavenge(MAIN),
    asked,
    major(WORKER),
  ];
  const found = collectionsBetween(lines.join('\n'));
  t.match(found, { scavenges: 1, major: 1 });
  t.equal(found?.lines.length, 4, 'the lines include the two requested collections');
  t.ok(Math.abs((found?.freedBytes ?? 0) - 6.9e6) < 1, '2.0 and 4.9 MB were freed');
});

t.test('a thread that allocates nothing has zero collections', async (t) => {
  t.match(collectionsBetween([asked, asked].join('\n')), { scavenges: 0, major: 0, freedBytes: 0 });
});
