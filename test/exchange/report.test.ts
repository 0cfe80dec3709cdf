import t from 'tap';
import {
  blockingReasons,
  codesOf,
  REPORTS,
  type Report,
  type ReportCode,
  reportsOf,
  reportText,
} from '../../src/exchange/report.js';

const report = (code: ReportCode, detail: string): Report => ({ code, detail, why: 'w', cure: 'c' });
const ALL = [
  report('queues_unsteered', 'a'),
  report('device_missing', 'vtep100 is down'),
  report('reload_failed', 'b'),
  report('local_address_missing', '192.0.2.10 is on no device'),
];

t.test('reports are divided by kind and keep their order', async (t) => {
  t.same(
    reportsOf('warning', ALL).map(({ code }) => code),
    ['device_missing', 'reload_failed', 'local_address_missing'],
  );
  t.same(
    reportsOf('notice', ALL).map(({ code }) => code),
    ['queues_unsteered'],
  );
  t.same([...codesOf('warning'), ...codesOf('notice')].sort(), Object.keys(REPORTS).sort());
  t.ok(codesOf('notice').includes('offload_not_permitted'));
});

t.test('only reports whose code blocks readiness are reasons against it', async (t) => {
  t.strictSame(blockingReasons(ALL), [
    { code: 'device_missing', detail: 'vtep100 is down' },
    { code: 'local_address_missing', detail: '192.0.2.10 is on no device' },
  ]);
  for (const [code, { kind, blocksReady }] of Object.entries(REPORTS))
    if (blocksReady) t.equal(kind, 'warning', `${code} blocks readiness, so it is a warning`);
});

t.test('the text has fact, consequence and cure', async (t) => {
  t.equal(reportText(report('twin', 'a peer has this MAC')), 'a peer has this MAC; w; c');
});
