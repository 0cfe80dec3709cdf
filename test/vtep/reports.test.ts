import { pino } from 'pino';
import t from 'tap';
import { Events } from '../../src/exchange/events.js';
import type { Report, ReportCode } from '../../src/exchange/report.js';
import { Reports } from '../../src/vtep/reports.js';

const texts = (detail: string) => ({ detail, why: 'w', cure: 'c' });
const report = (code: ReportCode, detail: string): Report => ({ code, ...texts(detail) });

interface Line {
  level: number;
  code: string;
  msg: string;
}
const INFO = 30;
const WARN = 40;

function make() {
  const lines: Line[] = [];
  const log = pino({ base: null }, { write: (line: string) => lines.push(JSON.parse(line)) });
  const events = new Events();
  const subscription = events.subscribe();
  const reports = new Reports(log, events);
  const details = () => reports.list.map(({ detail }) => detail);
  /** Ends the subscription and returns the published warnings. */
  const published = async () => {
    events.publish({ type: 'lost', count: 0 });
    const warnings: Report[] = [];
    for await (const { event } of subscription) {
      if (event.type !== 'warning') break;
      const { type: _, ...warning } = event;
      warnings.push(warning);
    }
    return warnings;
  };
  return { reports, lines, details, published };
}

t.test('a report is announced once, and shown until its last VNI is removed', async (t) => {
  const { reports, lines, details, published } = make();
  reports.warn(report('restart_needed', 'of the machine'));
  for (const vni of [1, 2, 1]) reports.warn(report('peer_duplicate', 'of both'), vni);
  reports.warn(report('peer_duplicate', 'of the second'), 2);
  t.same(details(), ['of the machine', 'of both', 'of the second']);
  reports.vniRemoved(1);
  reports.vniRemoved(3);
  t.same(details(), ['of the machine', 'of both', 'of the second']);
  reports.vniRemoved(2);
  t.same(details(), ['of the machine']);
  reports.warn(report('peer_duplicate', 'of both'), 1);
  t.same(details(), ['of the machine', 'of both'], 'a withdrawn report can be added again');
  reports.replace('peer_duplicate', [report('peer_duplicate', 'of both')], 2);
  reports.replace('peer_duplicate', [report('peer_duplicate', 'of one')], 1);
  t.same(details(), ['of the machine', 'of both', 'of one'], 'a report stays while another VNI has it');
  reports.replace('peer_duplicate', [], 2);
  t.same(details(), ['of the machine', 'of one'], 'a report that no VNI has is withdrawn');
  const announced = ['of the machine', 'of both', 'of the second', 'of both', 'of one'];
  const warnings = await published();
  t.same(
    warnings.map(({ detail }) => detail),
    announced,
  );
  t.strictSame(warnings[0], report('restart_needed', 'of the machine'), 'the event has all fields');
  t.same(
    lines.map(({ level, msg }) => [level, msg]),
    announced.map((detail) => [WARN, `${detail}; w; c`]),
  );
  t.equal(lines[1].code, 'peer_duplicate');
});

t.test('a notice is logged once at level info and is no event', async (t) => {
  const { reports, lines, details, published } = make();
  for (const vni of [1, 1, 2]) reports.warn(report('queues_unsteered', 'of both'), vni);
  reports.set('offload_not_permitted', 'vtgso4789', texts('no CAP_BPF'));
  t.same(details(), ['of both', 'no CAP_BPF']);
  t.same(
    lines.map(({ level, code }) => [level, code]),
    [
      [INFO, 'queues_unsteered'],
      [INFO, 'offload_not_permitted'],
    ],
  );
  t.same(await published(), []);
});

t.test('a report about a subject is announced when it appears or changes, until withdrawn', async (t) => {
  const { reports, lines, details, published } = make();
  reports.set('device_missing', 'vtep100', undefined);
  t.same(lines, [], 'the withdrawal of a report that does not hold is not logged');
  for (let i = 0; i < 3; i++) reports.set('device_missing', 'vtep100', texts('vtep100 is down'));
  reports.set('device_missing', 'br0', texts('br0 is missing'));
  reports.set('host_obeys_overlay', 'vtep100', texts('accept_ra of vtep100'));
  reports.set('device_missing', 'vtep100', texts('vtep100 is missing'));
  t.same(details(), ['vtep100 is missing', 'br0 is missing', 'accept_ra of vtep100']);
  reports.set('device_missing', 'vtep100', { ...texts('vtep100 is missing'), cure: 'another' });
  reports.set('device_missing', 'br0', undefined);
  reports.set('device_missing', 'br0', undefined);
  t.same(details(), ['vtep100 is missing', 'accept_ra of vtep100']);
  reports.set('device_missing', 'vtep100', undefined);
  reports.set('host_obeys_overlay', 'vtep100', undefined);
  t.same(details(), []);
  reports.set('device_missing', 'vtep100', texts('vtep100 is down'));
  t.same(
    lines.map(({ level, msg }) => [level, msg]),
    [
      [WARN, 'vtep100 is down; w; c'],
      [WARN, 'br0 is missing; w; c'],
      [WARN, 'accept_ra of vtep100; w; c'],
      [WARN, 'vtep100 is missing; w; c'],
      [WARN, 'vtep100 is missing; w; another'],
      [INFO, 'warning device_missing of br0 no longer holds'],
      [INFO, 'warning device_missing of vtep100 no longer holds'],
      [INFO, 'warning host_obeys_overlay of vtep100 no longer holds'],
      [WARN, 'vtep100 is down; w; c'],
    ],
  );
  t.equal((await published()).length, lines.filter(({ level }) => level === WARN).length);
});

t.test('a report that comes and goes is logged through the rate limit', async (t) => {
  const { reports, lines, details } = make();
  for (let i = 0; i < 100; i++) {
    reports.set('twin', '192.0.2.11', texts('192.0.2.11 has this MAC'));
    reports.set('twin', '192.0.2.11', undefined);
  }
  t.equal(lines.length, 10);
  reports.set('twin', '192.0.2.12', texts('192.0.2.12 has this MAC'));
  t.equal(lines.length, 11, 'another subject has a limit of its own');
  t.same(details(), ['192.0.2.12 has this MAC']);
});

t.test('reports about VNIs and about subjects do not replace each other', async (t) => {
  const { reports, details } = make();
  reports.set('peer_duplicate', 'far', texts('same'));
  reports.warn(report('peer_duplicate', 'same'), 1);
  t.same(details(), ['same', 'same']);
  reports.vniRemoved(1);
  t.same(details(), ['same']);
  reports.set('peer_duplicate', 'far', undefined);
  t.same(details(), []);
});
