import { pino } from 'pino';
import t from 'tap';
import type { Report } from '../../src/exchange/report.js';
import { ShortcutStatus } from '../../src/superframes/shortcut-status.js';

function make(mode: 'auto' | 'on') {
  const reports = new Map<string, Omit<Report, 'code'>>();
  const lines: string[] = [];
  const log = pino({ base: null }, { write: (line: string) => lines.push(JSON.parse(line).msg) });
  const status = new ShortcutStatus(
    'superframes',
    mode,
    (code, shortcut, texts) => {
      t.equal(shortcut, 'superframes');
      if (texts) reports.set(code, texts);
      else reports.delete(code);
    },
    log,
  );
  return { status, reports, lines, codes: () => [...reports.keys()] };
}

const RULE = { why: 'rule 7 would not apply to them', cure: 'remove it' };
const UNABLE = { why: 'eth0 does not cut up tunnelled superframes' };
const NOT_PERMITTED = {
  why: 'x',
  notPermitted: { operation: 'cannot attach (EPERM)', missing: 'CAP_BPF' },
};

t.test('auto: rules and missing permissions are notices, a machine that cannot is none', async (t) => {
  const { status, reports, codes } = make('auto');
  status.unused(UNABLE);
  t.same(codes(), []);
  status.unused(RULE);
  t.same(codes(), ['kernel_path_off']);
  t.match(reports.get('kernel_path_off'), { detail: /: rule 7/, why: /CPU/, cure: 'remove it' });
  status.unused(NOT_PERMITTED);
  t.same(codes(), ['offload_not_permitted'], 'one code at a time');
  t.match(reports.get('offload_not_permitted'), { detail: /EPERM/, cure: /CAP_BPF/ });
  status.used('superframes leave whole');
  t.same(codes(), []);
});

t.test('on: each reason is a warning', async (t) => {
  const { status, codes, reports } = make('on');
  for (const unused of [UNABLE, RULE, NOT_PERMITTED]) {
    status.unused(unused);
    t.same(codes(), ['kernel_path_unused']);
  }
  status.unused(UNABLE);
  t.match(reports.get('kernel_path_unused'), { cure: /--kernel-path auto/ });
  status.unused(RULE, true);
  t.same(codes(), [], 'another report has the cause');
});

t.test('each change has one line, the report or this log; the first state none', async (t) => {
  const { status, lines } = make('auto');
  status.used('by eth0');
  t.same(lines, []);
  status.used('by eth1');
  status.used('by eth1');
  t.same(lines, ['by eth1']);
  status.unused(RULE);
  status.used('by eth1');
  t.same(lines, ['by eth1'], 'the report has its own lines');
  status.unused(UNABLE);
  t.match(lines[1], /does not cut up/);
});
