/** View of `top`: its layout in 80 by 24 characters and in other sizes. */
import t from 'tap';
import { ratesBetween } from '../../src/cli/rates.js';
import { batchText, type Sample, screenLines, scrollLimit, short } from '../../src/cli/top-view.js';
import { counters, STATUS, vniCounters } from '../support/counters.js';

const traffic = (frames: number, bytes: number) => ({ frames, bytes });
const LONG = '2001:db8:1111:2222:3333:4444:5555:6666';

function sample(peers: number, some: Partial<Sample> = {}): Sample {
  const list = Array.from({ length: peers }, (_, index) => ({
    address: index === 0 ? LONG : `192.0.2.${index}`,
    tx: traffic(1000 - index, 1_250_000 - index),
    rx: traffic(1, 100),
  }));
  const now = counters(
    [
      vniCounters(100, {
        tap: { rx: traffic(12_345, 15_000_000), tx: traffic(7, 700), queueDropped: 0 },
        drops: { encap: { no_route: 4, too_big: 9 }, decap: {} },
        fdb: { static: 0, dynamic: 42, learned: 3, moved: 0, aged: 1, evicted: 0 },
        peers: list,
      }),
    ],
    { busyRatio: 0.123, drops: { encap: {}, decap: { vni_not_found: 5 } } },
  );
  const rates = ratesBetween(counters([]), now, 1);
  return { atMs: Date.UTC(2026, 0, 1), status: STATUS, rates, failure: '', ...some };
}

const texts = (sample: Sample, columns = 80, rows = 24, scrolled = 0) =>
  screenLines(sample, { columns, rows }, scrolled).map(({ text }) => text);

t.test('a screen of 80 by 24 characters has totals, traffic and drops', async (t) => {
  const lines = texts(sample(2));
  t.equal(lines.length, 24);
  for (const line of lines) t.ok(line.length <= 80, `the line fits: ${line}`);
  t.match(lines[0], /^\d\d:\d\d:00 vtepd 0\.1\.0 ready, up 1h, 1 VNI, 2 peers, busy 12 %$/);
  t.equal(lines[1], 'out 12.3k frames/s 120Mbit/s, in 7 frames/s 5.60kbit/s, dropped 18/s');
  t.equal(lines[2], 'FDB 42 entries, learned 3/s, moved 0/s, aged 1/s, evicted 0/s');
  t.equal(lines[4], 'VNI, PEER                  OUT/S   BIT/S    IN/S   BIT/S  DROP/S     FDB CHURN/S');
  t.equal(lines[5], 'VNI 100                    12.3k    120M       7   5.60k      13      42       4');
  t.equal(lines[6], '  2001:db8:..4:5555:6666   1.00k   10.0M       1     800');
  t.equal(lines[7], '  192.0.2.1                  999   10.0M       1     800');
  t.strictSame(lines.slice(-5), [
    ' DROP/S        TOTAL  VNI       WHERE  REASON',
    '      9            9  100       encap  too_big',
    '      5            5  -         decap  vni_not_found',
    '      4            4  100       encap  no_route',
    'q quits',
  ]);
});

t.test('a table longer than the screen is scrolled', async (t) => {
  const many = sample(40);
  const top = texts(many);
  t.equal(top.length, 24);
  t.match(top.at(-1)!, /^q quits, up and down scroll: 1-14 of 41$/);
  t.equal(scrollLimit(many, { columns: 80, rows: 24 }), 27);
  t.match(texts(many, 80, 24, 27).at(-1)!, /28-41 of 41$/);
  t.match(texts(many, 80, 24, 1000).at(-1)!, /28-41 of 41$/, 'the scroll position is limited to the end');
  t.equal(scrollLimit(sample(2), { columns: 80, rows: 24 }), 0);
});

t.test('a wide screen has whole addresses, and a very small screen causes no error', async (t) => {
  t.match(texts(sample(2), 120).join('\n'), `\n  ${LONG} `);
  for (const rows of [1, 2, 5, 8]) t.doesNotThrow(() => texts(sample(40), 20, rows, 3));
});

t.test('the number of drop reasons that do not fit is shown', async (t) => {
  t.match(texts(sample(2), 80, 8).join('\n'), /REASON, and 1 more\n.*too_big\n.*vni_not_found\nq quits/);
});

t.test('warnings and failures are shown', async (t) => {
  const warned = sample(1, {
    status: {
      ...STATUS,
      ready: false,
      warnings: (['reload_failed', 'restart_needed'] as const).map((code) => ({
        code,
        detail: 'd',
        why: 'w',
        cure: 'c',
      })),
    },
  });
  t.match(texts(warned)[0], 'not ready');
  t.equal(texts(warned)[3], 'reload_failed: d (1 more warning)');
  t.equal(texts(sample(1, { failure: 'cannot reach vtepd' }))[3], 'cannot reach vtepd');
});

t.test('batch output is complete and has no trailing spaces', async (t) => {
  const text = batchText(sample(40));
  t.equal(text.match(/192\.0\.2\./g)?.length, 39);
  t.match(text, /encap {2}no_route\n\n$/);
  t.notMatch(text, / \n/);
});

t.test('a number has at most five characters', async (t) => {
  const rows: [number, string][] = [
    [0, '0'],
    [0.04, '0.0'],
    [0.5, '0.5'],
    [9.94, '9.9'],
    [9.96, '10'],
    [999.4, '999'],
    [999.6, '1.00k'],
    [9_994, '9.99k'],
    [9_996, '10.0k'],
    [99_960, '100k'],
    [999_600, '1.00M'],
    [1e10, '10.0G'],
    [5e15, '5000T'],
  ];
  for (const [value, text] of rows) t.equal(short(value), text);
});
